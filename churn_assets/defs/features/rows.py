"""The rows of a customer table, judged: which are customers, which are not and why.

Training and batch scoring both read tables through here; they differ in the columns
that must be there.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bento.customer import CORE_FIELDS, FEATURES, Customer
from churn_assets.defs.features.parsing import LABEL, Column, as_text, parse

ID = "customer_id"
RENAMED = {"clientnum": ID}
LABELLED = (ID, LABEL, *FEATURES)
"""What a table to train on must hold, by cleaned name."""

SCORABLE = (ID, *CORE_FIELDS)
"""What a table to score must hold; the behavioural fields may be there."""

LEAKING = re.compile(r"naive_bayes_classifier.*")
"""Columns that were computed from the label."""


class ColumnError(ValueError):
    """The table lacks a column or has one twice; the message names it and the nearest one."""


@dataclass(frozen=True)
class Rows:
    """A table's rows; `blank`, `header` and `faulty` are masks, in its order.

    `ids`: customer ids as trimmed text. `columns`: label and features, parsed.
    `ignored`: columns that are not needed; `leaking`: how many were made from the label.
    """

    frame: pd.DataFrame
    ids: pa.Array
    columns: dict[str, Column]
    blank: NDArray[np.bool_]
    header: NDArray[np.bool_]
    faulty: NDArray[np.bool_]
    ignored: tuple[str, ...]
    leaking: int

    def good(self) -> NDArray[np.intp]:
        """Positions of the customers."""
        return np.flatnonzero(~(self.faulty | self.blank | self.header))

    def refused(self) -> dict[int, str]:
        """Why each other row is no customer, by position; blank rows and headers are neither."""
        rows = np.flatnonzero(self.faulty & ~self.blank & ~self.header)
        return {row: self._reason(row) for row in rows.tolist()}

    def customers(self, rows: NDArray[np.intp]) -> list[Customer]:
        """The customers at these positions, without their ids.

        Each value was judged by the contract when its column was parsed.
        """
        columns = [
            self.columns[name].values[self.columns[name].codes[rows]].tolist()
            if name in self.columns
            else [None] * len(rows)
            for name in FEATURES
        ]
        return [Customer(*values) for values in zip(*columns, strict=True)]

    def quarantine(self, reasons: Mapping[int, str]) -> pd.DataFrame:
        """The refused rows: `row` (from the index), `customer_id`, `reason`, `original` (JSON)."""
        rows = sorted(reasons)
        picked = self.frame.iloc[rows]
        original = pd.DataFrame(
            {str(name): as_text(picked.iloc[:, i]).to_pylist() for i, name in enumerate(picked)}
        )
        texts = [json.dumps(row, ensure_ascii=False) for row in original.to_dict("records")]
        return pd.DataFrame(
            {
                "row": np.asarray(self.frame.index[rows], dtype=np.int64),
                "customer_id": self.ids.take(pa.array(rows, pa.int64())).to_pylist(),
                "reason": [reasons[row] for row in rows],
                "original": texts,
            }
        )

    def _reason(self, row: int) -> str:
        """Every fault named, or that the row is a title or a total."""
        faults = {
            name: column.faults[code]
            for name, column in self.columns.items()
            if (code := column.codes[row]) in column.faults
        }
        telling = [name for name in (LABEL, "gender", "card_category") if name in self.columns]
        if all(name in faults and not faults[name].value for name in telling):
            return f"not a customer row (no {'label, ' * (LABEL in telling)}gender or card)"
        words = [fault.words(name) for name, fault in faults.items()]
        if not 0 < len(self.ids[row].as_py()) <= 64:
            allowed = "allowed: text of 1 to 64 characters"
            words.insert(0, f"customer_id: missing or too long ({allowed})")
        return "; ".join(words)


def judge(frame: pd.DataFrame, required: Sequence[str] = LABELLED) -> Rows:
    """Judge a table of any column types; its index numbers the rows.

    `required` is `LABELLED` or `SCORABLE`. Raises `ColumnError` for a missing, renamed
    or repeated column.
    """
    wanted = {*required, *FEATURES}
    raw, ignored, leaking = _select(frame, required, wanted)
    text = {name: as_text(column) for name, column in raw.items()}
    names = [name for name in (LABEL, *FEATURES) if name in text]
    columns = {name: parse(name, text[name]) for name in names}
    ids = pc.utf8_trim_whitespace(text[ID])
    return Rows(
        frame,
        ids,
        columns,
        blank=_rows_where(text, dict.fromkeys(text, "")),
        header=_rows_where(text, {name: str(column.name) for name, column in raw.items()}),
        faulty=_bad_ids(ids) | np.any([column.faulty() for column in columns.values()], axis=0),
        ignored=ignored,
        leaking=leaking,
    )


def clean_name(original: object) -> str:
    """A column's cleaned name."""
    name = re.sub(r"[\s-]+", "_", str(original).strip().lower())
    return RENAMED.get(name, name)


def _select(
    frame: pd.DataFrame, required: Sequence[str], wanted: set[str]
) -> tuple[dict[str, pd.Series], tuple[str, ...], int]:
    """Wanted columns by cleaned name, names of the irrelevant ones, number of leaking ones."""
    found: dict[str, pd.Series] = {}
    ignored: list[str] = []
    leaking = 0
    for position, original in enumerate(frame.columns):
        name = clean_name(original)
        if name in found:
            raise ColumnError(f"column {name} is there twice, the second time as {original!r}")
        if name in wanted:
            found[name] = frame.iloc[:, position]
        elif LEAKING.fullmatch(name):
            leaking += 1
        else:
            ignored.append(str(original))
    missing = [_missing(name, ignored) for name in required if name not in found]
    if missing:
        raise ColumnError("; ".join(missing))
    return found, tuple(ignored), leaking


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
