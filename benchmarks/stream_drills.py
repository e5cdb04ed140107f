"""What the stream worker keeps when things break: kills, a reshard, an outage.

    python -m benchmarks.stream_drills --json FILE

10,000 records over four shards of kinesalite (leases and dead letters on ministack),
three workers of which one is killed with `kill -9` twenty times, one shard split in the
middle. Then Kinesis and everything else are killed and away for 30 seconds.
"""

import math
import os
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import report
from bento.settings import Settings, get_settings
from churn_assets_tests.serving import Server, live_champion
from churn_assets_tests.streaming import (
    KEYS,
    Sent,
    Verdict,
    create_streams,
    expected_ids,
    judge,
    kinesalite,
    kinesalite_missing,
    ministack,
    numbered_customers,
    read_stream,
    send,
    stream_worker,
    wait_for_log,
    wait_until_read,
)
from stream_worker.aws import Clients
from stream_worker.shards import family_tree

SHARDS = 4
WORKERS = 3
PATIENCE_S = 120.0


class Scene(NamedTuple):
    """Emulators that run, streams that exist, a champion that is live."""

    home: Path
    kinesis: Server
    clients: Clients
    settings: Settings

    def worker(self, name: str) -> Server:
        """A worker that is not started yet."""
        return stream_worker(self.home, name)

    def verdict(self, count: int) -> Verdict:
        """Wait until all is answered and logged, then compare."""
        ids = expected_ids(self.clients.kinesis, "predictions")
        results = wait_until_read(self.clients.kinesis, "results", len(ids), PATIENCE_S)
        return judge(ids, wait_for_log(self.settings, count, PATIENCE_S), results)


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Two emulators with empty streams, in the process's environment while it lasts."""
    before = dict(os.environ)
    with ExitStack() as stack:
        kinesis = stack.enter_context(kinesalite(folder / "kinesalite"))
        rest = stack.enter_context(ministack(folder / "ministack"))
        home = folder / "home"
        live_champion(home, trees=100)
        os.environ.update(
            CHURN_HOME=str(home),
            AWS_ENDPOINT_URL=rest.url,
            AWS_ENDPOINT_URL_KINESIS=kinesis.url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_DEFAULT_REGION="eu-west-1",
        )
        get_settings.cache_clear()
        try:
            clients = Clients()
            settings = get_settings()
            clients.s3.create_bucket(
                Bucket=settings.churn_bucket,
                CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
            )
            create_streams(clients.kinesis, SHARDS, "predictions", "results")
            yield Scene(home, kinesis, clients, settings)
        finally:
            os.environ.clear()
            os.environ.update(before)
            get_settings.cache_clear()


def kills(place: Scene, records: int, kill_count: int, pause_s: float = 1.5) -> tuple[Verdict, int]:
    """Records flow in while workers are killed and replaced, and a shard is split halfway.

    Also returns how many records went to the new shards.
    """
    sent = numbered_customers(records)
    gate = threading.Semaphore(0)
    producer = threading.Thread(target=_send_through, args=(place, sent, gate), daemon=True)
    chosen = random.Random(0)
    workers = [place.worker(f"worker-{number}") for number in range(WORKERS)]
    try:
        for worker in workers:
            worker.start()
        producer.start()
        for kill in range(kill_count):
            gate.release(math.ceil(records / KEYS / kill_count))
            time.sleep(chosen.uniform(0.2, pause_s))
            victim = chosen.randrange(WORKERS)
            workers[victim].kill()
            workers[victim] = place.worker(f"worker-{WORKERS + kill}")
            workers[victim].start()
            if kill == (kill_count - 1) // 2:
                split(place)
        producer.join()
        return place.verdict(records), _resharded(place)
    finally:
        for worker in workers:
            worker.stop()


def _send_through(place: Scene, sent: list[Sent], gate: threading.Semaphore) -> None:
    """Send a call's worth of records each time the gate opens, a few calls a second."""
    for start in range(0, len(sent), KEYS):
        gate.acquire()
        send(place.clients.kinesis, "predictions", sent[start : start + KEYS])
        time.sleep(0.2)


def _resharded(place: Scene) -> int:
    """Records in shards that came from others."""
    found = read_stream(place.clients.kinesis, "predictions")
    family = family_tree(place.clients.kinesis, "predictions")
    return sum(len(found[shard]) for shard, parents in family.items() if parents)


def split(place: Scene) -> None:
    """Split the first shard of `predictions` in the middle of its hash range."""
    shard = place.clients.kinesis.list_shards(StreamName="predictions")["Shards"][0]
    low, high = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
    place.clients.kinesis.split_shard(
        StreamName="predictions",
        ShardToSplit=shard["ShardId"],
        NewStartingHashKey=str((low + high) // 2),
    )


def outage(place: Scene, records: int, seconds: float) -> tuple[Verdict, bool]:
    """Kill Kinesis amid the records, for `seconds`; also says whether `/readyz` was red."""
    sent = numbered_customers(records)
    with place.worker("worker") as worker:
        send(place.clients.kinesis, "predictions", sent[: records // 2])
        time.sleep(0.3)
        place.kinesis.kill()
        time.sleep(seconds)
        red = not _ready(worker)
        place.kinesis.start()
        send(place.clients.kinesis, "predictions", sent[records // 2 :])
        verdict = place.verdict(records)
    return verdict, red


def _ready(worker: Server) -> bool:
    try:
        urllib.request.urlopen(f"{worker.url}/readyz", timeout=5).close()
    except urllib.error.HTTPError:
        return False
    return True


def main() -> None:
    """Run both drills and report."""
    parser = report.arguments(__doc__ or "")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--outage", type=float, default=30.0, metavar="SECONDS")
    arguments = parser.parse_args()
    if reason := kinesalite_missing():
        parser.exit(1, f"{reason}\n")
    with tempfile.TemporaryDirectory() as folder:
        with scene(Path(folder) / "kills") as place:
            killed, resharded = kills(place, arguments.records, arguments.kills)
        with scene(Path(folder) / "outage") as place:
            away, red = outage(place, arguments.records, arguments.outage)
    report.table(
        "stream drills",
        [{"drill": "kills", **killed._asdict()}, {"drill": "outage", **away._asdict()}],
    )
    figures: dict[str, report.Figure] = {
        "records": arguments.records,
        "kills": arguments.kills,
        "reshards": 1,
        "records_after_reshard": resharded,
        "missing": killed.missing,
        "duplicate": killed.duplicate,
        "order_broken": killed.order_broken,
        "repeated_answers": killed.repeated,
        "outage_s": arguments.outage,
        "outage_missing": away.missing,
        "outage_duplicate": away.duplicate,
        "outage_order_broken": away.order_broken,
        "outage_ready_red": red,
    }
    report.write(figures, arguments.json)


if __name__ == "__main__":
    main()
