"""From a customer file as it landed to customers: the predecessor's rules, each with a name.

Every row of the input ends as a customer, in the quarantine with its reason, or
in the count of a named rule: `Cleaned.ledger` adds up to the rows read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bento.customer import CODES, FEATURES, Customer
from churn_assets.defs.features.parsing import LABEL, Column
from churn_assets.defs.features.rows import ID, judge

Unknown = Literal["missing", "drop"]

TARGET = "churned"

DTYPES: dict[str, str] = {
    **dict.fromkeys(FEATURES, "float64"),
    **dict.fromkeys(CODES, "object"),
    **dict.fromkeys(
        ("customer_age", "dependent_count", "months_on_book", "total_relationship_count"), "int64"
    ),
    **dict.fromkeys(
        (
            "education_level",
            "income_category",
            "months_inactive_12_mon",
            "contacts_count_12_mon",
            "total_trans_ct",
        ),
        "Int64",
    ),
    TARGET: "int8",
}
"""Column types of `cleaned_features`; Int64 where a whole number may be unknown."""

_WHOLE_ID = r"^(0|-?[1-9][0-9]{0,17})$"
_CONFLICT = "customer_id: given more than once with different values"


@dataclass(frozen=True)
class Cleaned:
    """Customers, and what became of every other row.

    `customers`: one row a customer, sorted by `customer_id`; columns: the id (int64, or
    text), the 19 features and `churned` (1 = left). `quarantined`: `row` (from the
    input's index), `customer_id`, `reason`, `original` (JSON of the row as it landed).
    `ledger`: rows by fate. `notes`: values and columns touched, by rule.
    """

    customers: pd.DataFrame
    quarantined: pd.DataFrame
    ledger: dict[str, int]
    notes: dict[str, int]
    ignored_columns: tuple[str, ...]


def clean(frame: pd.DataFrame, unknown: Unknown = "missing") -> Cleaned:
    """Clean a customer table of any column types; its index numbers the rows.

    `unknown="missing"` keeps customers with an unknown field, `"drop"` leaves them out
    (the predecessor's rule). The result does not depend on the order of the rows.
    Raises `ColumnError` for a missing, renamed or repeated column.
    """
    rows = judge(frame)
    reasons = rows.refused()
    valid = _typed(rows.ids, rows.columns, rows.good())
    unique, conflicting = _deduplicate(valid)
    reasons |= dict.fromkeys(conflicting.tolist(), _CONFLICT)

    incomplete = unique.isna().any(axis=1)
    kept = unique[~incomplete] if unknown == "drop" else unique
    ledger = {
        "customers": len(kept),
        "quarantined": len(reasons),
        "dropped_unknown": len(unique) - len(kept),
        "merged_identical_duplicates": len(valid) - len(unique) - len(conflicting),
        "removed_blank_rows": int(rows.blank.sum()),
        "removed_repeated_headers": int((rows.header & ~rows.blank).sum()),
    }
    notes = {
        "customers_with_unknown": int(incomplete.sum()),
        "values_trimmed": sum(column.trimmed for column in rows.columns.values()),
        "leaking_columns_dropped": rows.leaking,
        "irrelevant_columns_dropped": len(rows.ignored),
    }
    return Cleaned(
        kept.sort_values(ID, ignore_index=True),
        rows.quarantine(reasons),
        ledger,
        notes,
        rows.ignored,
    )


def to_customers(frame: pd.DataFrame) -> list[Customer]:
    """The customers in rows of `cleaned_features`, unknown values None.

    Raises `msgspec.ValidationError` for a row outside the contract.
    """
    names = [name for name in (*FEATURES, ID) if name in frame]
    columns = [
        column.astype(object).where(column.notna(), None).tolist()
        for column in (frame[name] for name in names)
    ]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return msgspec.convert(rows, list[Customer])


def _typed(ids: pa.Array, columns: Mapping[str, Column], rows: NDArray[np.intp]) -> pd.DataFrame:
    """The given rows with the types of `DTYPES`, indexed by row."""
    picked = ids.take(pa.array(rows))
    if pc.all(pc.match_substring_regex(picked, _WHOLE_ID)).as_py():
        picked = picked.cast(pa.int64())
    data: dict[str, Any] = {ID: picked.to_pandas().to_numpy()}
    for name in FEATURES:
        column = columns[name]
        data[name] = pd.Series(column.values[column.codes[rows]], index=rows, dtype=DTYPES[name])
    label = columns[LABEL]
    data[TARGET] = label.values[label.codes[rows]].astype(DTYPES[TARGET])
    return pd.DataFrame(data, index=rows)


def _deduplicate(customers: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """One row a customer, and the rows of customers whose rows contradict each other.

    A contradiction has no right answer, and the first row is no answer either: it
    would depend on the order of the file.
    """
    repeated = customers[customers[ID].duplicated(keep=False)]
    distinct = repeated.drop_duplicates()
    contradicted = distinct.loc[distinct[ID].duplicated(), ID]
    conflicting = repeated.index[repeated[ID].isin(contradicted)]
    copies = repeated.index.difference(distinct.index)
    return customers.drop(conflicting.union(copies)), conflicting.to_numpy()
