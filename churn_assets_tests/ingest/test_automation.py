"""The sensor and the schedule: a file is trained on once, and a failed run does not lose it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status
from dagster._utils.schedules import schedule_execution_time_iterator
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from churn_assets.defs.ingest import jobs, schedules, sensors
from churn_assets.defs.ingest.assets import OBJECT_TAG


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def job() -> dg.JobDefinition:
    """A stand-in of the same name that fails when told to: what is trained is not at issue."""

    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        if "fails" in context.run_tags:
            raise RuntimeError("the training machine burned down")

    @dg.job(name=jobs.TRAINING_JOB)
    def training() -> None:
        work()

    return training


def tick(instance: dg.DagsterInstance) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance) as context:
        return sensors.new_customers(context, S3Resource())


def asked(instance: dg.DagsterInstance) -> dg.RunRequest:
    (request,) = tick(instance).run_requests or ()
    return request


def silent(instance: dg.DagsterInstance) -> str:
    """Why the sensor asks for nothing."""
    result = tick(instance)
    assert not result.run_requests
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)


def run(
    job: dg.JobDefinition, instance: dg.DagsterInstance, request: dg.RunRequest, *, fails: bool
) -> None:
    tags = {**request.tags, **({"fails": "yes"} if fails else {})}
    job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def test_a_failed_run_is_tried_again_and_a_good_one_is_the_last(
    bucket: str,
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert silent(instance) == "the feature store is empty"
    boto3.client("s3").put_object(Bucket=bucket, Key="ID1/a.csv", Body=b"a\n1\n")
    first = asked(instance)
    assert first.run_config["ops"]["raw_s3_data"]["config"] == {"key": "ID1/a.csv"}
    assert asked(instance).run_key == first.run_key, "asked again until a run exists"

    run(job, instance, first, fails=True)
    assert "trying again after a while" in silent(instance)
    monkeypatch.setattr(sensors, "RETRY_AFTER", sensors.RETRY_AFTER * 0)
    second = asked(instance)
    assert second.run_key != first.run_key, "a run key that was used would be skipped"
    assert second.tags == first.tags

    run(job, instance, second, fails=False)
    assert "trained on already" in silent(instance)


def test_a_file_written_over_is_a_new_one(
    bucket: str, instance: dg.DagsterInstance, job: dg.JobDefinition
) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="ID1/a.csv", Body=b"a\n1\n")
    first = asked(instance)
    run(job, instance, first, fails=False)
    client.put_object(Bucket=bucket, Key="ID1/a.csv", Body=b"a\n2\n")
    second = asked(instance)
    assert second.tags[OBJECT_TAG] != first.tags[OBJECT_TAG]


@pytest.mark.parametrize(
    ("statuses", "seconds", "attempt", "reason"),
    [
        ([], 0, 0, "new"),
        ([Status.STARTED], 9_999, None, "being trained on"),
        ([Status.QUEUED, Status.FAILURE], 9_999, None, "being trained on"),
        ([Status.FAILURE], 10, None, "1 runs failed; trying again after a while"),
        ([Status.FAILURE] * 2, 301, 2, "new"),
        ([Status.FAILURE] * 5, 9_999, None, "5 runs failed; launch"),
        ([Status.CANCELED], 9_999, None, "its run was canceled"),
        ([Status.FAILURE, Status.SUCCESS], 9_999, None, "trained on already"),
    ],
)
def test_decisions(
    statuses: list[Status], seconds: float, attempt: int | None, reason: str
) -> None:
    decision = sensors.decide(statuses, seconds)
    assert decision.attempt == attempt
    assert decision.reason.startswith(reason)


def test_the_schedule_fires_every_four_hours_and_follows_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def next_hours() -> list[int]:
        (schedule,) = schedules.defs().schedules or ()
        assert isinstance(schedule, dg.ScheduleDefinition)
        start = datetime(2026, 1, 1, 0, 30, tzinfo=UTC).timestamp()
        times = schedule_execution_time_iterator(
            start, schedule.cron_schedule, schedule.execution_timezone
        )
        return [next(times).hour for _ in range(3)]

    assert next_hours() == [4, 8, 12]
    monkeypatch.setenv("TRAINING_CRON", "0 * * * *")
    get_settings.cache_clear()
    assert next_hours() == [1, 2, 3]


def test_automation_is_off_unless_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def statuses() -> set[str]:
        (schedule,) = schedules.defs().schedules or ()
        (sensor,) = sensors.defs().sensors or ()
        return {schedule.default_status.value, sensor.default_status.value}

    assert statuses() == {"STOPPED"}
    monkeypatch.setenv("TRAINING_AUTOMATION", "running")
    get_settings.cache_clear()
    assert statuses() == {"RUNNING"}
