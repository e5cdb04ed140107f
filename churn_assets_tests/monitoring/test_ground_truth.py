from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from bento.ids import stream_id
from bento.store import PredictionRow, PredictionStore, SqliteStore
from churn_assets.defs.monitoring import ground_truth
from churn_assets.defs.monitoring.ground_truth import load_index, load_truth
from churn_assets.defs.monitoring.prediction_log import export_window
from churn_assets.defs.monitoring.windows import window_at
from churn_assets_tests.monitoring.logged import log_rows, rows_at

BUCKET = "capstone"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HORIZON = timedelta(days=90)
OBSERVED = "2026-03-20T00:00:00Z"


@pytest.fixture
def s3(emulator: str) -> Iterator[Any]:
    client = boto3.client("s3")
    yield client
    for prefix in ("predictions/", "labels/", "truth/", "quarantine/labels/"):
        for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PredictionStore]:
    opened = SqliteStore(tmp_path / "predictions.db")
    yield opened
    opened.close()


@pytest.fixture
def rows(store: PredictionStore, s3: Any) -> list[PredictionRow]:
    """Ten predictions of ten customers in each of two windows, exported."""
    made = rows_at(NOON, 10) + rows_at(NOON + timedelta(hours=3), 10, seed=1)
    log_rows(store, made)
    for moment in (NOON, NOON + timedelta(hours=3)):
        export_window(store, s3, BUCKET, window_at(moment))
    return made


def put(s3: Any, name: str, *lines: str, header: str = "prediction_id,churned,observed_at") -> None:
    body = "\n".join([header, *lines]).encode()
    s3.put_object(Bucket=BUCKET, Key=f"labels/{name}", Body=body)


def update(s3: Any) -> dict[str, Any]:
    return ground_truth.update(s3, BUCKET, HORIZON, print)


def test_every_row_is_counted_and_none_is_lost(s3: Any, rows: list[PredictionRow]) -> None:
    strange = stream_id("other", "0", "0", int(NOON.timestamp() * 1000))
    put(
        s3,
        "one.csv",
        f"{rows[0].prediction_id},1,{OBSERVED}",
        f"{rows[0].prediction_id},1,{OBSERVED}",
        f"{rows[15].prediction_id},0,{OBSERVED}",
        f"{strange},0,{OBSERVED}",
        f"{rows[1].prediction_id},perhaps,{OBSERVED}",
    )
    put(s3, "two.csv", f"4711,1,{OBSERVED}", header="customer_id,churned,observed_at")
    put(s3, "three.txt", "what is this")
    found = update(s3)
    assert {name: found[name] for name in ("files", "rows", "malformed", "unknown")} == {
        "files": 2,
        "rows": 6,
        "malformed": 1,
        "unknown": 2,
    }
    assert found["duplicated"] == 1
    assert found["late"] == 5
    assert found["labelled_predictions"] == 2
    assert found["changed_windows"] == ["2026-03-02_12-00", "2026-03-02_15-00"]
    assert list(found["refused_files"]) == ["labels/three.txt"]
    truth = load_truth(s3, BUCKET, "2026-03-02_12-00")
    assert truth["prediction_id"].tolist() == [rows[0].prediction_id]
    assert truth["churned"].tolist() == [1]
    kept = s3.list_objects_v2(Bucket=BUCKET, Prefix="quarantine/labels/")["Contents"]
    assert len(kept) == 1


def test_nothing_new_changes_nothing(s3: Any, rows: list[PredictionRow]) -> None:
    put(
        s3,
        "one.csv",
        f"{rows[0].prediction_id},1,{OBSERVED}",
        f"{rows[12].prediction_id},0,{OBSERVED}",
    )
    first = update(s3)
    again = update(s3)
    assert again == first | {"changed_windows": []}
    s3.delete_object(Bucket=BUCKET, Key="truth/index.json")  # everything is joined again
    assert update(s3) == first


def test_a_correction_changes_its_window_only(s3: Any, rows: list[PredictionRow]) -> None:
    put(s3, "one.csv", *(f"{row.prediction_id},0,{OBSERVED}" for row in rows))
    update(s3)
    put(s3, "two.csv", f"{rows[3].prediction_id},1,2026-03-21T00:00:00Z")
    found = update(s3)
    assert found["corrected"] == 1
    assert found["changed_windows"] == ["2026-03-02_12-00"]
    truth = load_truth(s3, BUCKET, "2026-03-02_12-00")
    assert truth["churned"].sum() == 1
    assert len(load_truth(s3, BUCKET, "2026-03-02_15-00")) == 10


def test_labels_may_arrive_before_the_log(
    s3: Any, rows: list[PredictionRow], store: PredictionStore
) -> None:
    late = rows_at(NOON + timedelta(hours=1), 1, seed=7)
    put(s3, "one.csv", f"{late[0].prediction_id},1,{OBSERVED}")
    assert update(s3)["unknown"] == 1
    log_rows(store, late)
    export_window(store, s3, BUCKET, window_at(NOON))
    found = update(s3)
    assert found["changed_windows"] == ["2026-03-02_12-00"]
    assert found["labelled_predictions"] == 1


def test_a_deleted_label_file_takes_its_truth_along(s3: Any, rows: list[PredictionRow]) -> None:
    put(s3, "one.csv", f"{rows[0].prediction_id},1,{OBSERVED}")
    update(s3)
    s3.delete_object(Bucket=BUCKET, Key="labels/one.csv")
    found = update(s3)
    assert found["changed_windows"] == ["2026-03-02_12-00"]
    assert load_truth(s3, BUCKET, "2026-03-02_12-00").empty
    assert load_index(s3, BUCKET)["files"] == {}


def test_a_customers_label_finds_all_predictions_of_that_customer(
    s3: Any, rows: list[PredictionRow]
) -> None:
    # the tests' customers are numbered alike in both windows
    put(
        s3,
        "one.csv",
        f"{rows[4].customer_id},1,{OBSERVED}",
        header="customer_id,churned,observed_at",
    )
    found = update(s3)
    assert found["labelled_predictions"] == 2
    assert found["unknown"] == 0
