"""Is a model good enough? Its quality on the untouched test set, and the gates it must pass."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.defs.training import metrics, model
from churn_assets.defs.training.dataset import Dataset

if TYPE_CHECKING:
    import xgboost as xgb

Predicted = dict[str, NDArray[np.float32]]

GATES: dict[str, str] = {
    "beats_majority_class": "More accurate than calling everybody by the majority's label.",
    "beats_constant_predictor": "Lower log loss than the base rate, and AUC surely above 0.5.",
    "not_worse_than_champion": "ROC AUC within a margin of the champion's, on the same customers.",
    "calibrated": "Expected calibration error of the full tier is low.",
    "fast_enough": "A single prediction takes a few milliseconds at most.",
}


@dataclass(frozen=True)
class Gate:
    """One requirement: whether it is met, and the numbers that say so."""

    name: str
    passed: bool
    numbers: dict[str, float]


@dataclass(frozen=True)
class Margins:
    """What the gates allow; ROC AUC by tier, calibration error, milliseconds."""

    roc_auc: Mapping[str, float]
    max_ece: float
    max_latency_ms: float


@dataclass(frozen=True)
class Comparison:
    """95 % intervals of resampled test customers, by tier and metric.

    `quality` of the candidate; `gain` over the champion, paired, None without champion.
    """

    quality: dict[str, dict[str, tuple[float, float]]]
    gain: dict[str, tuple[float, float]] | None


def choose(candidates: Sequence[Predicted], churned: NDArray[np.int8]) -> int:
    """Index of the best candidate on the test set: lowest log loss of both tiers together."""
    losses = [
        sum(metrics.log_loss(churned, values) for values in predicted.values())
        for predicted in candidates
    ]
    return int(np.argmin(losses))


def compare(
    churned: NDArray[np.int8], candidate: Predicted, champion: Predicted | None, seed: int
) -> Comparison:
    """Resample the test customers for both models at once."""
    quality: dict[str, dict[str, tuple[float, float]]] = {}
    gain: dict[str, tuple[float, float]] = {}
    for tier, values in candidate.items():
        both = {"candidate": values} | ({"champion": champion[tier]} if champion else {})
        drawn = metrics.bootstrap(churned, both, seed=seed)
        quality[tier] = {name: metrics.interval(v) for name, v in drawn["candidate"].items()}
        if champion:
            difference = drawn["candidate"]["roc_auc"] - drawn["champion"]["roc_auc"]
            gain[tier] = metrics.interval(difference)
    return Comparison(quality, gain if champion else None)


def judge(
    test: Dataset,
    predicted: Predicted,
    threshold: float,
    comparison: Comparison,
    latency_ms: float,
    margins: Margins,
) -> list[Gate]:
    """All gates of a candidate on the test customers, in the order of `GATES`."""
    found = {
        "beats_majority_class": _beats_majority(test.churned, predicted["full"], threshold),
        "beats_constant_predictor": _beats_constant(test.churned, predicted, comparison),
        "not_worse_than_champion": _not_worse(comparison, margins),
        "calibrated": _at_most(
            "ece", metrics.ece(test.churned, predicted["full"]), margins.max_ece
        ),
        "fast_enough": _at_most("median_ms", latency_ms, margins.max_latency_ms),
    }
    return [Gate(name, bool(passed), numbers) for name, (passed, numbers) in found.items()]


def _beats_majority(
    churned: NDArray[np.int8], predicted: NDArray[np.float32], threshold: float
) -> tuple[bool, dict[str, float]]:
    accuracy = float(np.mean((predicted >= threshold) == churned))
    majority = float(max(churned.mean(), 1 - churned.mean()))
    return accuracy > majority, {"accuracy": accuracy, "majority": majority}


def _beats_constant(
    churned: NDArray[np.int8], predicted: Predicted, comparison: Comparison
) -> tuple[bool, dict[str, float]]:
    constant = metrics.log_loss(churned, np.full(len(churned), churned.mean()))
    numbers = {"constant_log_loss": constant}
    passed = True
    for tier, values in predicted.items():
        loss = metrics.log_loss(churned, values)
        lowest = comparison.quality[tier]["roc_auc"][0]
        numbers |= {f"{tier}_log_loss": loss, f"{tier}_roc_auc_low": lowest}
        passed = passed and loss < constant and lowest > 0.5
    return passed, numbers


def _not_worse(comparison: Comparison, margins: Margins) -> tuple[bool, dict[str, float]]:
    """Non-inferiority: the whole 95 % interval of the difference lies above minus the margin."""
    numbers: dict[str, float] = {}
    passed = True
    for tier, (low, high) in (comparison.gain or {}).items():
        numbers |= {f"{tier}_gain_low": low, f"{tier}_gain_high": high}
        numbers[f"{tier}_margin"] = margins.roc_auc[tier]
        passed = passed and low >= -margins.roc_auc[tier]
    return passed, numbers


def _at_most(name: str, value: float, limit: float) -> tuple[bool, dict[str, float]]:
    return value <= limit, {name: value, "limit": limit}


def latency_ms(booster: "xgb.Booster", rows: NDArray[np.float32], repeats: int = 200) -> float:
    """Median time of scoring one customer, in milliseconds, on one thread."""
    booster.set_param({"nthread": 1})
    taken = []
    for repeat in range(repeats):
        row = rows[repeat % len(rows)][np.newaxis]
        start = time.perf_counter()
        model.predict(booster, row)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken) * 1000)


def records(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """The gates as JSON."""
    return [asdict(gate) for gate in gates]
