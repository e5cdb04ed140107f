"""What a drift report says, before it becomes a page, a document or Dagster metadata."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from bento.customer import CODES, EDUCATION_LEVELS, INCOME_CATEGORIES
from churn_assets.defs.monitoring.drift import Columns, Limits, Values, compare, judge
from churn_assets.defs.monitoring.sampling import Group, Sampler
from churn_assets.defs.monitoring.windows import Window, window_at

CATEGORIES: dict[str, tuple[str, ...]] = {
    **{field: tuple(codes) for field, codes in CODES.items()},
    "education_level": EDUCATION_LEVELS,
    "income_category": INCOME_CATEGORIES,
}
"""Names of the categories by column and code."""

Yardstick = Literal["training", "previous"]


class ColumnFinding(msgspec.Struct, frozen=True):
    """One column of one group, worst first in a report."""

    column: str
    drifted: bool
    psi: float
    p_value: float
    change: str
    """Reference -> window in words: the mean, or the category that changed most."""


class GroupFinding(msgspec.Struct, frozen=True):
    """The predictions of one model and tier in the window."""

    model_run_id: str
    tier: str
    rows: int
    compared: int
    """Rows that were sampled for the comparison; 0 when it was skipped."""
    skipped: str | None = None
    columns: tuple[ColumnFinding, ...] = ()


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """A window's report as it is kept in the store."""

    id: str = msgspec.field(name="_id")
    kind: str = "drift"
    window: tuple[str, str]
    reference: Yardstick
    rows: int
    alarm: bool
    finding: str
    """The report in one sentence."""
    drifted: tuple[str, ...]
    groups: tuple[GroupFinding, ...]

    @property
    def filename(self) -> str:
        """Name of the page."""
        return f"{self.id}.html"

    @property
    def skipped(self) -> bool:
        """Whether there was nothing to compare."""
        return not any(group.compared for group in self.groups)

    def as_document(self) -> dict[str, Any]:
        """The report as JSON values."""
        document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return document | {"html": None if self.skipped else self.filename}


def examine(
    window: Window,
    current: Sampler,
    references: Mapping[Group, Columns | None],
    limits: Limits,
    reference: Yardstick,
) -> DriftReport:
    """Compare each model and tier of a window with its reference (None: there is none)."""
    samples = current.samples()
    reasons = {g: _too_little(current.rows[g], references.get(g), limits) for g in samples}
    judged = judge(
        {
            group: compare(yardstick, columns)
            for group, columns in samples.items()
            if reasons[group] is None and (yardstick := references[group]) is not None
        },
        limits,
    )
    groups = []
    for group, columns in samples.items():
        found = [
            ColumnFinding(
                one.column,
                one.drifted,
                round(one.psi, 4),
                one.p_value,
                describe(one.column, (references[group] or {})[one.column], columns[one.column]),
            )
            for one in sorted(judged.get(group, ()), key=lambda c: (not c.drifted, -c.psi))
        ]
        compared = max(map(len, columns.values())) if found else 0
        groups.append(
            GroupFinding(*group, current.rows[group], compared, reasons[group], tuple(found))
        )
    drifted = tuple(dict.fromkeys(c.column for group in groups for c in group.columns if c.drifted))
    return DriftReport(
        id=f"data_report-{stem_of(window)}",
        window=(window.start.isoformat(), window.end.isoformat()),
        reference=reference,
        rows=current.rows.total(),
        alarm=bool(drifted),
        finding=_sentence(groups, drifted, current.rows.total(), limits),
        drifted=drifted,
        groups=tuple(groups),
    )


def stem_of(window: Window) -> str:
    """Its start; with seconds when only a later part of the window was asked for."""
    whole = window.start == window_at(window.start).start
    return window.stem if whole else f"{window.stem}{window.start:-%S}"


def describe(column: str, reference: Values, current: Values) -> str:
    """What changed in a column, in words: `mean 4,311 -> 2,580, unknown 0% -> 12%`."""
    if not len(current):
        return "nothing to compare"
    if names := CATEGORIES.get(column):
        words = _largest_change(names, reference, current)
    elif np.isnan(reference).all() or np.isnan(current).all():
        words = ""
    else:
        words = f"mean {np.nanmean(reference):,.4g} → {np.nanmean(current):,.4g}"
    unknown = [float(np.isnan(values).mean()) for values in (reference, current)]
    if abs(unknown[0] - unknown[1]) >= 0.01:
        words += f"{', ' if words else ''}unknown {unknown[0]:.0%} → {unknown[1]:.0%}"
    return words


def _largest_change(names: tuple[str, ...], reference: Values, current: Values) -> str:
    shares = [
        (float((reference == code).mean()), float((current == code).mean()))
        for code in range(len(names))
    ]
    before, now = max(shares, key=lambda pair: abs(pair[0] - pair[1]))
    return f"{names[shares.index((before, now))]} {before:.0%} → {now:.0%}"


def _too_little(rows: int, reference: Columns | None, limits: Limits) -> str | None:
    if rows < limits.min_rows:
        return f"{rows:,} predictions, at least {limits.min_rows:,} are needed"
    return "there is no reference to compare with" if reference is None else None


def _sentence(
    groups: list[GroupFinding], drifted: tuple[str, ...], rows: int, limits: Limits
) -> str:
    if not rows:
        return "No predictions."
    if not any(group.compared for group in groups):
        reasons = "; ".join(
            f"{group.tier} tier of {group.model_run_id[:8]}: {group.skipped}" for group in groups
        )
        return f"Too little to compare: {reasons}."
    if drifted:
        subject = "1 column has" if len(drifted) == 1 else f"{len(drifted)} columns have"
        return f"{subject} changed: {', '.join(drifted)}."
    return f"Nothing has changed (no column beyond a PSI of {limits.psi:g} and chance)."
