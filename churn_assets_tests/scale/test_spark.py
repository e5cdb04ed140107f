"""The registered model in Spark by MLflow's UDF: the scores of the servers' runner.

`make test-spark` runs it; elsewhere it is skipped, for want of pyspark or of Java.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from bento.customer import FEATURES, encode
from bento.runner import ChurnRunner
from churn_assets.defs.features.cleaning import to_customers
from churn_assets.defs.release.packaging import Origin, package
from churn_assets.defs.training import dataset, promotion, refit, tuning
from churn_assets_tests.training.customers import cleaned

sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: make test-spark")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java 17 or newer", allow_module_level=True)

NAME = "best_model-spark"
ROWS = 4_000


@pytest.fixture(scope="module")
def champion(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> ChurnRunner:
    """A searched, registered and promoted model, packaged as the servers have it."""
    mlflow.set_tracking_uri(mlflow_server)
    client = mlflow.MlflowClient(mlflow_server)
    train, _ = dataset.split(dataset.build(cleaned()))
    search = tuning.search(train, trials=1, fold_count=2, seed=11, pruning=False, workers=1)
    refits = refit.refit(train, search, 1, 11, 1)
    experiment = client.create_experiment("spark")
    parent = client.create_run(experiment).info.run_id
    [record] = refit.log_refits(client, experiment, parent, refits, train.features[:5], {})
    promotion.register(client, NAME, record["run_id"], {}, passed=True)
    promotion.promote(client, NAME, record["run_id"])
    origin = Origin(
        model_name=NAME,
        model_version="1",
        model_run_id=record["run_id"],
        threshold=record["threshold"],
        tiers={},
        data_sha256="0" * 64,
        synthetic=True,
    )
    folder: Path = tmp_path_factory.mktemp("spark") / "champion"
    package(folder, bytes(refits[0].booster.save_raw("ubj")), origin, train.features)
    return ChurnRunner(folder)


@pytest.fixture(scope="module")
def spark(shield: pytest.MonkeyPatch) -> Iterator[Any]:
    shield.setenv("PYSPARK_PYTHON", sys.executable)
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_the_udf_scores_what_the_runner_scores(champion: ChurnRunner, spark: Any) -> None:
    customers = to_customers(cleaned(ROWS, seed=5))
    matrix = np.concatenate(list(dataset.tiers(encode(customers)).values()))
    numbered = pd.DataFrame(matrix, columns=list(FEATURES)).assign(row=np.arange(len(matrix)))
    score = mlflow.pyfunc.spark_udf(spark, f"models:/{NAME}@champion", env_manager="local")
    rows = spark.createDataFrame(numbered).repartition(4)
    found = rows.select("row", score(*FEATURES).alias("chance")).toPandas().sort_values("row")
    chances = found["chance"].to_numpy()
    assert chances.shape == (2 * ROWS,)
    assert np.abs(chances - champion.score_matrix(matrix)).max() < 1e-6
    assert chances[:ROWS].mean() != pytest.approx(chances[ROWS:].mean(), abs=1e-4)
