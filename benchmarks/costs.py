"""What a million predictions cost, from measured CPU times and your region's prices.

There are no prices in here: all are arguments, per hour, gigabyte or million as said.
`--http-us` and the like are the measured CPU microseconds of a
prediction (docs/measurements.md), the bytes of a logged one are measured at once.

    python -m benchmarks.costs --vcpu-hour 0.04 --shard-hour 0.015 --put-million 0.014 \\
        --lambda-gb-second 0.0000167 --lambda-million 0.2 --gb-month 0.25
"""

import tempfile
from argparse import Namespace
from pathlib import Path

import bson
import msgspec

from benchmarks.report import Figure, arguments, table, write
from bento.ids import uuid7
from bento.store import PredictionRow, SqliteStore
from churn_assets_tests.customers import random_customers

MILLION = 1_000_000
SHARD_PER_S = 1_000
"""Records a second that a Kinesis shard takes; ours are far from its megabyte a second."""

STREAMS = 2
"""Customers in, answers out: each record is one put of at most 25 KB."""

LAMBDA_VCPU_GB = 1769 / 1024
"""Memory at which a Lambda function has one vCPU."""

PRICES = {
    "vcpu-hour": "a vCPU for an hour, with its memory",
    "shard-hour": "a Kinesis shard for an hour",
    "put-million": "a million Kinesis put units of 25 KB",
    "lambda-gb-second": "a gigabyte of Lambda memory for a second",
    "lambda-million": "a million Lambda invocations",
    "gb-month": "a gigabyte of the prediction store's disk for a month",
}


def main() -> None:
    """Print the table."""
    parser = arguments(str(__doc__))
    for name, words in PRICES.items():
        parser.add_argument(f"--{name}", type=float, required=True, help=f"price of {words}")
    parser.add_argument("--http-us", type=float, default=79.0)
    parser.add_argument("--stream-us", type=float, default=33.5)
    parser.add_argument("--scoring-us", type=float, default=11.7, help="of the Lambda's scoring")
    parser.add_argument("--batch-us", type=float, default=16.7)
    parser.add_argument("--lambda-batch", type=int, default=100, help="records an invocation")
    parser.add_argument("--lambda-ms", type=float, default=20.0, help="an invocation beside that")
    parser.add_argument("--utilisation", type=float, default=0.5, help="share of capacity used")
    parser.add_argument("--retention-days", type=float, default=30.0)
    asked = parser.parse_args()
    figures = bytes_a_row()
    rows = costs(asked, float(figures["store_bytes_per_row"] or 0))
    table("Per million predictions, at the prices given", rows)
    for row in rows:
        figures |= {f"{row['way']}_{key}": value for key, value in row.items() if key != "way"}
    write(figures, asked.json)


def costs(asked: Namespace, row_bytes: float) -> list[dict[str, Figure]]:
    """A row a way of asking: CPU hours at the utilisation given, and prices."""
    stored = row_bytes * MILLION / 2**30 * asked.gb_month * asked.retention_days / 30
    shards = MILLION / SHARD_PER_S / 3600 / asked.utilisation * asked.shard_hour * STREAMS
    stream = shards + STREAMS * asked.put_million
    invocations = MILLION / asked.lambda_batch
    busy_s = invocations * asked.lambda_ms / 1e3 + asked.scoring_us
    function = (
        busy_s * LAMBDA_VCPU_GB * asked.lambda_gb_second
        + invocations / MILLION * asked.lambda_million
    )
    http_h, stream_h, batch_h = (
        us / 3600 / asked.utilisation for us in (asked.http_us, asked.stream_us, asked.batch_us)
    )
    ways = [
        ("http", http_h, 0.0, http_h * asked.vcpu_hour, stored),
        ("stream", stream_h, stream, stream_h * asked.vcpu_hour, stored),
        ("lambda", busy_s / 3600, stream, function, stored),
        ("batch", batch_h, 0.0, batch_h * asked.vcpu_hour, 0.0),
    ]
    return [
        {
            "way": way,
            "cpu_hours": hours,
            "compute": compute,
            "streams": streams,
            "store": store,
            "total": compute + streams + store,
        }
        for way, hours, streams, compute, store in ways
    ]


def bytes_a_row(count: int = 20_000) -> dict[str, Figure]:
    """Bytes of a logged prediction: SQLite's file with its index, and as BSON (MongoDB)."""
    from bento.champion import Champion
    from bento.store import prediction_row
    from churn_assets_tests.champions import make_champion

    with tempfile.TemporaryDirectory() as name:
        champion: Champion = make_champion(Path(name) / "champion")
        rows: list[PredictionRow] = [
            prediction_row(customer, uuid7(), 0.1234567, champion, "http")
            for customer in random_customers(count)
        ]
        path = Path(name) / "predictions.db"
        store = SqliteStore(path)
        store.write(rows)
        store.close()
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    documents = [msgspec.to_builtins(row) for row in rows]
    return {
        "sqlite_bytes_per_row": size / count,
        "store_bytes_per_row": sum(len(bson.encode(row)) for row in documents) / count,
    }


if __name__ == "__main__":
    main()
