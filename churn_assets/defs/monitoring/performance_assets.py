"""How good the model really is: measured once outcomes are known, estimated before."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from churn_assets.defs.monitoring import ground_truth, reference
from churn_assets.defs.monitoring.performance import (
    Answered,
    PerformanceReport,
    answered,
    examine,
    join,
    reference_of,
)
from churn_assets.defs.monitoring.prediction_log import PREFIX, open_log
from churn_assets.defs.monitoring.publishing import publish, url_of
from churn_assets.defs.monitoring.sampling import Group
from churn_assets.defs.monitoring.windows import report_windows, window_of_key
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets.markdown import pictures, table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVIDENCE_WINDOWS = 8
"""Newest windows with outcomes that an estimate is held against: a day of them."""


@dg.asset(
    group_name="monitoring",
    owners=["team:data-science"],
    kinds={"python", "s3"},
    partitions_def=report_windows,
    deps=["prediction_log", "ground_truth"],
)
def performance_report(
    context: dg.AssetExecutionContext,
    s3: S3Resource,
    prediction_store: PredictionStoreResource,
) -> dg.MaterializeResult[dict[str, Any]]:
    """The model's quality in one window, by model and tier.

    Measured on the predictions whose outcome is known; before that an estimate from
    calibrated scores with an interval. An estimate that the newest outcomes contradict
    is not given: customers no longer behave as those the model learned from.
    """
    window = window_of_key(context.partition_key)
    client, bucket = s3.get_client(), get_settings().churn_bucket
    index = ground_truth.load_index(client, bucket)["windows"]
    current = read_answered(client, bucket, window.stem)
    references = {run: reference.load(client, bucket, run) for run, _ in current}
    report = examine(
        window,
        current,
        recent_outcomes(client, bucket, index),
        {group: reference_of(references[group.model_run_id], group.tier) for group in current},
        index.get(window.stem, {}).get("sha256"),
    )
    page = _render(report)
    with prediction_store.connect() as store:
        store.save_report(report.as_document())
        documents = store.reports()
    publish(client, {report.html: page}, documents)
    return dg.MaterializeResult(value=report.as_document(), metadata=_metadata(report))


def read_answered(s3: "S3Client", bucket: str, stem: str) -> dict[Group, Answered]:
    """An exported window's predictions with what is known of their outcomes."""
    truth = ground_truth.load_truth(s3, bucket, stem)
    with open_log(s3, bucket, f"{PREFIX}{stem}.parquet") as log:
        return answered(log, truth)


def recent_outcomes(
    s3: "S3Client", bucket: str, index: dict[str, dict[str, Any]]
) -> dict[Group, Answered]:
    """Labelled predictions of the newest windows that have some."""
    newest = sorted((stem for stem, found in index.items() if found["rows"]), reverse=True)
    parts: dict[Group, list[Answered]] = {}
    for stem in newest[:EVIDENCE_WINDOWS]:
        for group, found in read_answered(s3, bucket, stem).items():
            parts.setdefault(group, []).append(found.labelled())
    return {group: join(found) for group, found in parts.items()}


def _render(report: PerformanceReport) -> str:
    from churn_assets.defs.monitoring.performance_html import render

    return render(report)


def _metadata(report: PerformanceReport) -> dict[str, Any]:
    from churn_assets.defs.monitoring.performance_html import figure

    rows = [
        {
            "model": group.model_run_id[:8],
            "tier": group.tier,
            "status": group.status,
            "metric": name,
            "measured": (group.measured or {}).get(name, ""),
            "estimated": (group.estimated or {}).get(name, ("",))[0],
        }
        for group in report.groups
        for name in {**(group.measured or {}), **(group.estimated or {})}
    ]
    charts = {
        f"{group.tier} tier, {group.model_run_id[:8]}": figure(group)
        for group in report.groups
        if group.measured or group.estimated
    }
    return {
        "dagster/row_count": report.rows,
        "labelled": report.labelled,
        "alarm": report.alarm,
        "finding": report.finding,
        "truth_sha256": report.truth_sha256 or "",
        "metrics": table(rows, empty="nothing is known"),
        "pictures": pictures(charts),
        "report": dg.MetadataValue.url(url_of(report.html)),
        **_numbers(report),
    }


def _numbers(report: PerformanceReport) -> dict[str, float]:
    """Numbers to plot over time, of the model with the most predictions in each tier."""
    found: dict[str, float] = {}
    for group in sorted(report.groups, key=lambda group: group.rows):
        for name in ("roc_auc", "rmse"):
            if group.measured:
                found[f"{group.tier}_{name}_measured"] = group.measured[name]
            if group.estimated and name in group.estimated:
                found[f"{group.tier}_{name}_estimated"] = group.estimated[name][0]
    return found
