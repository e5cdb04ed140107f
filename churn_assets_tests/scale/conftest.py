"""A Dask cluster on this machine whose workers are processes with a memory limit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from bento.runner import ChurnRunner
from churn_assets_tests.champions import make_champion

WORKERS = 2
LIMIT_MB = 440
"""Of each worker: Dask's nanny ends one that passes 95 % of it."""


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        memory_limit=f"{LIMIT_MB}MiB",
        dashboard_address=None,
        local_directory=str(tmp_path_factory.mktemp("dask")),
        silence_logs=50,
    ) as cluster:
        yield str(cluster.scheduler_address)


@pytest.fixture(scope="session")
def champion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "champion"
    make_champion(folder, seed=8, trees=100)
    return folder


@pytest.fixture(scope="session")
def runner(champion_folder: Path) -> ChurnRunner:
    return ChurnRunner(champion_folder)
