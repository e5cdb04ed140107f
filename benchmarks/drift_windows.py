"""How often drift alarms are false and how many shifts they find: part of `benchmarks.drift`."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from rich.progress import track

from bento.customer import FEATURES
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.monitoring.drift import (
    SCORE,
    ColumnDrift,
    Columns,
    Limits,
    compare,
    compared_columns,
    judge,
)
from churn_assets.defs.training import dataset
from churn_assets.synthetic import generator

Matrix = NDArray[np.float32]
Found = Mapping[str, list[ColumnDrift]]

SIZES = (200, 500, 1_000, 5_000)
"""Rows of each tier in a window: the fewest that are compared, to the most that are sampled."""
QUIET_WINDOWS = 200
WINDOWS_A_SHIFT = 20
TRAINED_ON = 10_000
POOL = 40_000


def _scaled(name: str, factor: float) -> Callable[[Matrix, np.random.Generator], None]:
    def shift(matrix: Matrix, _: np.random.Generator) -> None:
        matrix[:, FEATURES.index(name)] *= factor

    return shift


def _added(name: str, amount: float) -> Callable[[Matrix, np.random.Generator], None]:
    def shift(matrix: Matrix, _: np.random.Generator) -> None:
        matrix[:, FEATURES.index(name)] += amount

    return shift


def _replaced(
    name: str, share: float, value: float
) -> Callable[[Matrix, np.random.Generator], None]:
    def shift(matrix: Matrix, rng: np.random.Generator) -> None:
        matrix[rng.random(len(matrix)) < share, FEATURES.index(name)] = value

    return shift


SHIFTS: dict[str, tuple[str, Callable[[Matrix, np.random.Generator], None]]] = {
    "limits 40 % higher": ("credit_limit", _scaled("credit_limit", 1.4)),
    "a fifth fewer transactions": ("total_trans_ct", _scaled("total_trans_ct", 0.8)),
    "four years older": ("customer_age", _added("customer_age", 4)),
    "one month more inactive": ("months_inactive_12_mon", _added("months_inactive_12_mon", 1)),
    "one product fewer": ("total_relationship_count", _added("total_relationship_count", -1)),
    "a quarter of educations lost": ("education_level", _replaced("education_level", 0.25, np.nan)),
    "a third of women sent as men": ("gender", _replaced("gender", 0.35, 0)),
    "a fifth of cards now gold": ("card_category", _replaced("card_category", 0.2, 2)),
    "a field never sent": ("marital_status", _replaced("marital_status", 1, np.nan)),
    "balances in cents": ("total_revolving_bal", _scaled("total_revolving_bal", 100)),
}
"""What happens, the column that must be named, and the change itself."""


@dataclass
class World:
    """A model, its reference, and customers it has never seen."""

    booster: xgboost.Booster
    references: dict[str, Columns]
    pool: Matrix

    @classmethod
    def make(cls) -> "World":
        """Synthetic customers, and a model that was fitted on some of them."""
        everybody = dataset.build(clean(generator.customers(TRAINED_ON, seed=1)).customers)
        train, test = dataset.split(everybody)
        matrix, churned = dataset.both_tiers(train.features, train.churned)
        booster = xgboost.train(
            {"objective": "binary:logistic", "max_depth": 5, "eta": 0.1, "nthread": 1},
            xgboost.DMatrix(matrix, churned),
            200,
        )
        fresh = dataset.build(clean(generator.customers(POOL, seed=2)).customers)
        world = cls(booster, {}, fresh.features)
        for tier, features in dataset.tiers(everybody.features).items():
            unseen = np.isin(everybody.ids, test.ids)
            scores = world.columns(features[unseen], tier)[SCORE]
            world.references[tier] = {**world.columns(features, tier), SCORE: scores}
        return world

    def columns(self, features: Matrix, tier: str) -> Columns:
        """What is compared when the model answers these customers."""
        seen = dataset.tiers(features)[tier]
        columns = dict(zip(FEATURES, seen.T.astype(np.float64), strict=True))
        columns[SCORE] = self.booster.predict(xgboost.DMatrix(seen)).astype(np.float64)
        return {name: columns[name] for name in compared_columns(tier)}

    def window(
        self,
        rng: np.random.Generator,
        rows: int,
        shift: Callable[[Matrix, np.random.Generator], None] | None = None,
    ) -> Found:
        """A window of both tiers against the reference, not yet judged."""
        found = {}
        for tier, yardstick in self.references.items():
            features = self.pool[rng.choice(len(self.pool), rows, replace=False)]
            if shift:
                shift(features, rng)
            found[tier] = compare(yardstick, self.columns(features, tier))
        return found


def _alarms(found: Found, limits: Limits) -> list[str]:
    judged = judge(found, limits)
    return [column.column for columns in judged.values() for column in columns if column.drifted]


def quiet(world: World, limits: Limits) -> Iterator[dict[str, Any]]:
    """Windows in which nothing has changed: which kinds of alarm rang."""
    rng = np.random.default_rng(7)
    for number in track(range(QUIET_WINDOWS), "windows without drift"):
        rows = SIZES[number % len(SIZES)]
        found = world.window(rng, rows)
        flat = [column for columns in found.values() for column in columns]
        yield {
            "rows": rows,
            "alarm": bool(_alarms(found, limits)),
            "without_effect_size": bool(_alarms(found, Limits(limits.false_alarm_rate, psi=0))),
            "without_correction": any(c.p_value < 0.05 for c in flat),
        }


def shifted(world: World, limits: Limits) -> Iterator[dict[str, Any]]:
    """Windows with a scripted shift: whether an alarm named the column that moved."""
    rng = np.random.default_rng(8)
    for name, (column, shift) in track(SHIFTS.items(), "scripted shifts"):
        for number in range(WINDOWS_A_SHIFT):
            rows = SIZES[number % len(SIZES)]
            found = column in _alarms(world.window(rng, rows, shift), limits)
            yield {"shift": name, "rows": rows, "found": found}


def share(rows: list[dict[str, Any]], key: str) -> float:
    """The share of rows in which `key` is true."""
    return sum(bool(row[key]) for row in rows) / len(rows)


def replay() -> tuple[dict[str, float], list[dict[str, Any]], list[dict[str, Any]]]:
    """All windows: the figures, the false alarms by window size, the shifts found by kind."""
    world, limits = World.make(), Limits()
    started = time.perf_counter()
    still, moved = list(quiet(world, limits)), list(shifted(world, limits))
    spent = time.perf_counter() - started
    by_size: list[dict[str, Any]] = []
    for size in SIZES:
        part = [row for row in still if row["rows"] == size]
        kinds = ("alarm", "without_effect_size", "without_correction")
        by_size.append({"rows a tier": size, **{kind: share(part, kind) for kind in kinds}})
    by_shift: list[dict[str, Any]] = [
        {"shift": name, "found": share([row for row in moved if row["shift"] == name], "found")}
        for name in SHIFTS
    ]
    figures = {
        "false_alarm": share(still, "alarm"),
        "false_alarm_without_effect_size": share(still, "without_effect_size"),
        "false_alarm_without_correction": share(still, "without_correction"),
        "power": share(moved, "found"),
        "power_least": min(row["found"] for row in by_shift),
        "windows_per_s": (len(still) + len(moved)) / spent,
    }
    return figures, by_size, by_shift
