"""What `cleaned_features` must look like before anything is trained on it (pandera)."""

from typing import TYPE_CHECKING, get_type_hints

import msgspec
import pandas as pd

from bento.customer import CODES, FEATURES, Customer
from churn_assets.defs.features.cleaning import DTYPES, TARGET
from churn_assets.defs.features.rows import ID

if TYPE_CHECKING:
    import pandera.pandas as pa

CHURN_RATES = (0.02, 0.5)
"""A share of leavers outside of this is a broken label, not a bank."""

MOST_TELLING = 0.95
"""ROC AUC from which one column alone is taken for a copy of the label; the public data set's
most telling one, total_trans_ct, has 0.80."""


def schemas() -> "dict[str, pa.DataFrameSchema]":
    """The schema behind each asset check, by the check's name."""
    import pandera.pandas as pa

    low, high = CHURN_RATES
    return {
        "columns_and_types": pa.DataFrameSchema(
            {
                ID: pa.Column(),
                **{name: pa.Column(DTYPES[name], nullable=_nullable(name)) for name in FEATURES},
                TARGET: pa.Column(DTYPES[TARGET]),
            },
            strict=True,
            ordered=True,
            unique=[ID],
        ),
        "values_in_range": pa.DataFrameSchema(
            {
                **{name: pa.Column(checks=_bounds(name), nullable=True) for name in FEATURES},
                TARGET: pa.Column(checks=pa.Check.isin([0, 1])),
            }
        ),
        "no_leaking_column": pa.DataFrameSchema(checks=[_leak_check(name) for name in FEATURES]),
        "class_balance": pa.DataFrameSchema(
            checks=pa.Check(
                lambda frame: low <= frame[TARGET].mean() <= high,
                error=f"share of leavers outside {low:.0%} to {high:.0%}",
            )
        ),
    }


def violations(schema: "pa.DataFrameSchema", frame: pd.DataFrame) -> list[dict[str, str]]:
    """Every violation as column, rule, value and how many rows have it; none when all is well."""
    from pandera.errors import SchemaErrors

    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.astype({"failure_case": str, "column": object})
        cases["column"] = cases["column"].fillna("(table)")
        groups = cases.groupby(["column", "check", "failure_case"], sort=False)
        return [
            {"column": str(column), "rule": str(rule), "value": str(value), "rows": str(count)}
            for (column, rule, value), count in groups.size().items()
        ]
    return []


def auc_alone(frame: pd.DataFrame, name: str) -> float:
    """ROC AUC of one column as a score for leaving, whichever its direction."""
    from scipy.stats import rankdata

    column, churned = frame[name], frame[TARGET].to_numpy() == 1
    if name in CODES:
        column = column.map(frame[TARGET].groupby(column).mean())
    ranks = rankdata(column.astype("float64").fillna(-1))
    leavers = int(churned.sum())
    stayers = len(churned) - leavers
    if not leavers or not stayers:
        return 0.5
    auc = (ranks[churned].sum() - leavers * (leavers + 1) / 2) / (leavers * stayers)
    return float(max(auc, 1 - auc))


def _kinds(name: str) -> list[msgspec.inspect.Type]:
    """The types that the contract allows a field."""
    kind = msgspec.inspect.type_info(get_type_hints(Customer, include_extras=True)[name])
    return list(kind.types) if isinstance(kind, msgspec.inspect.UnionType) else [kind]


def _nullable(name: str) -> bool:
    return any(isinstance(kind, msgspec.inspect.NoneType) for kind in _kinds(name))


def _bounds(name: str) -> "pa.Check":
    """The contract's bounds or categories of a field."""
    import pandera.pandas as pa

    if name in CODES:
        return pa.Check.isin(list(CODES[name]))
    number = next(
        kind
        for kind in _kinds(name)
        if isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType)
    )
    return pa.Check.in_range(number.ge, number.le)


def _leak_check(name: str) -> "pa.Check":
    import pandera.pandas as pa

    return pa.Check(
        lambda frame: auc_alone(frame, name) < MOST_TELLING,
        error=f"{name} alone tells who leaves (ROC AUC at least {MOST_TELLING})",
    )
