"""Blocking checks of `cleaned_features`: nothing is trained on what fails one."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
from dagster_aws.s3 import S3Resource

from bento.customer import FEATURES
from bento.settings import get_settings
from churn_assets import markdown
from churn_assets.defs.features import quarantine
from churn_assets.defs.features.cleaning import TARGET

DESCRIPTIONS = {
    "columns_and_types": "Exactly the contract's columns and types, each customer once.",
    "values_in_range": "Every value within the customer contract.",
    "no_leaking_column": "No column alone tells who leaves.",
    "class_balance": "A plausible share of customers left.",
}


@dg.multi_asset_check(
    name="cleaned_features_schema",
    specs=[
        dg.AssetCheckSpec(name, asset="cleaned_features", blocking=True, description=description)
        for name, description in DESCRIPTIONS.items()
    ],
)
def cleaned_features_schema(cleaned_features: pd.DataFrame) -> Iterator[dg.AssetCheckResult]:
    """Validates `cleaned_features` against its pandera schemas."""
    from churn_assets.defs.features.schema import auc_alone, schemas, violations

    figures: dict[str, dict[str, float]] = {
        "columns_and_types": {"columns": cleaned_features.shape[1]},
        "class_balance": {"churn_rate": float(cleaned_features[TARGET].mean())},
        "no_leaking_column": {
            "most_telling_auc": max(auc_alone(cleaned_features, name) for name in FEATURES)
        },
    }
    for name, schema in schemas().items():
        found = violations(schema, cleaned_features)
        yield dg.AssetCheckResult(
            check_name=name,
            passed=not found,
            metadata={
                **figures.get(name, {}),
                "violations": len(found),
                "first_violations": markdown.table(found[:20]),
            },
        )


@dg.asset_check(
    asset="cleaned_features",
    additional_ins={"raw_s3_data": dg.AssetIn()},
    blocking=True,
    description="At most MAX_QUARANTINED_SHARE of the rows were refused.",
)
def few_rows_quarantined(
    cleaned_features: pd.DataFrame, raw_s3_data: dict[str, Any], s3: S3Resource
) -> dg.AssetCheckResult:
    """Compares the quarantine of this raw file with the customers that it gave."""
    settings = get_settings()
    key = quarantine.key_of(raw_s3_data["sha256"])
    refused = len(quarantine.load(s3.get_client(), settings.churn_bucket, key))
    share = refused / (refused + len(cleaned_features))
    return dg.AssetCheckResult(
        passed=share <= settings.max_quarantined_share,
        metadata={"quarantined_share": share, "allowed_share": settings.max_quarantined_share},
    )
