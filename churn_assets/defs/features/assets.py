"""Customers by rule, and pictures of them."""

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg
import pandas as pd
from dagster_aws.s3 import S3Resource
from pydantic import ConfigDict

from bento.settings import get_settings
from churn_assets import markdown
from churn_assets.defs.features import quarantine
from churn_assets.defs.features.cleaning import TARGET, Cleaned, Unknown, clean
from churn_assets.defs.ingest.reading import read_customers

OWNERS = ["team:data-science"]


class CleaningConfig(dg.Config):
    """How to clean."""

    model_config = ConfigDict(extra="forbid")

    unknown: Unknown = "missing"
    """`missing` keeps customers with an unknown field; `drop` leaves them out."""


@dg.asset(group_name="features", kinds={"pandas", "parquet"}, owners=OWNERS)
def cleaned_features(
    context: dg.AssetExecutionContext,
    config: CleaningConfig,
    raw_s3_data: dict[str, Any],
    s3: S3Resource,
) -> dg.MaterializeResult[pd.DataFrame]:
    """One row a customer, under the same contract as a request to the service.

    Names and values in lower case, ordered categories as integer codes, irrelevant
    and leaking columns dropped. Rows that are no customer go to the quarantine with
    their reason, and the ledger accounts for every row read. Sorted by customer.
    """
    client, bucket = s3.get_client(), get_settings().churn_bucket
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(raw_s3_data["raw_key"]).name
        client.download_file(bucket, raw_s3_data["raw_key"], str(path))
        frame = read_customers(path)
    cleaned = clean(frame, config.unknown)
    key = quarantine.save(client, bucket, raw_s3_data["sha256"], cleaned.quarantined)
    if cleaned.customers.empty:
        raise dg.Failure(
            f"no row is a customer; the first: {cleaned.quarantined['reason'].iloc[0]}"
        )
    context.log.info("%s rows read: %s", f"{len(frame):,}", cleaned.ledger)
    return dg.MaterializeResult(
        value=cleaned.customers,
        metadata={
            **_metadata(cleaned, len(frame)),
            "synthetic": raw_s3_data["synthetic"],
            "unknown": config.unknown,
            "quarantine": dg.MetadataValue.path(f"s3://{bucket}/{key}"),
        },
    )


@dg.asset(
    group_name="features",
    kinds={"matplotlib", "mlflow"},
    owners=OWNERS,
    required_resource_keys={"mlflow"},
)
def eda_report(
    context: dg.AssetExecutionContext, cleaned_features: pd.DataFrame
) -> dg.MaterializeResult[None]:
    """What the customers look like: correlations, categories, and who leaves.

    The same pictures are artifacts (`eda/`) of this run in MLflow.
    """
    from churn_assets.defs.features import eda

    figures = {
        "correlations": eda.heat_map(cleaned_features),
        "category_counts": eda.category_counts(cleaned_features),
        "target_rates": eda.target_rates(cleaned_features),
    }
    for name, figure in figures.items():
        context.resources.mlflow.log_figure(figure, f"eda/{name}.png")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(cleaned_features),
            "churn_rate": float(cleaned_features[TARGET].mean()),
            **{name: markdown.pictures({name: figure}) for name, figure in figures.items()},
        }
    )


def _metadata(cleaned: Cleaned, rows_read: int) -> dict[str, Any]:
    customers = cleaned.customers
    fates = [{"fate": name, "rows": count} for name, count in cleaned.ledger.items()]
    refused = cleaned.quarantined.drop(columns="original").head(10).to_dict("records")
    columns = [
        {
            "column": str(name),
            "type": str(customers[name].dtype),
            "unknown": int(customers[name].isna().sum()),
            **{f"row {row}": str(value) for row, value in values.items()},
        }
        for name, values in customers.head(2).to_dict().items()
    ]
    return {
        "dagster/row_count": len(customers),
        "rows_read": rows_read,
        "churn_rate": float(customers[TARGET].mean()),
        **{name: count for name, count in cleaned.ledger.items() if name != "customers"},
        **cleaned.notes,
        "ledger": markdown.table([*fates, {"fate": "rows read", "rows": rows_read}]),
        "quarantined_rows": markdown.table([{str(k): v for k, v in r.items()} for r in refused]),
        "irrelevant_columns": ", ".join(cleaned.ignored_columns) or "none",
        "columns": markdown.table(columns),
    }
