"""What became of the predictions, as far as anybody has told."""

from datetime import timedelta
from typing import Any

import dagster as dg
from dagster_aws.s3 import S3Resource

from bento.settings import get_settings
from churn_assets.defs.monitoring import ground_truth as truth
from churn_assets.markdown import table


@dg.asset(
    group_name="monitoring",
    owners=["team:data-science"],
    kinds={"s3", "parquet"},
    deps=["prediction_log"],
    pool="ground_truth",  # two at a time would write the same index
)
def ground_truth(
    context: dg.AssetExecutionContext, s3: S3Resource
) -> dg.MaterializeResult[dict[str, Any]]:
    """Labels from the files under `labels/`, joined to the predictions they speak of.

    The latest observation of a prediction counts; rows that are no labels are kept
    under `quarantine/labels/` with the reason. Reports of the windows whose truth has
    changed are made again by the sensor `truth_arrived`.
    """
    settings = get_settings()
    horizon = timedelta(days=settings.label_horizon_days)
    found = truth.update(s3.get_client(), settings.churn_bucket, horizon, context.log.info)
    refused = [{"file": key, "reason": why} for key, why in found["refused_files"].items()]
    counts = {name: value for name, value in found.items() if isinstance(value, int)}
    return dg.MaterializeResult(
        value=found,
        metadata={
            "dagster/row_count": found["labelled_predictions"],
            "dagster/uri": f"s3://{settings.churn_bucket}/{truth.PREFIX}",
            **counts,
            "changed_windows": len(found["changed_windows"]),
            "refused_files": table(refused),
        },
    )
