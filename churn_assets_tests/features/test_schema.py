"""The schemas behind the checks: each names the column, the rule and the value."""

from typing import Any

import pandas as pd
import pytest

from churn_assets.defs.features import eda
from churn_assets.defs.features.checks import DESCRIPTIONS
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.features.schema import auc_alone, schemas, violations
from churn_assets.synthetic import customers


@pytest.fixture(scope="module")
def cleaned() -> pd.DataFrame:
    return clean(customers(2_000, seed=1)).customers


def test_clean_customers_violate_nothing(cleaned: pd.DataFrame) -> None:
    found = {name: violations(schema, cleaned) for name, schema in schemas().items()}
    assert found == {name: [] for name in DESCRIPTIONS}


def test_each_violation_is_named(cleaned: pd.DataFrame) -> None:
    broken = cleaned.assign(card_category="bronze").drop(columns="gender")
    broken.loc[3:5, "customer_age"] = 17
    found = violations(schemas()["values_in_range"], broken)
    assert {
        "column": "customer_age",
        "rule": "in_range(18, 120)",
        "value": "17",
        "rows": "3",
    } in found
    assert any(v["column"] == "card_category" and v["value"] == "bronze" for v in found)
    missing = violations(schemas()["columns_and_types"], broken)
    assert any(v["rule"] == "column_in_dataframe" and v["value"] == "gender" for v in missing)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"naive_bayes_1": 0.5}, "column_in_schema"),
        ({"customer_id": 7}, "multiple_fields_uniqueness"),
        ({"customer_age": 45.0}, "dtype('int64')"),
        ({"credit_limit": None}, "dtype('float64')"),
    ],
)
def test_columns_and_types_are_exact(
    cleaned: pd.DataFrame, change: dict[str, Any], rule: str
) -> None:
    found = violations(schemas()["columns_and_types"], cleaned.assign(**change))
    assert rule in {violation["rule"] for violation in found}


def test_auc_of_one_column_counts_either_direction_and_categories() -> None:
    frame = pd.DataFrame(
        {
            "churned": [1, 1, 0, 0],
            "credit_limit": [1.0, 2.0, 3.0, 4.0],
            "customer_age": [40, 50, 40, 50],
            "gender": ["F", "F", "M", "M"],
            "education_level": pd.array([None, None, 1, 2], dtype="Int64"),
        }
    )
    assert auc_alone(frame, "credit_limit") == 1.0
    assert auc_alone(frame, "customer_age") == 0.5
    assert auc_alone(frame, "gender") == 1.0
    assert auc_alone(frame, "education_level") == 1.0


def test_rates_add_up(cleaned: pd.DataFrame) -> None:
    for field in (*eda.CATEGORICAL, *eda.RATED):
        found = eda.rates(cleaned, field)
        assert found["customers"].sum() == len(cleaned), field
        assert (found["customers"] * found["churn_rate"]).sum() == pytest.approx(
            cleaned["churned"].sum()
        )
    assert list(eda.rates(cleaned, "income_category").index)[-2:] == ["$120k +", "unknown"]
