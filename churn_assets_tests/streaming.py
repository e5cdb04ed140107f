"""Streams, emulators and stream workers as a user runs them, for tests and drills."""

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bento.ids import stream_id
from bento.outbox import Outbox
from bento.settings import Settings
from bento.store import FIRST_ID, LAST_ID, PredictionRow, open_store
from churn_assets_tests.champions import random_customers
from churn_assets_tests.conftest import free_port
from churn_assets_tests.serving import Server
from stream_worker.shards import Cursor, Record, family_tree

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

ROOT = Path(__file__).resolve().parent.parent
KINESALITE = ROOT / ".kinesalite" / "node_modules" / "kinesalite" / "cli.js"
KEYS = 100


def kinesalite_missing() -> str | None:
    """Why kinesalite cannot run here, or None."""
    if not shutil.which("node"):
        return "node is not installed"
    return None if KINESALITE.exists() else "kinesalite is missing: run `make install-kinesalite`"


def kinesalite(folder: Path) -> Server:
    """An emulator of Kinesis alone that reshards rightly and survives `kill -9`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = ["node", str(KINESALITE), "--port", str(port), "--path", str(folder / "data")]
    for state in ("create", "delete", "update"):
        command += [f"--{state}StreamMs", "50"]
    return Server(command, port, folder / "kinesalite.log", None)


def ministack(folder: Path) -> Server:
    """The everyday emulator; keeps nothing when it stops."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(ROOT / ".venv-emulator" / "bin" / "ministack")]
    env = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "STATE_DIR": str(folder / "state")}
    return Server(command, port, folder / "ministack.log", "/_ministack/health", **env)


def stream_worker(home: Path, name: str, **env: str) -> Server:
    """A worker with `home` as its CHURN_HOME, its probes on a free port."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {
        "CHURN_ENV": "test",
        "CHURN_HOME": str(home),
        "STREAM_METRICS_PORT": str(port),
        "STREAM_LEASE_SECONDS": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "stream_worker"]
    return Server(command, port, home / f"{name}.log", "/livez", **settings | env)


def create_streams(client: "KinesisClient", shards: int, *names: str) -> None:
    """Create streams and wait until they can be used."""
    for name in names:
        client.create_stream(StreamName=name, ShardCount=shards)
    for name in names:
        client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})


class Sent(NamedTuple):
    """A customer on its way: `number` counts within `key`."""

    key: str
    number: int
    data: bytes


def numbered_customers(count: int) -> list[Sent]:
    """Customers of `KEYS` keys in turn; `total_trans_ct` is the number within the key.

    So the log tells in which order the answers of a key should come.
    """
    sent = []
    for index, customer in enumerate(random_customers(count, core_share=0.0)):
        number, key = divmod(index, KEYS)
        changed = msgspec.structs.replace(
            customer, customer_id=f"customer-{key}", total_trans_ct=number
        )
        sent.append(Sent(f"customer-{key}", number, msgspec.json.encode(changed)))
    return sent


def send(client: "KinesisClient", stream: str, sent: Iterable[Sent]) -> None:
    """Put the records, 100 a call: every key once, so a retry cannot change its order."""
    pending = list(sent)
    while pending:
        call, pending = pending[:KEYS], pending[KEYS:]
        answer = client.put_records(
            StreamName=stream,
            Records=[{"PartitionKey": one.key, "Data": one.data} for one in call],
        )
        results = zip(call, answer["Records"], strict=True)
        failed = [one for one, result in results if result.get("ErrorCode")]
        if failed:
            time.sleep(0.1)
        pending = failed + pending


def read_stream(client: "KinesisClient", stream: str) -> dict[str, list[Record]]:
    """All records of a stream by shard, from the oldest to the tip."""
    found = {}
    for shard in family_tree(client, stream):
        cursor = Cursor(client, stream, shard, None)
        records: list[Record] = []
        empty = 0
        while empty < 2:
            page = cursor.read(10_000)
            records += page.records
            empty = 0 if page.records else empty + 1
            if page.closed:
                break
        found[shard] = records
    return found


def expected_ids(client: "KinesisClient", stream: str) -> set[str]:
    """The prediction ids of all records of a stream, from their positions."""
    return {
        stream_id(stream, shard, record.sequence, record.arrival_ms)
        for shard, records in read_stream(client, stream).items()
        for record in records
    }


def wait_for_log(settings: Settings, count: int, patience_s: float) -> list[PredictionRow]:
    """The log once it holds `count` rows, or what it holds when patience ends.

    Opening an outbox here adopts what killed workers left in theirs.
    """
    outbox = Outbox(settings.churn_home / "outbox" / "stream", settings)
    store = open_store(settings)
    deadline = time.monotonic() + patience_s
    while store.count() < count and time.monotonic() < deadline:
        time.sleep(0.1)
    rows = store.read(FIRST_ID, LAST_ID, limit=10 * count)
    outbox.close()
    store.close()
    return rows


class Verdict(NamedTuple):
    """What became of the records that were sent."""

    missing: int
    """Records without a log row of the right id, or without an answer in the results."""
    duplicate: int
    """Log rows that are not of exactly one record."""
    order_broken: int
    """Answers whose first occurrence comes before that of an earlier record of the key."""
    repeated: int
    """Answers published more than once; allowed, they carry the same id."""


def judge(
    ids: set[str], rows: Sequence[PredictionRow], results: dict[str, list[Record]]
) -> Verdict:
    """Compare the input's ids, the log and the results stream."""
    logged = {row.prediction_id: row for row in rows}
    customers = {(row.customer_id, row.total_trans_ct) for row in rows}
    latest: dict[str, int] = defaultdict(lambda: -1)
    answered: set[str] = set()
    broken = total = 0
    for records in results.values():
        for record in records:
            total += 1
            prediction_id = msgspec.json.decode(record.data)["prediction_id"]
            if prediction_id in answered or prediction_id not in logged:
                continue
            answered.add(prediction_id)
            number = logged[prediction_id].total_trans_ct or 0
            broken += number < latest[record.key]
            latest[record.key] = number
    return Verdict(
        missing=len(ids - (logged.keys() & answered)),
        duplicate=len(rows) - len(customers) + len(logged.keys() - ids),
        order_broken=broken,
        repeated=total - len(answered),
    )


def wait_until_read(
    client: "KinesisClient", stream: str, ids: int, patience_s: float
) -> dict[str, list[Record]]:
    """The results stream once it holds answers of `ids` records, or when patience ends."""
    deadline = time.monotonic() + patience_s
    while True:
        results = read_stream(client, stream)
        found = {
            msgspec.json.decode(record.data)["prediction_id"]
            for records in results.values()
            for record in records
        }
        if len(found) >= ids or time.monotonic() > deadline:
            return results
        time.sleep(0.5)
