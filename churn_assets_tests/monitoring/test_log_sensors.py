from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from bento.store import PredictionStore, open_store
from churn_assets.defs.monitoring import ground_truth as truth
from churn_assets.defs.monitoring.failures import describe
from churn_assets.defs.monitoring.log_sensors import (
    VERSION_TAG,
    late_predictions,
    new_labels,
    prediction_retention,
    report_every_window,
    truth_arrived,
)
from churn_assets.defs.monitoring.prediction_log import export_window
from churn_assets.defs.monitoring.windows import newest_complete, window_at
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets_tests.monitoring.logged import rows_at

BUCKET = "capstone"
RESOURCES = {"s3": S3Resource(), "prediction_store": PredictionStoreResource()}


@pytest.fixture
def s3(emulator: str) -> Iterator[Any]:
    client = boto3.client("s3")
    yield client
    for prefix in ("predictions/", "labels/", "truth/"):
        for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def store() -> Iterator[PredictionStore]:
    opened = open_store(get_settings())
    yield opened
    opened.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> dg.SensorResult:
    """What the sensor's function decides."""
    wanted = {name: RESOURCES[name] for name in sensor.required_resource_keys}
    found = sensor(dg.build_sensor_context(instance=instance, resources=wanted))
    assert isinstance(found, dg.SensorResult)
    return found


def ran(instance: dg.DagsterInstance, request: dg.RunRequest, status: str) -> None:
    """A run of the request that ended so."""
    instance.add_run(
        dg.DagsterRun("any", tags=dict(request.tags), status=dg.DagsterRunStatus(status))
    )


def test_the_schedule_asks_for_the_window_that_has_just_ended() -> None:
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=now)
    request = report_every_window(context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-03-02-09:00"
    assert report_every_window.cron_schedule == "0 */3 * * *"


def test_late_predictions_are_asked_for_until_a_run_has_them(
    s3: Any, store: PredictionStore, instance: dg.DagsterInstance
) -> None:
    window = window_at(newest_complete(datetime.now(UTC)).start - timedelta(hours=3))
    assert tick(late_predictions, instance).skip_reason
    store.write(rows_at(window.start, 5))
    (request,) = tick(late_predictions, instance).run_requests or []
    assert request.partition_key == window.key
    assert request.tags[VERSION_TAG] == f"{window.key}=5"

    ran(instance, request, "STARTED")
    assert not tick(late_predictions, instance).run_requests
    export_window(store, s3, BUCKET, window)
    assert not tick(late_predictions, instance).run_requests
    store.write(rows_at(window.start, 1, seed=9))  # later still: another version
    (again,) = tick(late_predictions, instance).run_requests or []
    assert again.tags[VERSION_TAG] == f"{window.key}=6"


def test_old_predictions_go_once_they_are_exported(
    s3: Any, store: PredictionStore, instance: dg.DagsterInstance
) -> None:
    old = window_at(datetime.now(UTC) - timedelta(days=40))
    store.write(rows_at(old.start, 5))
    prediction_retention.execute_in_process(resources=RESOURCES, instance=instance)
    assert store.count() == 5  # never exported
    (request,) = tick(late_predictions, instance).run_requests or []
    assert request.partition_key == old.key
    export_window(store, s3, BUCKET, old)
    prediction_retention.execute_in_process(resources=RESOURCES, instance=instance)
    assert store.count() == 0


def test_label_files_are_joined_once(s3: Any, instance: dg.DagsterInstance) -> None:
    assert tick(new_labels, instance).skip_reason
    body = b"customer_id,churned,observed_at\n7,1,2026-03-10\n"
    s3.put_object(Bucket=BUCKET, Key="labels/one.csv", Body=body)
    (request,) = tick(new_labels, instance).run_requests or []
    ran(instance, request, "FAILURE")
    assert not tick(new_labels, instance).run_requests  # not at once, but it is not forgotten:
    truth.update(s3, BUCKET, timedelta(days=90), print)
    assert "none of them new" in str(tick(new_labels, instance).skip_reason)
    s3.put_object(Bucket=BUCKET, Key="labels/one.csv", Body=body + b"8,0,2026-03-10\n")
    assert tick(new_labels, instance).run_requests


def test_reports_follow_the_truth(
    s3: Any, store: PredictionStore, instance: dg.DagsterInstance
) -> None:
    window = window_at(datetime(2026, 3, 2, 12, tzinfo=UTC))
    (row,) = rows_at(window.start, 1)
    store.write([row])
    export_window(store, s3, BUCKET, window)
    assert tick(truth_arrived, instance).skip_reason
    label = f"prediction_id,churned,observed_at\n{row.prediction_id},1,2026-03-10\n"
    s3.put_object(Bucket=BUCKET, Key="labels/one.csv", Body=label.encode())
    truth.update(s3, BUCKET, timedelta(days=90), print)
    (request,) = tick(truth_arrived, instance).run_requests or []
    assert request.partition_key == window.key

    digest = truth.load_index(s3, BUCKET)["windows"][window.stem]["sha256"]
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "performance_report", partition=window.key, metadata={"truth_sha256": digest}
        )
    )
    assert "every report knows" in str(tick(truth_arrived, instance).skip_reason)


def test_a_failure_is_told_with_its_cause(instance: dg.DagsterInstance) -> None:
    @dg.op
    def divide() -> None:
        raise ZeroDivisionError("nothing to divide by")

    @dg.job
    def arithmetic() -> None:
        divide()

    result = arithmetic.execute_in_process(
        instance=instance, raise_on_error=False, tags={"dagster/partition": "2026-03-02-12:00"}
    )
    context = dg.build_run_status_sensor_context(
        sensor_name="log_failures",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()
    words = describe(context)
    assert words.startswith("arithmetic for 2026-03-02-12:00 failed")
    assert "divide: ZeroDivisionError: nothing to divide by" in words
