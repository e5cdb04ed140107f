"""The quality of the model in one window: measured where the truth is known, else estimated."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from churn_assets.defs.monitoring import estimate as estimation
from churn_assets.defs.monitoring.estimate import Metrics, Predictions, Reference
from churn_assets.defs.monitoring.sampling import Group
from churn_assets.defs.monitoring.windows import Window
from churn_assets.defs.training import metrics

LEAST_ROWS = 100
"""Predictions, labels or test customers below which nothing is said."""
LEAST_OF_EACH = 10
"""Customers who left, and who stayed, below which no quality is measured."""
UNKNOWN = -1

Status = Literal["measured", "estimated", "not estimable", "too little data"]


class Answered(NamedTuple):
    """Predictions of one model and tier; `churned` is 1, 0 or `UNKNOWN`."""

    predictions: Predictions
    churned: NDArray[np.int8]

    def labelled(self) -> "Answered":
        """Those whose outcome is known."""
        known = self.churned != UNKNOWN
        return Answered(self.predictions.take(known), self.churned[known])

    def enough(self) -> bool:
        """Whether quality can be measured on all of them."""
        return len(self.churned) >= LEAST_ROWS and bool(
            (np.bincount(self.churned, minlength=2) >= LEAST_OF_EACH).all()
        )


class GroupQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One model and tier in a window."""

    model_run_id: str
    tier: str
    rows: int
    labelled: int
    measured: Metrics | None = None
    """On the labelled predictions, when there are enough."""
    estimated: dict[str, tuple[float, float, float]] | None = None
    """Value, low and high end of the 95 % interval; of the labelled predictions when measured."""
    calibration: tuple[tuple[float, float, int], ...] = ()
    """Mean score, share that left and number of labelled predictions, by tenths of the score."""
    outside: tuple[str, ...] = ()
    """Measured metrics that the estimate's interval does not hold."""
    contradiction: str | None = None
    """What outcomes of this window or the newest ones contradict, so that it is no estimate."""
    missing: str | None = None
    """Why nothing can be said."""

    @property
    def status(self) -> Status:
        """What kind of knowledge this is."""
        if self.measured:
            return "measured"
        if self.contradiction:
            return "not estimable"
        return "estimated" if self.estimated else "too little data"

    @property
    def sentence(self) -> str:
        """The finding in words."""
        who = f"{self.tier.capitalize()} tier of model {self.model_run_id[:8]}"
        if self.measured:
            found = (
                f"{who}: ROC AUC {self.measured['roc_auc']:.3f} measured on {self.labelled:,}"
                f" of {self.rows:,} predictions"
            )
            if self.contradiction:
                return f"{found}, not what its scores promised: {self.contradiction}."
            expected = self.estimated and self.estimated.get("roc_auc")
            return f"{found}; {_span(expected)} was estimated." if expected else f"{found}."
        if self.contradiction:
            return f"{who}: not estimable, newest outcomes contradict it: {self.contradiction}."
        if self.estimated and "roc_auc" in self.estimated:
            return f"{who}: ROC AUC {_span(self.estimated['roc_auc'])} estimated, no outcomes yet."
        return f"{who}: {self.missing}."


def _span(value: tuple[float, float, float]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


class PerformanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """A window's report as it is kept in the store."""

    id: str = msgspec.field(name="_id")
    kind: str = "performance"
    window: tuple[str, str]
    rows: int
    labelled: int
    alarm: bool
    """Outcomes contradict what was expected of them."""
    finding: str
    groups: tuple[GroupQuality, ...]
    html: str
    truth_sha256: str | None
    """The truth that was known; another one makes the report due again."""

    def as_document(self) -> dict[str, Any]:
        """The report as JSON values."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def answered(log: pq.ParquetFile, truth: pd.DataFrame) -> dict[Group, Answered]:
    """A window's predictions by model and tier, read a row group at a time (10 bytes a row)."""
    outcome = truth.set_index("prediction_id")["churned"]
    parts: dict[Group, list[Answered]] = {}
    columns = ["prediction_id", "model_run_id", "tier", "prediction", "churn"]
    for batch in log.iter_batches(columns=columns):
        table = pa.Table.from_batches([batch])
        pairs = table.group_by(["model_run_id", "tier"]).aggregate([]).to_pylist()
        for group in (Group(pair["model_run_id"], pair["tier"]) for pair in pairs):
            rows = table.filter(
                (pc.field("model_run_id") == group.model_run_id) & (pc.field("tier") == group.tier)
            )
            known = outcome.reindex(rows["prediction_id"].to_pylist()).fillna(UNKNOWN)
            predictions = Predictions(rows["prediction"].to_numpy(), rows["churn"].to_numpy())
            parts.setdefault(group, []).append(
                Answered(predictions, known.to_numpy().astype(np.int8))
            )
    return {group: join(parts[group]) for group in sorted(parts)}


def join(parts: Sequence[Answered]) -> Answered:
    """Predictions of one group from several places."""
    return Answered(
        Predictions(
            np.concatenate([part.predictions.scores for part in parts]),
            np.concatenate([part.predictions.decided for part in parts]),
        ),
        np.concatenate([part.churned for part in parts]),
    )


def reference_of(table: pa.Table | None, tier: str) -> Reference | None:
    """A model's test customers from `reference.build`; None when they are too few."""
    if table is None:
        return None
    test = table.select([tier, "churned"]).drop_null()
    churned = test["churned"].to_numpy().astype(np.int8)
    scores = test[tier].to_numpy().astype(np.float64)
    enough = Answered(Predictions(scores, scores >= 1), churned).enough()
    return Reference(scores, churned) if enough else None


def examine(
    window: Window,
    current: Mapping[Group, Answered],
    recent: Mapping[Group, Answered],
    references: Mapping[Group, Reference | None],
    truth_sha256: str | None,
) -> PerformanceReport:
    """Judge each model and tier; `recent` has labelled predictions of the newest windows."""
    groups = tuple(
        judge(group, found, recent.get(group), references.get(group))
        for group, found in current.items()
    )
    name = f"performance_report-{window.stem}"
    return PerformanceReport(
        id=name,
        window=(window.start.isoformat(), window.end.isoformat()),
        rows=sum(group.rows for group in groups),
        labelled=sum(group.labelled for group in groups),
        alarm=any(group.contradiction for group in groups),
        finding=" ".join(group.sentence for group in groups) or "No predictions.",
        groups=groups,
        html=f"{name}.html",
        truth_sha256=truth_sha256,
    )


def judge(
    group: Group, found: Answered, recent: Answered | None, reference: Reference | None
) -> GroupQuality:
    """The quality of one model and tier in a window."""
    labelled = found.labelled()
    measured = measure(labelled) if labelled.enough() else None
    missing = _missing(found, reference)
    estimated, contradiction = None, None
    if reference and not missing:
        expected = estimation.estimate((labelled if measured else found).predictions, reference)
        estimated = {
            name: (expected.value[name], expected.low[name], expected.high[name])
            for name in expected.low
            if np.isfinite(expected.value[name])
        }
        evidence = labelled if measured else recent
        if evidence and evidence.enough():
            contradiction = estimation.contradiction(*evidence, reference)
    return GroupQuality(
        model_run_id=group.model_run_id,
        tier=group.tier,
        rows=len(found.churned),
        labelled=len(labelled.churned),
        measured=measured,
        estimated=None if contradiction and not measured else estimated,
        calibration=calibration(labelled) if measured else (),
        outside=tuple(
            name
            for name, (_, low, high) in (estimated or {}).items()
            if measured and name in measured and not low <= measured[name] <= high
        ),
        contradiction=contradiction,
        missing=missing,
    )


def measure(labelled: Answered) -> Metrics:
    """Every metric on predictions whose outcome is known; without ratios of nothing."""
    predictions, churned = labelled
    found = {
        **estimation.quality(predictions)(churned.astype(np.float64)),
        "ece": metrics.ece(churned, predictions.scores),
        "log_loss": metrics.log_loss(churned, predictions.scores),
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def calibration(labelled: Answered) -> tuple[tuple[float, float, int], ...]:
    """What `GroupQuality.calibration` holds; empty tenths are left out."""
    scores = labelled.predictions.scores
    rows, promised, left = (
        metrics.bin_sums(values.astype(np.float64), scores)
        for values in (np.ones_like(scores), scores, labelled.churned)
    )
    return tuple(
        (float(p / n), float(y / n), int(n))
        for n, p, y in zip(rows, promised, left, strict=True)
        if n
    )


def _missing(found: Answered, reference: Reference | None) -> str | None:
    if len(found.churned) < LEAST_ROWS:
        return f"{len(found.churned):,} predictions, at least {LEAST_ROWS} are needed"
    return None if reference else "no test customers of this model are known to compare with"
