from datetime import UTC, datetime

import dagster as dg

from churn_assets.defs.monitoring.drift_sensors import STARTED_BY, retrain_on_drift
from churn_assets.defs.monitoring.windows import newest_complete


def tick(instance: dg.DagsterInstance) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance) as context:
        result = retrain_on_drift(context)
    assert isinstance(result, dg.SensorResult)
    return result


def reported(instance: dg.DagsterInstance, *, alarm: bool) -> str:
    partition = newest_complete(datetime.now(UTC)).key
    instance.report_runless_asset_event(
        dg.AssetMaterialization("drift_report", partition=partition, metadata={"alarm": alarm})
    )
    return partition


def test_it_is_off_until_switched_on() -> None:
    assert retrain_on_drift.default_status is dg.DefaultSensorStatus.STOPPED


def test_only_an_alarm_trains_and_one_alarm_trains_once() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert "no drift report" in str(tick(instance).skip_reason)
        reported(instance, alarm=False)
        assert "is no alarm" in str(tick(instance).skip_reason)
        partition = reported(instance, alarm=True)
        [request] = tick(instance).run_requests or []
        assert request.run_key == f"drift-{partition}"
        assert request.tags == STARTED_BY


def test_a_training_just_started_is_left_to_finish() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        reported(instance, alarm=True)

        @dg.job
        def training() -> None: ...

        training.execute_in_process(instance=instance, tags=STARTED_BY)
        assert "cooling down" in str(tick(instance).skip_reason)
