import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource
from msgspec.structs import asdict, replace

from bento.settings import get_settings
from bento.store import PredictionRow, PredictionStore, SqliteStore, open_store
from churn_assets.defs.monitoring import prediction_log as module
from churn_assets.defs.monitoring.log_assets import prediction_log
from churn_assets.defs.monitoring.prediction_log import (
    SCHEMA,
    ForgottenError,
    blocked,
    export_window,
    exported_rows,
    is_stale,
    open_log,
    retire,
)
from churn_assets.defs.monitoring.windows import window_at
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets.defs.resources.s3 import S3IOManager
from churn_assets_tests.monitoring.logged import log_rows, rows_at

BUCKET = "capstone"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def s3(emulator: str) -> Iterator[Any]:
    client = boto3.client("s3")
    yield client
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="predictions/")
    for found in listed.get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PredictionStore]:
    opened = SqliteStore(tmp_path / "predictions.db")
    yield opened
    opened.close()


def read_back(s3: Any, key: str) -> list[dict[str, Any]]:
    with open_log(s3, BUCKET, key) as file:
        return list(file.read().to_pylist())


def expected(row: PredictionRow) -> dict[str, Any]:
    moment = datetime.fromisoformat(row.created_at)
    return asdict(row) | {"customer_id": str(row.customer_id), "created_at": moment}


def test_a_window_holds_its_rows_and_no_others(store: PredictionStore, s3: Any) -> None:
    rows = rows_at(NOON, 50)
    log_rows(store, rows)
    log_rows(store, rows_at(NOON - timedelta(milliseconds=1), 1, seed=1))
    log_rows(store, rows_at(NOON + timedelta(hours=3), 5, seed=2))
    log = export_window(store, s3, BUCKET, window_at(NOON))
    assert log["key"] == "predictions/2026-03-02_12-00.parquet"
    assert log["rows"] == 50
    assert log["complete"]
    assert log["models"] == {"a" * 32: 50}
    assert log["sources"] == {"http": 17, "stream": 33}
    assert log["tiers"]["core"] == sum(row.tier == "core" for row in rows)
    assert log["predicted_to_leave"] == sum(row.prediction >= 0.4 for row in rows)
    assert sum(log["score_histogram"]) == 50
    assert read_back(s3, log["key"]) == [expected(row) for row in rows]


def test_the_same_rows_give_the_same_bytes(
    tmp_path: Path, store: PredictionStore, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 7)
    rows = rows_at(NOON, 40)
    log_rows(store, rows)
    first = export_window(store, s3, BUCKET, window_at(NOON))
    other = SqliteStore(tmp_path / "other.db")
    for row in rows[20:] + rows[:20]:
        other.write([row])
    assert export_window(other, s3, BUCKET, window_at(NOON)) == first
    body = s3.get_object(Bucket=BUCKET, Key=first["key"])["Body"].read()
    assert hashlib.sha256(body).hexdigest() == first["sha256"]
    with open_log(s3, BUCKET, first["key"]) as file:
        assert file.num_row_groups == 6  # read and written by pages, never as a whole
    other.close()


def test_late_rows_are_in_the_next_export(store: PredictionStore, s3: Any) -> None:
    window = window_at(NOON)
    assert exported_rows(s3, BUCKET, window) is None
    assert not is_stale(store, s3, BUCKET, window)  # nothing was predicted: nothing to export
    log_rows(store, rows_at(NOON, 10))
    assert is_stale(store, s3, BUCKET, window)
    first = export_window(store, s3, BUCKET, window)
    assert not is_stale(store, s3, BUCKET, window)
    log_rows(store, rows_at(NOON + timedelta(hours=1), 3, seed=1))
    assert is_stale(store, s3, BUCKET, window)
    second = export_window(store, s3, BUCKET, window)
    assert (first["rows"], second["rows"]) == (10, 13)
    assert first["sha256"] != second["sha256"]


def test_an_empty_window_is_a_file_without_rows(store: PredictionStore, s3: Any) -> None:
    log = export_window(store, s3, BUCKET, window_at(NOON))
    assert log["rows"] == 0
    assert log["mean_score"] is None
    with open_log(s3, BUCKET, log["key"]) as file:
        assert file.schema_arrow == SCHEMA


def test_numbers_and_texts_as_customer_ids_fit_one_column(store: PredictionStore, s3: Any) -> None:
    one, two, three = rows_at(NOON, 3)
    log_rows(store, [replace(one, customer_id="x-1"), replace(two, customer_id=None), three])
    log = export_window(store, s3, BUCKET, window_at(NOON))
    ids = [row["customer_id"] for row in read_back(s3, log["key"])]
    assert ids == ["x-1", None, str(three.customer_id)]


def test_the_store_forgets_only_what_was_exported(store: PredictionStore, s3: Any) -> None:
    for hour in range(0, 9, 3):
        log_rows(store, rows_at(NOON + timedelta(hours=hour), 10, seed=hour))
    first, second, third = (window_at(NOON + timedelta(hours=hour)) for hour in range(0, 9, 3))
    export_window(store, s3, BUCKET, first)
    export_window(store, s3, BUCKET, third)
    assert blocked(store, s3, BUCKET, third.end) == second
    assert retire(store, s3, BUCKET, third.end) == (10, second)
    assert store.count() == 20

    log_rows(store, rows_at(second.start, 1, seed=99))
    export_window(store, s3, BUCKET, second)
    assert retire(store, s3, BUCKET, second.end + timedelta(hours=1)) == (11, None)
    assert store.count() == 10  # the third window had not ended at that moment
    assert read_back(s3, "predictions/2026-03-02_12-00.parquet")  # the export stays


def test_what_the_store_has_forgotten_is_not_overwritten(store: PredictionStore, s3: Any) -> None:
    log_rows(store, rows_at(NOON, 10))
    window = window_at(NOON)
    export_window(store, s3, BUCKET, window)
    retire(store, s3, BUCKET, window.end)
    with pytest.raises(ForgottenError, match="holds 0 of 10 exported"):
        export_window(store, s3, BUCKET, window)
    assert len(read_back(s3, "predictions/2026-03-02_12-00.parquet")) == 10


def test_a_late_row_of_an_exported_window_blocks_its_deletion(
    store: PredictionStore, s3: Any
) -> None:
    log_rows(store, rows_at(NOON, 10))
    window = window_at(NOON)
    export_window(store, s3, BUCKET, window)
    log_rows(store, rows_at(NOON, 1, seed=5))
    assert retire(store, s3, BUCKET, window.end) == (0, window)
    assert store.count() == 11


def test_the_asset_describes_its_window(emulator: str, s3: Any) -> None:
    store = open_store(get_settings())
    log_rows(store, rows_at(NOON, 30))
    store.close()
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [prediction_log],
            partition_key="2026-03-02-12:00",
            instance=instance,
            resources={
                "s3": S3Resource(),
                "io_manager": S3IOManager(s3=S3Resource(), bucket=BUCKET),
                "prediction_store": PredictionStoreResource(),
            },
        )
        value = result.output_for_node("prediction_log")
        (event,) = result.asset_materializations_for_node("prediction_log")
    assert value["rows"] == 30
    assert event.metadata["dagster/row_count"].value == 30
    assert event.partition == "2026-03-02-12:00"
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == value["sha256"]
    assert "| 0.95 - 1.00 |" in str(event.metadata["scores"].value)
