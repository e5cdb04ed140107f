"""Drift and scores of the last few predictions: a sliding window over the prediction store.

The window moves by the order of ids and holds a bounded number of rows, whatever the
traffic. Reading stops `SETTLE` before now: predictions reach the store a moment after
they were made. One that comes later still is missing here, not in the reports.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from msgspec.structs import astuple

from bento.customer import Customer
from bento.ids import bounds
from bento.store import PredictionRow, PredictionStore
from churn_assets.defs.monitoring.drift import (
    ColumnDrift,
    Columns,
    Limits,
    Values,
    compare,
    judge,
)
from churn_assets.defs.monitoring.sampling import customer_columns

SETTLE = timedelta(seconds=5)
PAGE = 5_000
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

References = Callable[[str, str], Columns | None]
"""The reference of a model (by run id) and tier."""


@dataclass
class TierState:
    """One tier of the window, of the newest model only."""

    rows: int
    quantiles: dict[float, float]
    columns: list[ColumnDrift] = field(default_factory=list)
    """Empty when there are too few rows or no reference."""


@dataclass
class LiveState:
    """What the exporter shows of the window."""

    model_run_id: str = ""
    model_version: str = ""
    tiers: dict[str, TierState] = field(default_factory=dict)


class LiveWindow:
    """The newest predictions: at most `most`, none older than `span`."""

    def __init__(self, most: int, span: timedelta) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        """Predictions read so far, by tier and source."""
        self.state = LiveState()
        self._span = span
        self._rows: deque[PredictionRow] = deque(maxlen=most)
        self._after: str | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, store: PredictionStore, now: datetime) -> int:
        """Take in what the store has got since the last time; how many rows that were."""
        oldest, newest = bounds(now - self._span, now - SETTLE)
        count = 0
        while page := store.read(oldest, newest, self._after, PAGE):
            self._after = page[-1].prediction_id
            self._rows.extend(page)
            self.seen.update((row.tier, row.source) for row in page)
            count += len(page)
        while self._rows and self._rows[0].prediction_id < oldest:
            self._rows.popleft()
        return count

    def evaluate(self, references: References, limits: Limits) -> LiveState:
        """Compare the window's rows of the newest model with what that model was made from."""
        if not self._rows:
            self.state = LiveState()
            return self.state
        newest = self._rows[-1]
        tiers: dict[str, TierState] = {}
        compared: dict[str, list[ColumnDrift]] = {}
        for tier in ("full", "core"):
            rows = [r for r in self._rows if _is(r, newest.model_run_id, tier)]
            if not rows:
                continue
            columns = _columns(rows, tier)
            tiers[tier] = TierState(len(rows), _quantiles([row.prediction for row in rows]))
            reference = references(newest.model_run_id, tier)
            if reference is not None and len(rows) >= limits.min_rows:
                compared[tier] = compare(reference, columns)
        for tier, judged in judge(compared, limits).items():
            tiers[tier].columns = judged
        self.state = LiveState(newest.model_run_id, newest.model_version, tiers)
        return self.state


def _is(row: PredictionRow, model_run_id: str, tier: str) -> bool:
    return row.tier == tier and row.model_run_id == model_run_id


def _columns(rows: list[PredictionRow], tier: str) -> dict[str, Values]:
    first = PredictionRow.__struct_fields__.index(Customer.__struct_fields__[0])
    customers = (Customer(*_customer_fields(row, first)) for row in rows)
    return customer_columns(customers, (row.prediction for row in rows), tier)


def _customer_fields(row: PredictionRow, first: int) -> tuple[Any, ...]:
    return astuple(row)[first:]


def _quantiles(scores: list[float]) -> dict[float, float]:
    found = np.quantile(scores, QUANTILES)
    return dict(zip(QUANTILES, found.tolist(), strict=True))
