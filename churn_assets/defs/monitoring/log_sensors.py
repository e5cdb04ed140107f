"""When the log, its reports and the truth are made: by the clock, and when something arrives.

No sensor keeps a cursor that could run ahead of a failed run: what is due is read from
the outside world, and what has been tried from the runs that carry its version as a tag.
"""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from churn_assets.defs.ingest.sensors import decide
from churn_assets.defs.monitoring import ground_truth as truth
from churn_assets.defs.monitoring.prediction_log import blocked, is_stale, retire
from churn_assets.defs.monitoring.windows import (
    STEM_FORMAT,
    Window,
    cron,
    newest_complete,
    window_at,
    windows_between,
)
from churn_assets.defs.resources.predictions import PredictionStoreResource

VERSION_TAG = "churn/version"
"""Run tag: what a run is about, so that it is not asked for twice."""
LATE_WITHIN = timedelta(days=1)
"""How long after a window late predictions are looked for; the deletion looks once more."""
MOST_REQUESTS = 10

reporting_job = dg.define_asset_job(
    "evidently_data_reporting",
    selection=dg.AssetSelection.groups("monitoring"),
    description="Log, truth, drift and performance of one window.",
    executor_def=dg.in_process_executor,
)
truth_job = dg.define_asset_job(
    "ground_truth_update",
    selection=dg.AssetSelection.assets("ground_truth"),
    description="Label files joined to the prediction log.",
    executor_def=dg.in_process_executor,
)
performance_job = dg.define_asset_job(
    "performance_reporting",
    selection=dg.AssetSelection.assets("performance_report"),
    description="One window's performance again, now that its truth is another.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=reporting_job,
    cron_schedule=cron(),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def report_every_window(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Reports on each window when it has ended (REPORT_TIME_WINDOW_MINUTES)."""
    window = newest_complete(context.scheduled_execution_time)
    return dg.RunRequest(run_key=window.key, partition_key=window.key)


@dg.op(pool="prediction_retention")
def forget_old_predictions(
    context: dg.OpExecutionContext, s3: S3Resource, prediction_store: PredictionStoreResource
) -> None:
    """Deletes predictions older than PREDICTION_RETENTION_DAYS that are safely in S3."""
    settings = get_settings()
    before = datetime.now(UTC) - timedelta(days=settings.prediction_retention_days)
    with prediction_store.connect() as store:
        deleted, stopped = retire(store, s3.get_client(), settings.churn_bucket, before)
    context.log.info(f"{deleted:,} predictions from before {before:%Y-%m-%d %H:%M} deleted")
    if stopped:
        context.log.warning(
            f"window {stopped.key} and later ones stay: the export differs from the store;"
            " the sensor late_predictions exports it again"
        )


@dg.job(executor_def=dg.in_process_executor)
def prediction_retention() -> None:
    """Keeps the prediction store small: old windows go once they are exported."""
    forget_old_predictions()


retention_schedule = dg.ScheduleDefinition(
    name="forget_old_predictions_daily",
    job=prediction_retention,
    cron_schedule="17 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.sensor(
    job=reporting_job,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def late_predictions(
    context: dg.SensorEvaluationContext, s3: S3Resource, prediction_store: PredictionStoreResource
) -> dg.SensorResult:
    """Reports again on windows whose predictions came late, or that a failed run left out."""
    settings, client, now = get_settings(), s3.get_client(), datetime.now(UTC)
    newest = newest_complete(now)
    # The schedule reports on the newest window; a few minutes later this is not in its way.
    end = newest.end if now - newest.end > timedelta(minutes=5) else newest.start
    due: list[tuple[Window, int]] = []
    with prediction_store.connect() as store:
        old = now - timedelta(days=settings.prediction_retention_days)
        stuck = blocked(store, client, settings.churn_bucket, old)
        candidates = [stuck] if stuck else []
        candidates += windows_between(window_at(now - LATE_WITHIN), end)
        for window in candidates:
            if is_stale(store, client, settings.churn_bucket, window):
                due.append((window, store.count(*window.ids)))
    requests = [
        request
        for window, rows in due[:MOST_REQUESTS]
        if (request := request_for(context, window, f"{window.key}={rows}"))
    ]
    return _result(requests, "no window has other predictions than its export")


@dg.sensor(
    job=truth_job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING
)
def new_labels(context: dg.SensorEvaluationContext, s3: S3Resource) -> dg.SensorResult:
    """Joins label files to predictions when files under `labels/` are new or changed."""
    client, bucket = s3.get_client(), get_settings().churn_bucket
    files = truth.list_objects(client, bucket, truth.LABELS)
    version = truth.version_of(files)
    if version == truth.load_index(client, bucket)["labels"]:
        return dg.SensorResult(skip_reason=f"{len(files)} label files, none of them new")
    request = request_for(context, None, version)
    return _result([request] if request else [], "the label files are being joined")


@dg.sensor(
    job=performance_job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING
)
def truth_arrived(context: dg.SensorEvaluationContext, s3: S3Resource) -> dg.SensorResult:
    """Reports performance again for windows whose truth is new, newest first."""
    windows = truth.load_index(s3.get_client(), get_settings().churn_bucket)["windows"]
    requests: list[dg.RunRequest] = []
    reported = _reported_truth(context, list(windows))
    for stem in sorted(windows, reverse=True):
        digest = windows[stem]["sha256"]
        window = window_at(datetime.strptime(stem, STEM_FORMAT).replace(tzinfo=UTC))
        if window.stem == stem and reported.get(window.key) != digest:
            request = request_for(context, window, f"{window.key}={digest}")
            requests += [request] if request else []
        if len(requests) == MOST_REQUESTS:
            break
    return _result(requests, "every report knows the newest truth")


def request_for(
    context: dg.SensorEvaluationContext, window: Window | None, version: str
) -> dg.RunRequest | None:
    """A run about a version, unless one has succeeded, is under way or has failed too often."""
    records = context.instance.get_run_records(dg.RunsFilter(tags={VERSION_TAG: version}))
    changed = max((record.update_timestamp.timestamp() for record in records), default=0.0)
    decision = decide([record.dagster_run.status for record in records], time.time() - changed)
    if decision.attempt is None:
        context.log.info(f"{version}: {decision.reason}")
        return None
    return dg.RunRequest(
        run_key=f"{version}#{decision.attempt}",
        partition_key=window.key if window else None,
        tags={VERSION_TAG: version},
    )


def _reported_truth(context: dg.SensorEvaluationContext, stems: list[str]) -> dict[str, str]:
    """Which truth the newest report of each window knows."""
    keys = [f"{datetime.strptime(stem, STEM_FORMAT):%Y-%m-%d-%H:%M}" for stem in stems]
    found: dict[str, str] = {}
    if not keys:
        return found
    asked = dg.AssetRecordsFilter(dg.AssetKey("performance_report"), asset_partitions=keys)
    for record in context.instance.fetch_materializations(asked, limit=1000).records:
        event = record.asset_materialization
        if event and record.partition_key:
            value = str(event.metadata["truth_sha256"].value)
            found.setdefault(record.partition_key, value)
    return found


def _result(requests: list[dg.RunRequest], otherwise: str) -> dg.SensorResult:
    if requests:
        return dg.SensorResult(run_requests=requests)
    return dg.SensorResult(skip_reason=otherwise)
