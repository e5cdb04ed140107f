"""The stream worker's rate beside what the emulator allows, the predecessor's, and its own limit.

    python -m benchmarks.stream --json FILE

The ceiling is a process that reads the same records from the same shards through the
same client settings and puts the same bytes into another stream: it does all that the
emulator does for the worker, and nothing of what the worker is for. Both read a stream
filled beforehand; rounds alternate, the medians count. Scoring alone is measured
without any emulator, in CPU time of one thread.
"""

import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

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
    batch_ms: float


def fill(stream: str, bodies: list[bytes]) -> None:
    """Put all records, each under a key of its own."""
    patience = Patience(Health(), "producer", threading.Event())
    messages = [Message(str(number), body) for number, body in enumerate(bodies)]
    publish(Clients().kinesis, stream, messages, patience)


def copy(stream: str, results: str, outcome: "multiprocessing.Queue[Run]") -> None:
    """Read every shard in a thread of its own and put what was read; report the rate."""
    client = Clients().kinesis
    counts: dict[str, int] = {}

    def copy_shard(shard: str) -> None:
        cursor = Cursor(client, stream, shard, None)
        patience = Patience(Health(), shard, threading.Event())
        while records := cursor.read(BATCH).records:
            publish(client, results, [Message(r.key, r.data) for r in records], patience)
            counts[shard] = counts.get(shard, 0) + len(records)

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


def ceiling(stream: str, results: str) -> Run:
    """`copy` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    outcome: multiprocessing.Queue[Run] = context.Queue()
    process = context.Process(target=copy, args=(stream, results, outcome))
    process.start()
    run = outcome.get(timeout=300)
    process.join()
    return run


def ours(home: Path, name: str, stream: str, results: str, records: int) -> Run:
    """The worker as a user starts it. It holds its leases and waits until a model is live."""
    pointer = home / "champion" / "live.json"
    aside = pointer.with_suffix(".aside")
    pointer.rename(aside)
    env = {"STREAM_IN": stream, "STREAM_OUT": results, "CHAMPION_POLL_SECONDS": "0.1"}
    with stream_worker(home, name, STREAM_BATCH=str(BATCH), **env) as worker:
        time.sleep(3)
        before = worker.cpu_seconds()
        aside.rename(pointer)
        batches = _batches(worker)
        while sum(batch.records for batch in batches) < records:
            time.sleep(0.2)
            batches = _batches(worker)
        cpu = worker.cpu_seconds() - before
    started = min(batch.time.timestamp() - batch.batch_ms / 1000 for batch in batches)
    ended = max(batch.time.timestamp() for batch in batches)
    return Run(records / (ended - started), cpu / records * 1e6)


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
    worker_runs, ceiling_runs = [], []
    with tempfile.TemporaryDirectory() as folder, platform(Path(folder)) as home:
        champion = home / "champion" / "seed-0"
        alone = statistics.median(
            scoring_alone(ChurnRunner(champion), bodies) for _ in range(arguments.rounds)
        )
        client = Clients().kinesis
        for number in range(arguments.rounds):
            source = f"predictions-{number}"
            create_streams(client, SHARDS, source, f"copied-{number}", f"results-{number}")
            fill(source, bodies)
            ceiling_runs.append(ceiling(source, f"copied-{number}"))
            worker_runs.append(
                ours(home, f"worker-{number}", source, f"results-{number}", len(bodies))
            )
        create_streams(client, 1, "theirs-in", "theirs-out")
        fill("theirs-in", bodies[:10])
        theirs = predecessor(champion, "theirs-in", "theirs-out")
    top = Run(*map(statistics.median, zip(*ceiling_runs, strict=True)))
    mine = Run(*map(statistics.median, zip(*worker_runs, strict=True)))
    report.table(
        f"{arguments.records:,} records over {SHARDS} shards",
        [
            {"consumer": "reads and re-puts (ceiling)", **top._asdict()},
            {"consumer": "stream worker", **mine._asdict()},
            {"consumer": "predecessor's loop", "per_s": theirs, "cpu_us": None},
            {"consumer": "scoring alone, one core", "per_s": alone, "cpu_us": 1e6 / alone},
        ],
    )
    figures: dict[str, report.Figure] = {
        "records_per_s": round(mine.per_s),
        "ceiling_per_s": round(top.per_s),
        "over_ceiling": round(mine.per_s / top.per_s, 3),
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
