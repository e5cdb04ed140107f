"""Final fits from disk: as good as in memory, within the workers' limit, and no silent loss."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from distributed import Client, LocalCluster

from bento.customer import FEATURES
from bento.settings import get_settings
from churn_assets import batch, cluster
from churn_assets.cluster import ClusterError
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.training import dataset, distributed, model, pages, refit, tuning
from churn_assets.defs.training.dataset import DatasetError
from churn_assets.synthetic import customers
from churn_assets.synthetic.generator import FIRST_ID
from churn_assets_tests.scale.conftest import LIMIT_MB

ROWS = 12_000
PARAMS = tuning.DEFAULTS | {"rounds": 40}
COPIES = 50
COPIED = 20_000
MB = 2**20


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return customers(ROWS, seed=12)


@pytest.fixture(scope="module")
def folder(raw: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("many")
    for number in range(4):
        part = raw[number * 3_000 : (number + 1) * 3_000]
        part.to_parquet(found / f"{number}.parquet")
    return found


@pytest.fixture(scope="module")
def sides(raw: pd.DataFrame) -> tuple[dataset.Dataset, dataset.Dataset]:
    return dataset.split(dataset.build(clean(raw).customers))


def areas(booster: Any, test: dataset.Dataset) -> tuple[float, float]:
    predicted = model.predict_tiers(booster, test.features)
    found = model.tier_metrics("t", test.churned, predicted)
    return found["t_full_roc_auc"], found["t_core_roc_auc"]


def test_the_cluster_fits_a_model_as_good_as_memory_does_on_the_same_customers(
    folder: Path, sides: tuple[dataset.Dataset, dataset.Dataset], scheduler: str
) -> None:
    train, test = sides
    expected = areas(model.fit(model.quantised(train), PARAMS, 11), test)
    alone = distributed.fit(str(folder), [PARAMS], 11, piece_rows=3_000)
    with Client(scheduler) as client:
        there = distributed.fit(str(folder), [PARAMS, PARAMS], 11, client, piece_rows=3_000)
    for found in (alone, there):
        assert found.seen.rows == ROWS
        assert found.seen.customers == len(train)
        assert found.seen.left == train.churned.sum()
        assert areas(found.boosters[0], test) == pytest.approx(expected, abs=0.006)
    assert alone.sha256 == there.sha256
    assert tuple(there.boosters[0].feature_names or ()) == FEATURES
    assert model.sha256(there.boosters[0]) == model.sha256(there.boosters[1])


def test_a_piece_may_end_where_a_page_does(
    folder: Path,
    raw: pd.DataFrame,
    sides: tuple[dataset.Dataset, dataset.Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, _ = sides
    monkeypatch.setattr(pages, "PAGE", 100)  # below a frame's customers: each frame is a page
    assert distributed.fit(str(folder), [PARAMS], 11).seen.customers == len(train)
    raw[:0].to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DatasetError, match="holds no rows"):
        distributed.fit(str(tmp_path), [PARAMS], 11)


def test_the_best_trials_are_refitted_from_disk(
    folder: Path, sides: tuple[dataset.Dataset, dataset.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = sides
    search = tuning.search(
        dataset.sample(train, 1_000), trials=2, fold_count=2, seed=11, pruning=False, workers=2
    )
    monkeypatch.setenv("TRAINING_FOLDER", str(folder))
    get_settings.cache_clear()
    refits, fitted = refit.refit_from_disk(train, search, 1, 11, get_settings())
    assert [found.trial for found in refits] == search.best(1)
    assert fitted.seen.customers == len(train)
    for found in refits:
        assert (
            areas(found.booster, test)[0] > found.trial.mean_metrics()["valid_full_roc_auc"] + 0.005
        )
        assert {"train_full_roc_auc", "valid_core_log_loss"} <= set(found.metrics)


def test_rows_that_are_no_customers_stop_the_fit_beyond_the_allowed_share(
    raw: pd.DataFrame, tmp_path: Path
) -> None:
    damaged = raw[:1_000].copy()
    damaged.loc[:29, "Gender"] = "X"
    damaged.to_parquet(tmp_path / "a.parquet")
    assert distributed.fit(str(tmp_path), [PARAMS], 11).seen.quarantined == 30
    with pytest.raises(DatasetError, match="30 of 1,000 rows are no customers"):
        distributed.fit(str(tmp_path), [PARAMS], 11, most_quarantined=0.02)
    raw[raw["Attrition_Flag"] == "Existing Customer"].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="customers who left"):
        distributed.fit(str(tmp_path), [PARAMS], 11)


def test_a_lost_worker_ends_the_fit_with_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cluster, "LOOK_S", 0.5)
    long = PARAMS | {"rounds": 100_000}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address=None,
            local_directory=str(tmp_path),
            silence_logs=50,
        ) as dask,
        Client(dask) as client,
    ):
        pids = client.run(os.getpid)
        killer = threading.Timer(4, os.kill, (next(iter(pids.values())), signal.SIGKILL))
        killer.start()
        start = time.monotonic()
        with pytest.raises(
            (ClusterError, xgb.core.XGBoostError), match=r"lost in the middle|[Cc]ollective|socket"
        ):
            distributed.fit(str(folder), [long], 11, client, piece_rows=3_000)
        assert time.monotonic() - start < 20
        killer.join()


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[Path, float]]:
    """Customers that take more memory than a worker may hold, as pandas has them."""
    frame = customers(COPIED, seed=13)
    block = pa.Table.from_pandas(frame, preserve_index=False)
    path = tmp_path / "large" / "a.parquet"
    path.parent.mkdir()
    with pq.ParquetWriter(path, block.schema) as writer:
        for copy in range(COPIES):
            ids = np.arange(COPIED) + FIRST_ID + copy * COPIED
            table = block.set_column(0, block.schema.field(0), pa.array(ids))
            writer.write_table(table)
    yield path.parent, float(frame.memory_usage(deep=True).sum()) * COPIES / MB
    path.unlink()


def memory_mb() -> float:
    """Most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_more_customers_than_memory_are_fitted_on_and_scored(
    large: tuple[Path, float], runner: Any, tmp_path: Path
) -> None:
    folder, size = large
    assert size > LIMIT_MB
    rounds = PARAMS | {"rounds": 10, "learning_rate": 0.3}
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            memory_limit=f"{LIMIT_MB}MiB",
            dashboard_address=None,
            local_directory=str(tmp_path),
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        there = distributed.fit(str(folder), [rounds], 11, client)
        [peak] = client.run(memory_mb).values()
        jobs = batch.plan(str(folder), str(tmp_path / "scores"))[:2]
        tally = batch.score_on(client, runner.folder, jobs, lambda _: None)
    assert there.seen.rows == COPIES * COPIED
    assert 0.79 < there.seen.customers / there.seen.rows < 0.81
    assert peak < LIMIT_MB
    assert tally.scored == tally.rows == 400_000

    once, others = (
        dataset.build(clean(customers(COPIED, seed=seed)).customers) for seed in (13, 14)
    )
    features, churned = dataset.both_tiers(once.features, once.churned)
    weight = model.weights(COPIED) * np.float32(there.seen.customers / COPIED)
    matrix = xgb.QuantileDMatrix(features, churned, weight=weight, feature_names=list(FEATURES))
    expected = areas(model.fit(matrix, rounds, 11), others)
    assert areas(there.boosters[0], others) == pytest.approx(expected, abs=0.005)
