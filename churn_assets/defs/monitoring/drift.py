"""Whether customers or scores have changed: one test and one effect size a column, corrected.

A column is cut into bins by its reference (deciles, or its few distinct values, and one
bin for unknown values). The same bins give Pearson's chi-square test (could this be
chance?) and the population stability index (is it large enough to matter?). A column has
drifted when both say so: with millions of rows everything is significant, and with
hundreds everything looks large.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bento.customer import CORE_FIELDS, FEATURES
from bento.settings import get_settings

Values = NDArray[np.float64]
Columns = Mapping[str, Values]
"""Values by column name, unknown ones NaN; columns may differ in length."""

SCORE = "score"
"""Name of P(leave) beside the features."""

Group = TypeVar("Group")

BINS = 10
LEAST_EXPECTED = 5.0
"""Fewest rows a bin may be expected to hold (Cochran's rule): smaller ones are pooled."""


def compared_columns(tier: str) -> tuple[str, ...]:
    """What is compared in a tier: the core tier leaves the behavioural fields (partly) out."""
    return (*(FEATURES if tier == "full" else CORE_FIELDS), SCORE)


@dataclass(frozen=True)
class Limits:
    """When a difference counts."""

    false_alarm_rate: float = 0.01
    """Chance of any false alarm among all columns of one window."""
    psi: float = 0.1
    """Least population stability index; 0.1 is the usual bound of a moderate change."""
    min_rows: int = 200
    """Fewest rows worth comparing."""

    @classmethod
    def from_settings(cls) -> "Limits":
        """The limits that the environment asks for."""
        settings = get_settings()
        return cls(settings.drift_false_alarm_rate, settings.drift_psi, settings.drift_min_rows)


@dataclass(frozen=True)
class ColumnDrift:
    """One column against its reference; `p_value` is the test's own, before the correction."""

    column: str
    psi: float
    p_value: float
    drifted: bool = False


def compare(reference: Columns, current: Columns) -> list[ColumnDrift]:
    """Each column of `current` against `reference`; nothing is marked as drifted yet."""
    return [
        ColumnDrift(name, *difference(reference[name], values)) for name, values in current.items()
    ]


def judge(
    found: Mapping[Group, Sequence[ColumnDrift]], limits: Limits
) -> dict[Group, list[ColumnDrift]]:
    """Mark what has drifted, corrected over all columns of all groups of a window."""
    flat = [column for columns in found.values() for column in columns]
    significant = iter(holm([column.p_value for column in flat], limits.false_alarm_rate))
    return {
        group: [replace(c, drifted=next(significant) and c.psi >= limits.psi) for c in columns]
        for group, columns in found.items()
    }


def holm(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which hypotheses Holm's step-down method rejects at a family-wise error rate."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        if p_values[index] > rate / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def difference(reference: Values, current: Values) -> tuple[float, float]:
    """Population stability index and p-value of one column; (0, 1) where all is one bin."""
    from scipy.stats import chi2_contingency

    edges = bin_edges(reference)
    table = pooled(np.stack([bin_counts(reference, edges), bin_counts(current, edges)]))
    if table.shape[1] < 2:
        return 0.0, 1.0
    return stability_index(table), float(chi2_contingency(table, correction=False).pvalue)


def bin_edges(reference: Values) -> Values:
    """Upper edges (inclusive) of all bins but the last: between distinct values, or deciles."""
    known = np.unique(reference[~np.isnan(reference)])
    if len(known) <= BINS:
        return known[:-1]
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.unique(np.nanquantile(reference, shares, method="inverted_cdf"))


def bin_counts(values: Values, edges: Values) -> NDArray[np.int64]:
    """Rows in each bin, the unknown ones last; shape (len(edges) + 2,)."""
    unknown = np.isnan(values)
    where = np.searchsorted(edges, values[~unknown], side="left")
    return np.append(np.bincount(where, minlength=len(edges) + 1), unknown.sum())


def pooled(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """The 2 x bins table with all too small bins as one, and the next one if that is too small."""
    expected = table.sum(axis=0) * (table.sum(axis=1).min() / max(table.sum(), 1))
    order = np.argsort(expected, kind="stable")
    small = int((expected < LEAST_EXPECTED).sum())
    if small and expected[order[:small]].sum() < LEAST_EXPECTED:
        small += 1
    if not small:
        return table
    rest = table[:, np.sort(order[small:])]
    return np.column_stack([rest, table[:, order[:small]].sum(axis=1)])


def stability_index(table: NDArray[np.int64]) -> float:
    """PSI of two rows of counts; half a row is added to each bin so that none is empty."""
    shares = (table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True)
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
