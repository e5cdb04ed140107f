"""What the champion learned from, and how each window of predictions differs from it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from dagster_aws.s3 import S3Resource

from bento.champion import live_folder
from bento.depot import look_up_live
from bento.runner import ChurnRunner
from bento.settings import get_settings
from bento.store import FIRST_ID
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.drift import Columns, Limits
from churn_assets.defs.monitoring.drift_report import DriftReport, Yardstick, examine
from churn_assets.defs.monitoring.prediction_log import PAGE, key_of, open_log
from churn_assets.defs.monitoring.publishing import REPORTS_PREFIX, publish, url_of
from churn_assets.defs.monitoring.sampling import NEEDED, Group, Sampler, sample
from churn_assets.defs.monitoring.windows import Window, report_windows, window_at, window_of_key
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets.markdown import table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class DriftConfig(dg.Config):
    """What a window is compared with."""

    model_config = {"extra": "forbid"}  # noqa: RUF012  as pydantic wants it

    reference: Yardstick = "training"
    """`training`: what the answering model was made from. `previous`: the window before."""
    since: str | None = None
    """Only predictions from this moment on, ISO-8601 with a time zone; None: the whole window."""


@dg.asset(
    group_name="release",
    owners=["team:data-science"],
    kinds={"s3", "parquet"},
    deps=["champion_bento"],
)
def drift_reference(
    context: dg.AssetExecutionContext, s3: S3Resource, cleaned_features: pd.DataFrame
) -> dg.MaterializeResult[dict[str, Any]]:
    """A sample of the customers the live champion was made from, with its scores.

    Drift reports and live metrics compare with it. It is made once a model, when the
    model goes live; later customers are not what the model learned from.
    """
    settings = get_settings()
    live = look_up_live(settings)
    if live is None:
        raise dg.Failure("no champion is live: materialize champion_bento first")
    client, bucket = s3.get_client(), settings.churn_bucket
    kept = reference.load(client, bucket, live.model_run_id)
    if kept is None:
        runner = ChurnRunner(live_folder(settings.live_pointer, live))
        if not reference.made_from(runner.champion, cleaned_features):
            context.log.warning(
                "the customers have changed since model %s was trained: its reference is of "
                "the new ones",
                live.model_run_id,
            )
        kept = reference.build(cleaned_features, runner)
        reference.save(client, bucket, live.model_run_id, kept)
    key = reference.key_of(live.model_run_id)
    return dg.MaterializeResult(
        value={"key": key, "model_run_id": live.model_run_id, "rows": len(kept)},
        metadata={
            "dagster/row_count": len(kept),
            "dagster/uri": f"s3://{bucket}/{key}",
            "model_run_id": live.model_run_id,
            "customers_not_fitted_on": len(kept) - kept["full"].null_count,
        },
    )


@dg.asset(
    group_name="monitoring",
    owners=["team:data-science"],
    kinds={"evidently", "s3"},
    partitions_def=report_windows,
)
def drift_report(
    context: dg.AssetExecutionContext,
    config: DriftConfig,
    s3: S3Resource,
    prediction_store: PredictionStoreResource,
    prediction_log: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Whether customers or scores of a window differ from what the model was made from.

    Inputs and score are tested column by column, by model and tier, on a bounded
    sample; a page with charts goes to S3 and to the report server. A window with too
    little to compare gets no page, and says why. A report on predictions `since` some
    moment is kept beside the one of the whole window.
    """
    whole = window_of_key(context.partition_key)
    window = part_of(whole, config.since, prediction_log["until"])
    client, bucket = s3.get_client(), get_settings().churn_bucket
    limits = Limits.from_settings()
    current = read_sample(client, bucket, prediction_log["key"], window.ids[0])
    if config.reference == "previous":
        references = previous_references(client, bucket, whole)
    else:
        references = training_references(client, bucket, current)
    report = examine(window, current, references, limits, config.reference)
    page = None if report.skipped else _render(report, current, references, limits)
    with prediction_store.connect() as store:
        store.save_report(report.as_document())
        documents = store.reports()
    publish(client, {report.filename: page} if page else {}, documents)
    return dg.MaterializeResult(
        value=report.as_document(),
        metadata=_metadata(report, page),
    )


@dg.asset_check(asset=drift_report, partitions_def=report_windows)
def nothing_has_drifted(drift_report: dict[str, Any]) -> dg.AssetCheckResult:
    """A warning when customers or scores have changed; passed when nothing was compared."""
    return dg.AssetCheckResult(
        passed=not drift_report["alarm"],
        severity=dg.AssetCheckSeverity.WARN,
        description=drift_report["finding"],
        metadata={"drifted": drift_report["drifted"]},
    )


def part_of(window: Window, since: str | None, until: str) -> Window:
    """The window from `since` to `until` (ISO-8601); raises `dg.Failure` for another moment."""
    end = datetime.fromisoformat(until)
    if since is None:
        return Window(window.start, end)
    try:
        start = datetime.fromisoformat(since)
        if window.start <= start < end:
            return Window(start.astimezone(UTC), end)
    except (TypeError, ValueError):  # no moment, or one without a time zone
        pass
    allowed = " to ".join(window.isoformat)
    raise dg.Failure(f"since: {since!r} is no ISO-8601 moment with a time zone of {allowed}")


def read_sample(s3: "S3Client", bucket: str, key: str, first_id: str = FIRST_ID) -> Sampler:
    """The bounded sample of an exported window, from an id on."""
    with open_log(s3, bucket, key) as log:
        return sample(_from(first_id, log.iter_batches(PAGE, columns=NEEDED)))


def _from(first_id: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches without the rows whose id is smaller."""
    if first_id == FIRST_ID:
        return batches
    return (b.filter(pc.greater_equal(b["prediction_id"], first_id)) for b in batches)


def training_references(
    s3: "S3Client", bucket: str, current: Sampler
) -> dict[Group, Columns | None]:
    """For each model and tier of a window, what the model was made from."""
    tables = {run: reference.load(s3, bucket, run) for run, _ in current.rows}
    return {
        group: None
        if (kept := tables[group.model_run_id]) is None
        else reference.columns(kept, group.tier)
        for group in current.rows
    }


def previous_references(s3: "S3Client", bucket: str, window: Window) -> dict[Group, Columns | None]:
    """The samples of the window before; none when it was never exported."""
    before = window_at(window.start - (window.end - window.start))
    try:
        return dict(read_sample(s3, bucket, key_of(before)).samples())
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return {}
        raise


def _render(
    report: DriftReport,
    current: Sampler,
    references: dict[Group, Columns | None],
    limits: Limits,
) -> str:
    from churn_assets.defs.monitoring.drift_html import render

    return render(report, current.samples(), references, limits)


def _metadata(report: DriftReport, page: str | None) -> dict[str, Any]:
    columns = [
        {
            "tier": group.tier,
            "column": c.column,
            "drifted": c.drifted,
            "psi": c.psi,
            "p-value": c.p_value,
            "reference → window": c.change,
        }
        for group in report.groups
        for c in group.columns
    ]
    found: dict[str, Any] = {
        "dagster/row_count": report.rows,
        "predictions": " to ".join(moment[:19].replace("T", " ") for moment in report.window),
        "alarm": report.alarm,
        "finding": report.finding,
        "drifted_columns": len(report.drifted),
        "largest_psi": max((c.psi for group in report.groups for c in group.columns), default=0.0),
        "columns": table(columns, empty="nothing was compared"),
    }
    if page is None:
        return found | {"skipped": report.finding}
    return found | {
        "report": dg.MetadataValue.url(url_of(report.filename)),
        "dagster/uri": f"s3://{get_settings().churn_bucket}/{REPORTS_PREFIX}{report.filename}",
        "html_mb": len(page.encode()) / 1e6,
    }
