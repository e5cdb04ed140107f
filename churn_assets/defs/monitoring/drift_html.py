"""The drift report as a page: our summary, then Evidently's charts of the same samples.

Evidently draws; the verdict beside each chart is the one of `drift.py`, handed to it as
a statistical test, so that the page cannot contradict the alarm.
"""

import html
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn_assets.defs.monitoring.drift import Columns, Limits
from churn_assets.defs.monitoring.drift_report import (
    CATEGORIES,
    ColumnFinding,
    DriftReport,
    GroupFinding,
)
from churn_assets.defs.monitoring.pages import STYLE, badge
from churn_assets.defs.monitoring.sampling import Group

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

MOST_CHARTED = 2
"""Groups that get charts: Evidently's scripts take 3.7 MB, each group about 0.6 MB."""


def render(
    report: DriftReport,
    current: Mapping[Group, Columns],
    references: Mapping[Group, Columns | None],
    limits: Limits,
) -> str:
    """The whole page, below 5 MB; charts for the largest groups that were compared."""
    compared = [group for group in report.groups if group.compared]
    widgets: list[Any] = []
    for group in compared[:MOST_CHARTED]:
        key = Group(group.model_run_id, group.tier)
        if (reference := references[key]) is not None:
            snapshot = evidently_snapshot(group, reference, current[key], limits)
            widgets += _titled(f"{group.tier} tier of model {group.model_run_id}", snapshot)
    return _page(widgets).replace("<body>", f"<body>{summary(report, limits)}", 1)


def evidently_snapshot(
    group: GroupFinding, reference: Columns, current: Columns, limits: Limits
) -> "Snapshot":
    """Evidently's drift report of one group."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, registry
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    found = {column.column: column for column in group.columns}
    test = StatTest(
        name="churn_psi",
        display_name="PSI and corrected chi-square",
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        default_threshold=limits.psi,
    )

    def verdict(reference: pd.Series, *_: object) -> tuple[float, bool]:
        column = found[str(reference.name)]
        return column.psi, column.drifted

    registry.register_stattest(test, verdict)
    columns = DataDefinition(
        numerical_columns=[name for name in found if name not in CATEGORIES],
        categorical_columns=[name for name in found if name in CATEGORIES],
    )
    preset = DataDriftPreset(method=test, drift_share=1 / len(found), columns=list(found))
    before, now = (Dataset.from_pandas(readable(c), columns) for c in (reference, current))
    with _bare_figures():
        return Report([preset], include_tests=False).run(now, before)


def summary(report: DriftReport, limits: Limits) -> str:
    """The head of the page: the verdict, the numbers, and how they were reached."""
    start, end = (moment.replace("T", " ")[:16] for moment in report.window)
    against = (
        "the customers the answering model was made from"
        if report.reference == "training"
        else "the window before"
    )
    parts = [
        STYLE,
        "<main>",
        f"<h1>{badge(report.alarm)} {html.escape(report.finding)}</h1>",
        f"<p>Predictions from {start} to {end} UTC: {report.rows:,}, compared with {against}. ",
        f"A column has drifted when its population stability index is at least {limits.psi:g} "
        f"and chance explains it with less than {limits.false_alarm_rate:.0%} over all columns "
        "of the window (chi-square test, Holm's correction).</p>",
        *map(_group_table, report.groups),
        "</main>",
    ]
    return "".join(parts)


def _group_table(group: GroupFinding) -> str:
    title = f"<h2>{html.escape(group.tier)} tier, model {html.escape(group.model_run_id)}</h2>"
    if group.skipped:
        return f"{title}<p>Not compared: {html.escape(group.skipped)}.</p>"
    sampled = (
        f"a random {group.compared:,} of {group.rows:,} predictions"
        if group.compared < group.rows
        else f"all {group.rows:,} predictions"
    )
    rows = "".join(map(_row, group.columns))
    return (
        f"{title}<p>Numbers and charts are of {sampled}.</p><table><tr><th>column<th>verdict"
        f"<th class=n>PSI<th class=n>p-value<th>reference → window</tr>{rows}</table>"
    )


def _row(column: ColumnFinding) -> str:
    verdict = "drifted" if column.drifted else "as before"
    return (
        f"<tr class={'alarm' if column.drifted else 'quiet'}><td>{column.column}<td>{verdict}"
        f"<td class=n>{column.psi:.3f}<td class=n>{column.p_value:.2g}"
        f"<td>{html.escape(column.change)}</tr>"
    )


def readable(columns: Columns) -> pd.DataFrame:
    """Columns with the names of categories, as long as the longest."""
    series = {}
    for name, values in columns.items():
        if labels := CATEGORIES.get(name):
            named = np.array([*labels, "unknown"], dtype=object)
            codes = np.nan_to_num(values, nan=len(labels)).astype(np.intp)
            series[name] = pd.Series(named[codes])
        else:
            series[name] = pd.Series(values)
    return pd.DataFrame(series)


def _titled(title: str, snapshot: "Snapshot") -> list[Any]:
    from evidently.legacy.renderers.html_widgets import group_widget

    return [group_widget(title=title, widgets=snapshot._widgets)]


def _page(widgets: Iterable[Any]) -> str:
    from evidently.core.metric_types import render_widgets

    return str(render_widgets(list(widgets)))


@contextmanager
def _bare_figures() -> Iterator[None]:
    """Without Plotly's default template, 7 KB in every figure: a page is half as long."""
    import plotly.io

    before = plotly.io.templates.default
    plotly.io.templates.default = "none"
    try:
        yield
    finally:
        plotly.io.templates.default = before
