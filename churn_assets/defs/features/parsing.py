"""One column of a customer file, from any type, to values under the customer contract.

Every value is judged by the types of `bento.customer.Customer`, so nothing is
trained on that the service would refuse. A column is parsed once a distinct text,
which makes a million rows a matter of seconds without a second set of rules.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bento.customer import CODES, EDUCATION_LEVELS, INCOME_CATEGORIES, Customer
from bento.decoding import allowed

LABEL = "attrition_flag"
LABELS = {"existing customer": 0, "attrited customer": 1}
UNKNOWN = frozenset({"", "unknown"})
"""Lower-cased texts that mean that the bank does not know."""

CATEGORIES: dict[str, dict[str, Any]] = {
    LABEL: dict(LABELS),
    "education_level": {name: code for code, name in enumerate(EDUCATION_LEVELS)},
    "income_category": {name: code for code, name in enumerate(INCOME_CATEGORIES)},
    **{field: {name.lower(): name for name in codes} for field, codes in CODES.items()},
}
"""Cleaned value of each lower-cased category, by field."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_HINTS: dict[str, Any] = {**Customer.__annotations__, LABEL: int}


class Fault(NamedTuple):
    """A value that the contract refuses."""

    value: str
    allowed: str

    def words(self, field: str) -> str:
        """Field, value and what would be right, for the reader of the quarantine."""
        problem = f"{self.value[:64]!r} is not allowed" if self.value else "missing"
        return f"{field}: {problem} (allowed: {self.allowed})"


@dataclass(frozen=True)
class Column:
    """`values[codes]` are the rows; where a value is refused, `faults` by its code."""

    codes: NDArray[np.int64]
    values: NDArray[np.object_]
    faults: dict[int, Fault]
    trimmed: int

    def faulty(self) -> NDArray[np.bool_]:
        """Which rows hold a refused value."""
        flags = np.zeros(len(self.values), dtype=bool)
        flags[list(self.faults)] = True
        flagged: NDArray[np.bool_] = flags[self.codes]
        return flagged


def as_text(column: pd.Series) -> pa.Array:
    """A column of any type as text, missing values empty: here CSV and Parquet become one."""
    try:
        array = pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # an object column of mixed types
        array = pa.array(column.astype(str).where(column.notna(), None), pa.string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return pc.fill_null(array.cast(pa.string()), "")


def parse(field: str, text: pa.Array) -> Column:
    """Values and faults of a text column."""
    encoded = text.dictionary_encode()
    distinct: list[str] = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    values = np.empty(len(distinct), dtype=object)
    faults: dict[int, Fault] = {}
    for code, shown in enumerate(distinct):
        value = parse_value(field, shown.strip())
        if isinstance(value, Fault):
            faults[code] = value
        else:
            values[code] = value
    trimmed = [code for code, shown in enumerate(distinct) if shown != shown.strip()]
    return Column(codes, values, faults, int(np.isin(codes, trimmed).sum()))


def parse_value(field: str, text: str) -> int | float | str | Fault | None:
    """One value under the contract, whatever its case; None where it is unknown."""
    categories = CATEGORIES.get(field)
    name = " ".join(text.lower().split())
    if categories and name in categories:
        known: int | str = categories[name]
        return known
    try:
        value = None if name in UNKNOWN else text if categories else _number(text)
        converted: int | float | str | None = msgspec.convert(value, _HINTS[field])
    except (msgspec.ValidationError, ValueError):
        return Fault(text, "one of " + ", ".join(categories) if categories else allowed(field))
    return converted


def _number(text: str) -> int | float:
    """Whole numbers as int, so that Parquet's 45.0 is CSV's 45; no NaN, infinity, `1_000`."""
    if not _NUMBER.fullmatch(text):
        raise ValueError
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return int(number) if number.is_integer() else number
