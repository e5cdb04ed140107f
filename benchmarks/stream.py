"""The stream worker's rate beside what the emulator allows, the predecessor's, and its own limit.

    python -m benchmarks.stream --json FILE

The ceiling is a process that reads the same records from the same shards in as many
threads and batches, through the worker's own client code, and puts the same bytes into
another stream: it does all that the emulator does for the worker, and nothing of what
the worker is for. `boto3` is that process with a client as boto3 makes it. All read a
full stream, in turn; the medians of the rounds count. The worker starts from a sleep in
which its stream is filled, and its CPU time ends when the log has every row. Scoring
alone is measured without any emulator, in CPU time of one thread.
"""

import multiprocessing
import os
import signal
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import boto3
import msgspec

from benchmarks import report
from bento.customer import encode
from bento.runner import ChurnRunner
from churn_assets_tests.champions import random_customers
from churn_assets_tests.serving import Server, live_champion
from churn_assets_tests.streaming import create_streams, ministack, stream_worker
from stream_worker.aws import Clients
from stream_worker.health import Health
from stream_worker.patience import Patience
from stream_worker.publisher import Message, publish
from stream_worker.scoring import read_customer, score
from stream_worker.shards import Cursor, Record, family_tree

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

SHARDS = 4
BATCH = 2_000
TREES = 300
LINE_RATE = 1_000
"""Records a second that AWS lets into one shard."""


class Run(NamedTuple):
    """One consumer over one stream."""

    per_s: float
    cpu_us: float
    """CPU time of the consumer's process per record."""


class BatchLine(msgspec.Struct):
    """What the worker logs when a batch is done."""

    time: datetime
    records: int


def fill(stream: str, bodies: list[bytes]) -> None:
    """Put all records, each under a key of its own."""
    patience = Patience(Health(), "producer", threading.Event())
    messages = [Message(str(number), body) for number, body in enumerate(bodies)]
    publish(Clients().kinesis, stream, messages, patience)


def our_client() -> "KinesisClient":
    """The worker's own."""
    return Clients().kinesis


def plain_client() -> "KinesisClient":
    """What boto3 gives to who asks for nothing."""
    return boto3.client("kinesis")


def copy(
    stream: str,
    results: str,
    make_client: "Callable[[], KinesisClient]",
    outcome: "multiprocessing.Queue[Run]",
) -> None:
    """Read every shard in a thread of its own and put what was read; report the rate."""
    client = make_client()
    counts: dict[str, int] = {}

    def copy_shard(shard: str) -> None:
        patience = Patience(Health(), shard, threading.Event())
        place = client.get_shard_iterator(
            StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while (page := client.get_records(ShardIterator=place, Limit=BATCH))["Records"]:
            messages = [Message(r["PartitionKey"], r["Data"]) for r in page["Records"]]
            publish(client, results, messages, patience)
            counts[shard] = counts.get(shard, 0) + len(messages)
            place = page["NextShardIterator"]

    threads = [
        threading.Thread(target=copy_shard, args=(shard,)) for shard in family_tree(client, stream)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(counts.values())
    seconds = time.perf_counter() - started
    outcome.put(Run(total / seconds, (time.process_time() - cpu) / total * 1e6))


def copier(stream: str, results: str, make_client: "Callable[[], KinesisClient]") -> Run:
    """`copy` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    outcome: multiprocessing.Queue[Run] = context.Queue()
    process = context.Process(target=copy, args=(stream, results, make_client, outcome))
    process.start()
    run = outcome.get(timeout=300)
    process.join()
    return run


def ours(home: Path, name: str, stream: str, results: str, bodies: list[bytes]) -> Run:
    """The worker as a user starts it, asleep while its stream is filled."""
    env = {"STREAM_IN": stream, "STREAM_OUT": results, "STREAM_LEASE_SECONDS": "60"}
    with stream_worker(home, name, STREAM_BATCH=str(BATCH), **env) as worker:
        while metric(worker, "churn_stream_shards") < SHARDS:
            time.sleep(0.2)
        with asleep(worker):
            fill(stream, bodies)
            before, started = worker.cpu_seconds(), time.time()
        batches = _batches(worker)
        while sum(batch.records for batch in batches) < len(bodies):
            time.sleep(0.2)
            batches = _batches(worker)
        while metric(worker, "churn_stream_outbox_rows"):
            time.sleep(0.2)
        cpu = worker.cpu_seconds() - before
    ended = max(batch.time.timestamp() for batch in batches)
    return Run(len(bodies) / (ended - started), cpu / len(bodies) * 1e6)


@contextmanager
def asleep(worker: Server) -> Iterator[None]:
    """Stop the worker's process (SIGSTOP) meanwhile, with its model loaded and its leases held."""
    worker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.signal(signal.SIGCONT)


def metric(worker: Server, name: str) -> float:
    """A metric's value on the worker's own page."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as page:
        lines = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines())
    return float(lines[name])


def _batches(worker: Server) -> list[BatchLine]:
    lines = worker.log.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=BatchLine) for line in lines if b'"batch"' in line]


def predecessor(runner_folder: Path, stream: str, results: str, pages: int = 3) -> float:
    """Its loop: the first shard, two records, one prediction and put each, five seconds' sleep."""
    import xgboost

    client = Clients().kinesis
    booster = xgboost.Booster(model_file=str(runner_folder / "model.ubj"))
    shard = next(iter(family_tree(client, stream)))
    cursor = Cursor(client, stream, shard, None)
    done, started = 0, time.perf_counter()
    for _ in range(pages):
        for record in cursor.read(2).records:
            matrix = xgboost.DMatrix(
                encode([read_customer(record.data)]), feature_names=booster.feature_names
            )
            chance = float(booster.predict(matrix)[0])
            client.put_record(
                StreamName=results,
                PartitionKey="1",
                Data=msgspec.json.encode({"churn chance": chance}),
            )
            done += 1
        time.sleep(5)
    return done / (time.perf_counter() - started)


def scoring_alone(runner: ChurnRunner, bodies: list[bytes]) -> float:
    """Records a second of CPU time from bytes to encoded answers, log rows and the log's bytes."""
    records = [
        Record(f"{number:056d}", str(number), body, 1_795_247_000_000 + number // 5)
        for number, body in enumerate(bodies)
    ]
    encoder = msgspec.json.Encoder()
    score("predictions", "shard", records[:BATCH], runner)
    started = time.process_time()
    for start in range(0, len(records), BATCH):
        scored = score("predictions", "shard", records[start : start + BATCH], runner)
        encoder.encode(scored.rows)
    return len(records) / (time.process_time() - started)


@contextmanager
def platform(folder: Path) -> Iterator[Path]:
    """The emulator and a live champion; the CHURN_HOME."""
    with ExitStack() as stack:
        emulator = stack.enter_context(ministack(folder / "ministack"))
        home = folder / "home"
        live_champion(home, trees=TREES)
        os.environ.update(
            OMP_NUM_THREADS="1",
            AWS_ENDPOINT_URL=emulator.url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_DEFAULT_REGION="eu-west-1",
        )
        yield home


def main() -> None:
    """Run all four and report."""
    parser = report.arguments(__doc__ or "")
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bodies = [msgspec.json.encode(c) for c in random_customers(arguments.records)]
    runs: dict[str, list[Run]] = {"ceiling": [], "boto3": [], "worker": []}
    with tempfile.TemporaryDirectory() as folder, platform(Path(folder)) as home:
        champion = home / "champion" / "seed-0"
        alone = statistics.median(
            scoring_alone(ChurnRunner(champion), bodies) for _ in range(arguments.rounds)
        )
        client = Clients().kinesis
        for number in range(arguments.rounds):
            source = f"predictions-{number}"
            create_streams(client, SHARDS, source, *(f"{name}-{number}" for name in runs))
            runs["worker"].append(
                ours(home, f"worker-{number}", source, f"worker-{number}", bodies)
            )
            runs["ceiling"].append(copier(source, f"ceiling-{number}", our_client))
            runs["boto3"].append(copier(source, f"boto3-{number}", plain_client))
        create_streams(client, 1, "theirs-in", "theirs-out")
        fill("theirs-in", bodies[:10])
        theirs = predecessor(champion, "theirs-in", "theirs-out")
    top, plain, mine = (
        Run(*map(statistics.median, zip(*found, strict=True))) for found in runs.values()
    )
    report.table(
        f"{arguments.records:,} records over {SHARDS} shards",
        [
            {"consumer": "reads and re-puts (ceiling)", **top._asdict()},
            {"consumer": "the same with boto3's client", **plain._asdict()},
            {"consumer": "stream worker", **mine._asdict()},
            {"consumer": "predecessor's loop", "per_s": theirs, "cpu_us": None},
            {"consumer": "scoring alone, one core", "per_s": alone, "cpu_us": 1e6 / alone},
        ],
    )
    figures: dict[str, report.Figure] = {
        "records_per_s": round(mine.per_s),
        "ceiling_per_s": round(top.per_s),
        "over_ceiling": round(mine.per_s / top.per_s, 3),
        "boto3_per_s": round(plain.per_s),
        "over_boto3": round(mine.per_s / plain.per_s, 3),
        "records_per_s_core": round(alone),
        "predecessor_per_s": round(theirs, 3),
        "cpu_us_per_record": round(mine.cpu_us, 1),
        "cpu_us_per_record_ceiling": round(top.cpu_us, 1),
        "shards_per_core_scoring": int(alone / LINE_RATE),
        "shards_per_core": int(1e6 / mine.cpu_us / LINE_RATE),
        "records": arguments.records,
        "shards": SHARDS,
    }
    report.write(figures, arguments.json)


if __name__ == "__main__":
    main()
