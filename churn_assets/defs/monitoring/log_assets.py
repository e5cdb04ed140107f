"""The prediction log as assets: one Parquet file a window."""

from typing import Any

import dagster as dg
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from churn_assets.defs.monitoring.prediction_log import export_window
from churn_assets.defs.monitoring.windows import report_windows, window_of_key
from churn_assets.defs.resources.predictions import PredictionStoreResource


@dg.asset(
    group_name="monitoring",
    owners=["team:data-science"],
    kinds={"s3", "parquet"},
    partitions_def=report_windows,
)
def prediction_log(
    context: dg.AssetExecutionContext,
    s3: S3Resource,
    prediction_store: PredictionStoreResource,
) -> dg.MaterializeResult[dict[str, Any]]:
    """Every prediction of one window with its inputs, as Parquet in the object store.

    Run it again when predictions arrived late (the sensor `late_predictions` does);
    the same predictions give the same bytes.
    """
    window = window_of_key(context.partition_key)
    with prediction_store.connect() as store:
        log = export_window(store, s3.get_client(), get_settings().churn_bucket, window)
    return dg.MaterializeResult(
        value=log,
        data_version=dg.DataVersion(log["sha256"]),
        metadata={
            "dagster/row_count": log["rows"],
            "dagster/uri": f"s3://{get_settings().churn_bucket}/{log['key']}",
            "complete": log["complete"],
            "models": log["models"],
            "tiers": log["tiers"],
            "sources": log["sources"],
            "predicted_to_leave": log["predicted_to_leave"],
            "mean_score": log["mean_score"],
            "scores": dg.MetadataValue.md(score_table(log["score_histogram"])),
        },
    )


def score_table(counts: list[int]) -> str:
    """Markdown histogram of P(leave) over bins of equal width."""
    most = max([*counts, 1])
    step = 1 / len(counts)
    lines = [
        f"| {i * step:.2f} - {(i + 1) * step:.2f} | {n:,} | {'█' * round(30 * n / most)} |"
        for i, n in enumerate(counts)
    ]
    return "\n".join(["| P(leave) | predictions | |", "|---|---:|---|", *lines])
