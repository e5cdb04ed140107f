"""Training again when customers have changed: off until somebody switches it on."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from bento.settings import get_settings
from churn_assets.defs.ingest.jobs import training_job
from churn_assets.defs.monitoring.windows import window_of_key

STARTED_BY = {"churn/started_by": "drift"}
"""Tag of the runs that alarms have started: what the limits count."""

STALE_AFTER = timedelta(hours=24)
"""An alarm of an older window is history: somebody has rebuilt its report."""


def obstacle(
    now: datetime,
    window_end: datetime,
    started: Sequence[datetime],
    cooldown: timedelta,
    limit: int,
) -> str | None:
    """Why an alarm must not start a training now; `started` are the trainings of alarms before."""
    if now - window_end > STALE_AFTER:
        return f"the window ended at {window_end:%Y-%m-%d %H:%M}, too long ago"
    if started and now - max(started) < cooldown:
        return f"cooling down until {max(started) + cooldown:%Y-%m-%d %H:%M} UTC"
    today = sum(now - moment < timedelta(days=1) for moment in started)
    if today >= limit:
        return f"{today} trainings in 24 hours, the limit is {limit}"
    return None


@dg.sensor(
    job=training_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def retrain_on_drift(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Trains again when the newest drift report is an alarm; with a cool-down and a daily limit."""
    newest = context.instance.fetch_materializations(dg.AssetKey("drift_report"), limit=1).records
    if not newest or newest[0].partition_key is None:
        return dg.SensorResult(skip_reason="there is no drift report yet")
    event, partition = newest[0].asset_materialization, newest[0].partition_key
    if event is None or event.metadata["alarm"].value is not True:
        return dg.SensorResult(skip_reason=f"the report of {partition} is no alarm")
    settings = get_settings()
    records = context.instance.get_run_records(dg.RunsFilter(tags=STARTED_BY))
    reason = obstacle(
        datetime.now(UTC),
        window_of_key(partition).end,
        [record.create_timestamp.astimezone(UTC) for record in records],
        timedelta(minutes=settings.retrain_cooldown_minutes),
        settings.retrain_daily_limit,
    )
    if reason:
        return dg.SensorResult(skip_reason=f"alarm of {partition}: {reason}")
    request = dg.RunRequest(run_key=f"drift-{partition}", tags=STARTED_BY)
    return dg.SensorResult(run_requests=[request])
