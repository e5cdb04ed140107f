"""Customers that do not fit into memory: final fits and batch scoring on a Dask cluster.

`python -m benchmarks.scale --json FILE` makes a Parquet folder larger in memory than the
limit of all workers together, fits on it there and, in a process without a limit, in
memory; then scores a part of it here and there. Worker peaks are the kernel's (VmHWM).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.report import Figure, arguments, table, write
from bento.customer import encode
from bento.runner import ChurnRunner
from churn_assets import batch
from churn_assets.defs.features.parsing import LABEL
from churn_assets.defs.features.rows import judge
from churn_assets.defs.ingest.pieces import frames, pieces
from churn_assets.defs.training import dataset, distributed, model, tuning
from churn_assets.synthetic import generator
from churn_assets_tests.champions import make_champion

MB = 2**20
SEED = 11
WORKERS = 2
TEST_FILE = "0.parquet"


def main() -> None:
    """Run what was asked for."""
    parser = arguments(str(__doc__))
    parser.add_argument("--files", type=int, default=13, help="of 500,000 customers each")
    parser.add_argument("--rows", type=int, default=500_000, help="of a file")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--limit", type=int, default=600, help="MiB of each of two workers")
    parser.add_argument("--child", type=Path, help="used by itself")
    asked = parser.parse_args()
    params = tuning.DEFAULTS | {"rounds": asked.rounds}
    if asked.child:
        print(json.dumps(in_memory(asked.child, params)))
        return
    with tempfile.TemporaryDirectory() as name:
        home, folder = Path(name), Path(name) / "customers"
        folder.mkdir()
        figures = made(folder, asked.files, asked.rows)
        with cluster(home, asked.limit) as address:
            figures |= on_dask(folder, params, address, asked.limit)
            figures |= scored(home, folder / TEST_FILE, address)
        figures |= alone(folder, asked.rounds)
    figures["data_over_limit"] = float(figures["data_mb"] or 0) / (WORKERS * asked.limit)
    table("Scale", [{"figure": key, "value": value} for key, value in figures.items()])
    write(figures, asked.json)


def made(folder: Path, files: int, rows: int) -> dict[str, Figure]:
    """Synthetic customers in several files; their size on disk and as Arrow tables."""
    in_memory = 0
    for number in range(files):
        path = folder / f"{number}.parquet"
        first = generator.FIRST_ID + number * rows
        generator.write_parquet(path, rows, seed=100 + number, first_id=first)
        parquet = pq.ParquetFile(path)
        in_memory += sum(batch.nbytes for batch in parquet.iter_batches(50_000))
    disk = sum(path.stat().st_size for path in folder.iterdir())
    return {"rows": files * rows, "data_mb": in_memory / MB, "data_on_disk_mb": disk / MB}


@contextmanager
def cluster(home: Path, limit: int) -> Iterator[str]:
    """Two workers of one thread, each ended by its nanny above 95 % of `limit` MiB."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        memory_limit=f"{limit}MiB",
        dashboard_address=None,
        local_directory=str(home / "dask"),
    ) as found:
        yield str(found.scheduler_address)


def on_dask(folder: Path, params: model.Params, address: str, limit: int) -> dict[str, Figure]:
    """The fit on the cluster: seconds, memory, and its quality on the test customers."""
    from distributed import Client

    start = time.perf_counter()
    with Client(address) as client:
        fitted = distributed.fit(str(folder), [params], SEED, client)
        seconds = time.perf_counter() - start
        peak = max(client.run(peak_mb).values())
    _, test = customers(folder / TEST_FILE)
    predicted = model.predict_tiers(fitted.boosters[0], test.features)
    found = model.tier_metrics("t", test.churned, predicted)
    return {
        "limit_mb": limit,
        "dask_workers": WORKERS,
        "dask_peak_mb": peak,
        "dask_fit_s": seconds,
        "dask_customers": fitted.seen.customers,
        "auc_full_dask": found["t_full_roc_auc"],
        "auc_core_dask": found["t_core_roc_auc"],
    }


def scored(home: Path, path: Path, address: str) -> dict[str, Figure]:
    """Batch scoring of one file, here and on the cluster, with a champion of 300 trees."""
    from distributed import Client

    make_champion(home / "champion", seed=1, trees=300)
    runner = ChurnRunner(home / "champion")
    start = time.perf_counter()
    here = batch.score_here(runner, batch.plan(str(path), str(home / "here")), lambda _: None)
    middle = time.perf_counter()
    with Client(address) as client:
        jobs = batch.plan(str(path), str(home / "there"))
        batch.score_on(client, runner.folder, jobs, lambda _: None)
    end = time.perf_counter()
    tables = [pq.read_table(home / name).sort_by("customer_id") for name in ("here", "there")]
    return {
        "score_rows": here.rows,
        "score_rows_per_s_local": here.rows / (middle - start),
        "score_rows_per_s_dask": here.rows / (end - middle),
        "score_bits_equal": tables[0].equals(tables[1]),
    }


def alone(folder: Path, rounds: int) -> dict[str, Figure]:
    """`in_memory` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--child", str(folder)]
    done = subprocess.run(
        [*command, "--rounds", str(rounds)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Figure] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_memory(folder: Path, params: model.Params) -> dict[str, Figure]:
    """The fit as `best_model` has it without a cluster, on the same customers."""
    start = time.perf_counter()
    both = [customers(path) for path in sorted(folder.iterdir())]
    train = together([train for train, _ in both])
    test = both[0][1]
    booster = model.fit(model.quantised(train), params, SEED)
    seconds = time.perf_counter() - start
    predicted = model.predict_tiers(booster, test.features)
    found = model.tier_metrics("t", test.churned, predicted)
    return {
        "memory_fit_s": seconds,
        "memory_peak_mb": peak_mb(),
        "auc_full_memory": found["t_full_roc_auc"],
        "auc_core_memory": found["t_core_roc_auc"],
    }


def peak_mb() -> float:
    """Most memory that this process has held; `ru_maxrss` would begin with its parent's."""
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) / 1024


def customers(path: Path) -> tuple[dataset.Dataset, dataset.Dataset]:
    """Training and test customers of a file."""
    parts = []
    for piece in pieces(str(path)):
        for frame in frames(piece):
            rows = judge(frame)
            good, label = rows.good(), rows.columns[LABEL]
            parts.append(
                dataset.Dataset(
                    rows.ids.to_numpy(zero_copy_only=False)[good],
                    encode(rows.customers(good)),
                    label.values[label.codes[good]].astype(np.int8),
                )
            )
    return dataset.split(together(parts))


def together(parts: list[dataset.Dataset]) -> dataset.Dataset:
    """One data set of several."""
    return dataset.Dataset(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.churned for part in parts]),
    )


if __name__ == "__main__":
    main()
