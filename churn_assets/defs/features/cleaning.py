"""From a customer file as it landed to customers: the predecessor's rules, each with a name.

Every row of the input ends as a customer, in the quarantine with its reason, or
in the count of a named rule: `Cleaned.ledger` adds up to the rows read.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bento.customer import CODES, FEATURES, Customer
from churn_assets.defs.features.parsing import LABEL, Column, as_text, parse

Unknown = Literal["missing", "drop"]

ID = "customer_id"
TARGET = "churned"
RENAMED = {"clientnum": ID}
NEEDED = (ID, LABEL, *FEATURES)
"""What a customer file must hold, by cleaned name."""

LEAKING = re.compile(r"naive_bayes_classifier.*")
"""Columns that were computed from the label."""

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


class ColumnError(ValueError):
    """The file lacks a column or has one twice; the message names it and the nearest one."""


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
    raw, ignored, leaking = _select(frame)
    text = {name: as_text(column) for name, column in raw.items()}
    blank = _rows_where(text, dict.fromkeys(text, ""))
    header = _rows_where(text, {name: str(column.name) for name, column in raw.items()})
    columns = {name: parse(name, text[name]) for name in (LABEL, *FEATURES)}
    ids = pc.utf8_trim_whitespace(text[ID])
    faulty = _bad_ids(ids) | np.any([column.faulty() for column in columns.values()], axis=0)

    valid = _typed(ids, columns, np.flatnonzero(~(faulty | blank | header)))
    unique, conflicting = _deduplicate(valid)
    refused = np.flatnonzero(faulty & ~blank & ~header)
    reasons = {row: _reason(row, ids, columns) for row in refused.tolist()}
    reasons |= dict.fromkeys(conflicting.tolist(), _CONFLICT)

    incomplete = unique.isna().any(axis=1)
    kept = unique[~incomplete] if unknown == "drop" else unique
    ledger = {
        "customers": len(kept),
        "quarantined": len(reasons),
        "dropped_unknown": len(unique) - len(kept),
        "merged_identical_duplicates": len(valid) - len(unique) - len(conflicting),
        "removed_blank_rows": int(blank.sum()),
        "removed_repeated_headers": int((header & ~blank).sum()),
    }
    notes = {
        "customers_with_unknown": int(incomplete.sum()),
        "values_trimmed": sum(column.trimmed for column in columns.values()),
        "leaking_columns_dropped": leaking,
        "irrelevant_columns_dropped": len(ignored),
    }
    return Cleaned(
        kept.sort_values(ID, ignore_index=True),
        _quarantine(frame, ids, reasons),
        ledger,
        notes,
        ignored,
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


def _select(frame: pd.DataFrame) -> tuple[dict[str, pd.Series], tuple[str, ...], int]:
    """Needed columns by cleaned name, names of the irrelevant ones, number of leaking ones."""
    needed: dict[str, pd.Series] = {}
    ignored: list[str] = []
    leaking = 0
    for position, original in enumerate(frame.columns):
        name = re.sub(r"[\s-]+", "_", str(original).strip().lower())
        name = RENAMED.get(name, name)
        if name in needed:
            raise ColumnError(f"column {name} is there twice, the second time as {original!r}")
        if name in NEEDED:
            needed[name] = frame.iloc[:, position]
        elif LEAKING.fullmatch(name):
            leaking += 1
        else:
            ignored.append(str(original))
    missing = [_missing(name, ignored) for name in NEEDED if name not in needed]
    if missing:
        raise ColumnError("; ".join(missing))
    return needed, tuple(ignored), leaking


def _missing(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, {other.lower(): other for other in others}, n=1)
    return f"column {name} is missing" + (f", the nearest is {near[0]!r}" if near else "")


def _rows_where(text: Mapping[str, pa.Array], wanted: Mapping[str, str]) -> NDArray[np.bool_]:
    """Rows whose every column holds the wanted text."""
    matches = [pc.equal(column, wanted[name]) for name, column in text.items()]
    found: NDArray[np.bool_] = np.all(
        [match.to_numpy(zero_copy_only=False) for match in matches], axis=0
    )
    return found


def _bad_ids(ids: pa.Array) -> NDArray[np.bool_]:
    length = pc.utf8_length(ids).to_numpy(zero_copy_only=False)
    bad: NDArray[np.bool_] = (length == 0) | (length > 64)
    return bad


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


def _reason(row: int, ids: pa.Array, columns: Mapping[str, Column]) -> str:
    """Why a row is no customer: every fault named, or that it is a title or a total."""
    faults = {
        name: column.faults[code]
        for name, column in columns.items()
        if (code := column.codes[row]) in column.faults
    }
    if all(
        name in faults and not faults[name].value for name in (LABEL, "gender", "card_category")
    ):
        return "not a customer row (no label, gender or card)"
    words = [fault.words(name) for name, fault in faults.items()]
    if not 0 < len(ids[row].as_py()) <= 64:
        words.insert(0, "customer_id: missing or too long (allowed: text of 1 to 64 characters)")
    return "; ".join(words)


def _quarantine(frame: pd.DataFrame, ids: pa.Array, reasons: Mapping[int, str]) -> pd.DataFrame:
    rows = sorted(reasons)
    picked = frame.iloc[rows]
    original = pd.DataFrame(
        {str(name): as_text(picked.iloc[:, i]).to_pylist() for i, name in enumerate(picked)}
    )
    return pd.DataFrame(
        {
            "row": np.asarray(frame.index[rows], dtype=np.int64),
            "customer_id": ids.take(pa.array(rows, pa.int64())).to_pylist(),
            "reason": [reasons[row] for row in rows],
            "original": [json.dumps(o, ensure_ascii=False) for o in original.to_dict("records")],
        }
    )
