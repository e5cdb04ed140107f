"""What a drift report costs as the log grows, and how far its alarms can be trusted.

`python -m benchmarks.drift` reports on logs of 10 thousand to 5 million predictions,
each in a process of its own, beside Evidently called on all rows; then replays windows
with and without drift. `--power` does only the latter.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import drift_windows
from benchmarks.report import Figure, arguments, table, write
from bento.runner import ChurnRunner
from churn_assets.defs.features.cleaning import clean, to_customers
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.drift import Limits
from churn_assets.defs.monitoring.drift_html import render
from churn_assets.defs.monitoring.drift_report import examine
from churn_assets.defs.monitoring.prediction_log import PAGE, to_arrow
from churn_assets.defs.monitoring.sampling import NEEDED, Group, sample
from churn_assets.defs.monitoring.windows import Window
from churn_assets.synthetic import generator
from churn_assets_tests.champions import make_champion
from churn_assets_tests.monitoring.samples import answered

SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000, "5m": 5_000_000}
NAIVE_ROWS = 100_000
DISTINCT = 50_000
"""Customers that are asked about again and again, always under a new id."""
REPEATS = 3
"""The fastest counts: the machine may be busy with other things."""
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=3))


def main() -> None:
    """Run what was asked for."""
    parser = arguments(str(__doc__))
    parser.add_argument("--power", action="store_true", help="only the false alarms and the power")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "FOLDER"), help="used by itself")
    parser.add_argument("--log", type=Path, help="used by itself")
    asked = parser.parse_args()
    if asked.child:
        kind, folder = asked.child
        measure = {"ours": ours, "naive": naive}[kind]
        found = [measure(Path(folder), asked.log) for _ in range(REPEATS)]
        fastest = {key: min(run[key] for run in found) for key in found[0]}
        print(json.dumps(fastest | {"peak_gb": found[-1]["peak_gb"]}))
        return
    figures: dict[str, Figure] = {} if asked.power else dict(costs())
    trust, by_size, by_shift = drift_windows.replay()
    table("False alarms in windows without drift, by size", by_size)
    table("Shifts found", by_shift)
    write(figures | trust, asked.json)


def costs() -> Iterator[tuple[str, Figure]]:
    """Time and memory of a report over growing logs, beside the naive way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = answers(folder)
        measured = {}
        for size, count in SIZES.items():
            log = write_log(folder / f"{size}.parquet", rows, count)
            measured[size] = child("ours", folder, log)
            yield f"s_{size}", measured[size]["s"]
            yield f"read_s_{size}", measured[size]["read_s"]
            yield f"beyond_read_s_{size}", measured[size]["beyond_read_s"]
            yield f"peak_gb_{size}", measured[size]["peak_gb"]
        for larger in ("1m", "5m"):
            few, many = measured["10k"], measured[larger]
            yield f"ratio_{larger}_10k", many["beyond_read_s"] / few["beyond_read_s"]
            yield f"ratio_{larger}_10k_with_reading", many["s"] / few["s"]
        yield "html_mb", max(found["html_mb"] for found in measured.values())
        naively = child("naive", folder, folder / "100k.parquet")
        yield "naive_s_100k", naively["s"]
        yield "naive_peak_gb_100k", naively["peak_gb"]
        yield "naive_html_mb", naively["html_mb"]
        shown: list[dict[str, Figure]] = [{"log": size, **m} for size, m in measured.items()]
        shown.append({"log": "100k, Evidently on all rows", **naively})
        table("A drift report, by logged predictions", shown)


def answers(folder: Path) -> pa.Table:
    """The log rows of some customers; the model and its reference are left in the folder."""
    make_champion(folder / "champion")
    runner = ChurnRunner(folder / "champion")
    known = clean(generator.customers(10_000, seed=1)).customers
    pq.write_table(reference.build(known, runner), folder / "reference.parquet")
    asked = to_customers(clean(generator.customers(DISTINCT, seed=2)).customers)
    return pa.Table.from_batches([to_arrow(answered(asked, runner))])


def write_log(path: Path, rows: pa.Table, count: int) -> Path:
    """A log of `count` predictions spread over the window, as `prediction_log` writes it."""
    rng = np.random.default_rng(count)
    first, span = int(WINDOW.start.timestamp() * 1000), 3 * 3_600_000
    with pq.ParquetWriter(path, rows.schema, compression="zstd", version="2.6") as writer:
        for start in range(0, count, PAGE):
            part = rows.take(rng.integers(len(rows), size=min(PAGE, count - start)))
            tails = rng.bytes(10 * len(part)).hex()
            ids = [
                _identifier(first + span * (start + i) // count, tails[20 * i : 20 * i + 20])
                for i in range(len(part))
            ]
            writer.write_table(part.set_column(0, rows.schema.field(0), pa.array(ids)))
    return path


def _identifier(ms: int, tail: str) -> str:
    time_part = f"{ms:012x}"
    return f"{time_part[:8]}-{time_part[8:]}-7{tail[:3]}-8{tail[3:6]}-{tail[6:18]}"


def child(kind: str, folder: Path, log: Path) -> dict[str, float]:
    """One measurement in a fresh process, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.drift", "--child", kind, str(folder)]
    done = subprocess.run([*command, "--log", str(log)], check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def ours(folder: Path, log: Path) -> dict[str, float]:
    """Read, sample, compare and draw, as the asset `drift_report` does.

    `read_s` is spent in waiting for rows of the file, `beyond_read_s` in all the rest.
    """
    import evidently  # noqa: F401  its import is not the report's cost

    kept = pq.read_table(folder / "reference.parquet")
    limits = Limits()
    _touch(log)
    started = time.perf_counter()
    reading = Reading(log)
    current = sample(reading)
    references = {group: reference.columns(kept, group.tier) for group in current.rows}
    report = examine(WINDOW, current, references, limits, "training")
    page = render(report, current.samples(), references, limits)
    found = _measured(started, page)
    return found | {"read_s": reading.s, "beyond_read_s": found["s"] - reading.s}


class Reading:
    """The batches of a log as the asset reads them, and the seconds spent on getting them."""

    def __init__(self, log: Path) -> None:
        started = time.perf_counter()
        self._batches = pq.ParquetFile(log).iter_batches(PAGE, columns=NEEDED)
        self.s = time.perf_counter() - started

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        started = time.perf_counter()
        for batch in self._batches:
            self.s += time.perf_counter() - started
            yield batch
            started = time.perf_counter()
        self.s += time.perf_counter() - started


def naive(folder: Path, log: Path) -> dict[str, float]:
    """Evidently's defaults on all rows, the reference in the same columns."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    from churn_assets.defs.monitoring.drift_html import readable

    kept = pq.read_table(folder / "reference.parquet")
    _touch(log)
    started = time.perf_counter()
    reading = Reading(log)
    everything = sample(reading, most=10**9).samples()
    group: Group = next(iter(everything))
    before, now = readable(reference.columns(kept, group.tier)), readable(everything[group])
    page = Report([DataDriftPreset()]).run(now, before).get_html_str(as_iframe=False)
    found = _measured(started, page)
    return found | {"read_s": reading.s, "beyond_read_s": found["s"] - reading.s}


def _touch(log: Path) -> None:
    """Bring the file into the page cache, so that the disk is not measured."""
    with log.open("rb") as file:
        while file.read(2**24):
            pass


def _measured(started: float, page: str) -> dict[str, Any]:
    return {
        "s": time.perf_counter() - started,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "html_mb": len(page.encode()) / 1e6,
    }


if __name__ == "__main__":
    main()
