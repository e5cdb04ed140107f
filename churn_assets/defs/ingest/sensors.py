"""Training when a new customer file lands.

A customer file is a whole snapshot, so only the newest one matters. There is no
cursor to advance too early: what a file still needs is read from the runs that
carry its version as a tag, whoever launched them.
"""

import time
from datetime import timedelta
from typing import NamedTuple

import dagster as dg
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from churn_assets.defs.ingest import feature_store
from churn_assets.defs.ingest.assets import OBJECT_TAG, RawDataConfig
from churn_assets.defs.ingest.jobs import TRAINING_JOB, training_job

MOST_ATTEMPTS = 5
RETRY_AFTER = timedelta(minutes=5)
"""Longer than Dagster's own run retry takes to start, so that the two never meet."""


class Decision(NamedTuple):
    """Train now, as attempt 0, 1, ...; or None and why not."""

    attempt: int | None
    reason: str


def decide(statuses: list[dg.DagsterRunStatus], seconds_since_last: float) -> Decision:
    """What to do about a file, from its runs and the seconds since the last one changed."""
    failures = statuses.count(dg.DagsterRunStatus.FAILURE)
    if dg.DagsterRunStatus.SUCCESS in statuses:
        return Decision(None, "trained on already")
    if dg.DagsterRunStatus.CANCELED in statuses:
        return Decision(None, f"its run was canceled; launch {TRAINING_JOB} by hand")
    if failures < len(statuses):
        return Decision(None, "being trained on")
    if failures >= MOST_ATTEMPTS:
        return Decision(None, f"{failures} runs failed; launch {TRAINING_JOB} by hand")
    if failures and seconds_since_last < RETRY_AFTER.total_seconds():
        return Decision(None, f"{failures} runs failed; trying again after a while")
    return Decision(failures, "new")


def new_customers(context: dg.SensorEvaluationContext, s3: S3Resource) -> dg.SensorResult:
    """Launches training for the newest customer file until a run with it succeeds."""
    settings = get_settings()
    files = feature_store.customer_files(
        s3.get_client(), settings.churn_bucket, settings.feature_store_prefix
    )
    if not files:
        return dg.SensorResult(skip_reason="the feature store is empty")
    newest = files[-1]
    records = context.instance.get_run_records(
        dg.RunsFilter(job_name=TRAINING_JOB, tags={OBJECT_TAG: newest.version})
    )
    changed = max((record.update_timestamp.timestamp() for record in records), default=0.0)
    decision = decide([record.dagster_run.status for record in records], time.time() - changed)
    if decision.attempt is None:
        return dg.SensorResult(skip_reason=f"{newest.version}: {decision.reason}")
    request = dg.RunRequest(
        run_key=f"{newest.version}#{decision.attempt}",
        run_config=dg.RunConfig(ops={"raw_s3_data": RawDataConfig(key=newest.key)}),
        tags={OBJECT_TAG: newest.version},
    )
    return dg.SensorResult(run_requests=[request])


@dg.definitions
def defs() -> dg.Definitions:
    """The sensor; TRAINING_AUTOMATION says whether it starts switched on, the UI switches it."""
    status = dg.DefaultSensorStatus(get_settings().training_automation.upper())
    sensor = dg.sensor(
        job=training_job,
        minimum_interval_seconds=30,
        default_status=status,
        description=new_customers.__doc__,
    )
    return dg.Definitions(sensors=[sensor(new_customers)])
