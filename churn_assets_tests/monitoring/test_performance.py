import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from dagster_aws.s3 import S3Resource
from msgspec.structs import replace

from bento.settings import get_settings
from bento.store import PredictionRow, PredictionStore, open_store
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.log_assets import prediction_log
from churn_assets.defs.monitoring.performance_assets import performance_report
from churn_assets.defs.monitoring.truth_assets import ground_truth
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets_tests.monitoring.logged import CHAMPION, rows_at
from churn_assets_tests.monitoring.test_estimate import draw

BUCKET = "capstone"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = "2026-03-02-12:00"
SHIFT = 1.0
"""The windows' customers leave more often than the test customers did."""


@pytest.fixture
def s3(emulator: str) -> Iterator[Any]:
    client = boto3.client("s3")
    yield client
    for prefix in ("predictions/", "labels/", "truth/", "reference/", "reports/", "dagster/"):
        for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def yardstick(s3: Any) -> None:
    """Test customers of the champion, as `reference.build` keeps them."""
    predictions, churned = draw(2_000, 1)
    scores = pa.array(predictions.scores.astype(np.float32))
    table = pa.table({"full": scores, "core": scores, "churned": churned})
    reference.save(s3, BUCKET, CHAMPION.model_run_id, table)


@pytest.fixture
def store() -> Iterator[PredictionStore]:
    opened = open_store(get_settings())
    yield opened
    opened.close()


def predict(
    store: PredictionStore, moment: datetime, bias: float = 0.0, seed: int = 11
) -> list[tuple[PredictionRow, int]]:
    """600 logged full-tier predictions, each with what became of the customer."""
    predictions, churned = draw(600, seed, shift=SHIFT, bias=bias)
    rows = [
        replace(row, prediction=float(score), churn=bool(decided), tier="full")
        for row, score, decided in zip(
            rows_at(moment, 600, seed), predictions.scores, predictions.decided, strict=True
        )
    ]
    store.write(rows)
    return list(zip(rows, churned.tolist(), strict=True))


def tell(s3: Any, name: str, outcomes: list[tuple[PredictionRow, int]]) -> None:
    """Labels of some predictions arrive."""
    lines = [f"{row.prediction_id},{left},2026-03-20T00:00:00Z" for row, left in outcomes]
    body = "\n".join(["prediction_id,churned,observed_at", *lines])
    s3.put_object(Bucket=BUCKET, Key=f"labels/{name}.csv", Body=body.encode())


def report(key: str = KEY) -> tuple[dict[str, Any], dict[str, Any]]:
    """Materialize log, truth and report of a window: the report and its metadata."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [prediction_log, ground_truth, performance_report],
            partition_key=key,
            instance=instance,
            resources={
                "s3": S3Resource(),
                "io_manager": dg.mem_io_manager,
                "prediction_store": PredictionStoreResource(),
            },
        )
        (event,) = result.asset_materializations_for_node("performance_report")
        found: dict[str, Any] = result.output_for_node("performance_report")
        return found, {name: value.value for name, value in event.metadata.items()}


def test_estimated_first_then_held_against_the_truth(
    s3: Any, yardstick: None, store: PredictionStore
) -> None:
    outcomes = predict(store, NOON)
    before, metadata = report()
    (group,) = before["groups"]
    assert (before["rows"], before["labelled"], before["alarm"]) == (600, 0, False)
    assert group["measured"] is None
    assert "estimated, no outcomes yet" in before["finding"]
    assert "full_roc_auc_estimated" in metadata
    assert "full_roc_auc_measured" not in metadata

    tell(s3, "one", outcomes[:500])
    after, metadata = report()
    (group,) = after["groups"]
    assert (group["rows"], group["labelled"]) == (600, 500)
    _, low, high = group["estimated"]["roc_auc"]
    assert low <= group["measured"]["roc_auc"] <= high
    assert group["contradiction"] is None
    assert 0 <= group["measured"]["ece"] < 0.1
    assert sum(rows for *_, rows in group["calibration"]) == 500
    assert metadata["full_roc_auc_measured"] == group["measured"]["roc_auc"]
    assert after["truth_sha256"] == metadata["truth_sha256"] != (before["truth_sha256"] or "")


def test_outcomes_that_contradict_scores_take_the_estimate_away(
    s3: Any, yardstick: None, store: PredictionStore
) -> None:
    outcomes = predict(store, NOON, bias=0.9)
    predict(store, NOON + timedelta(hours=3), bias=0.9, seed=12)
    blind, _ = report("2026-03-02-15:00")
    assert not blind["alarm"]  # from scores alone nobody can tell
    assert blind["groups"][0]["estimated"]

    report()
    tell(s3, "one", outcomes)
    known, _ = report()
    assert known["alarm"]
    assert "not what its scores promised" in known["finding"]
    assert known["groups"][0]["outside"]
    later, _ = report("2026-03-02-15:00")  # no outcome of its own, but it cannot be trusted now
    assert later["alarm"]
    assert later["labelled"] == 0
    assert later["groups"][0]["estimated"] is None
    assert "not estimable, newest outcomes contradict it" in later["finding"]


def test_too_little_says_why_and_does_not_fail(
    s3: Any, yardstick: None, store: PredictionStore
) -> None:
    nothing, _ = report()
    assert nothing["finding"] == "No predictions."
    store.write([replace(row, tier="full") for row in rows_at(NOON, 20)])
    few, _ = report()
    assert "20 predictions, at least 100 are needed" in few["finding"]


def test_a_model_nobody_kept_test_customers_of_is_still_measured(
    s3: Any, store: PredictionStore
) -> None:
    outcomes = predict(store, NOON)
    unknown, _ = report()
    assert "no test customers of this model are known" in unknown["finding"]
    tell(s3, "one", outcomes)
    measured, _ = report()
    assert measured["groups"][0]["measured"]["roc_auc"] > 0.8
    assert measured["groups"][0]["estimated"] is None


def test_labels_of_one_kind_only_are_no_measurement(
    s3: Any, yardstick: None, store: PredictionStore
) -> None:
    outcomes = predict(store, NOON)
    tell(s3, "one", [(row, left) for row, left in outcomes if left == 0])
    found, _ = report()
    assert found["groups"][0]["measured"] is None
    assert found["groups"][0]["estimated"]


def test_the_report_is_where_people_and_programs_look(
    s3: Any, yardstick: None, store: PredictionStore
) -> None:
    tell(s3, "one", predict(store, NOON))
    found, metadata = report()
    name = "performance_report-2026-03-02_12-00.html"
    assert found["html"] == name
    page = (get_settings().churn_home / "reports" / name).read_text()
    assert found["finding"] in page
    assert "http" not in page.replace("http-equiv", "")  # it needs nothing from elsewhere
    body = io.BytesIO(s3.get_object(Bucket=BUCKET, Key=f"reports/{name}")["Body"].read())
    assert body.getvalue().decode() == page
    assert metadata["report"].endswith(f":8888/{name}")
    (kept,) = store.reports()
    assert kept["kind"] == "performance"
    assert kept["groups"][0]["measured"] == found["groups"][0]["measured"]
