"""How good predictions are: P(leave) against who left."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32] | NDArray[np.float64]
Labels = NDArray[np.int8]

CALIBRATION_BINS = 10
DEVIATIONS = np.linspace(0, 1, 21)
"""The predecessor's deviation thresholds: 0, 0.05, ... 1."""


def scores(churned: Labels, predicted: Scores, threshold: float = 0.5) -> dict[str, float]:
    """Every metric of one tier; `threshold` turns P(leave) into yes or no for f1 and accuracy.

    scikit-learn agrees on each of them (tested) but takes ten times as long, which
    four times a fit is an eighth of the search.
    """
    predicted = predicted.astype(np.float64)
    decided = predicted >= threshold
    error = predicted - churned
    mse = float(np.mean(error**2))
    roc_auc, average_precision = weighted_metrics(churned, predicted)(np.ones(len(churned)))
    wrong = int(np.sum(decided != churned))
    caught = int(np.sum(decided & (churned == 1)))
    return {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "f1": 2 * caught / (2 * caught + wrong) if caught else 0.0,
        "accuracy": 1 - wrong / len(churned),
        "log_loss": log_loss(churned, predicted),
        "brier": mse,
        "mae": float(np.mean(np.abs(error))),
        "mse": mse,
        "rmse": mse**0.5,
        "ece": ece(churned, predicted),
    }


def log_loss(churned: Labels, predicted: Scores) -> float:
    """Mean negative log likelihood, in nats; the objective of the search."""
    tiny = float(np.finfo(np.float32).eps)
    of_truth = np.where(churned == 1, predicted, 1 - predicted)
    return float(-np.mean(np.log(np.clip(of_truth, tiny, 1 - tiny))))


def ece(churned: Labels, predicted: Scores) -> float:
    """Expected calibration error: mean |predicted - observed| over ten bins of equal width."""
    gap = bin_sums(churned.astype(np.float64) - predicted, predicted)
    return float(np.abs(gap).sum() / len(churned))


def bin_sums(values: NDArray[np.float64], predicted: Scores) -> NDArray[np.float64]:
    """Sums of `values` over the calibration bins that `predicted` falls into."""
    where = np.minimum((predicted * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    sums: NDArray[np.float64] = np.bincount(where, values, CALIBRATION_BINS).astype(np.float64)
    return sums


def within_deviation(churned: Labels, predicted: Scores) -> NDArray[np.float64]:
    """Per cent of predictions no further from the outcome than each of `DEVIATIONS`."""
    error = np.abs(predicted.astype(np.float64) - churned)
    return np.array([100 * np.mean(error <= limit) for limit in DEVIATIONS])


def best_f1_threshold(churned: Labels, predicted: Scores) -> float:
    """The decision threshold with the highest F1 on these predictions."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(churned, predicted)
    total = precision[:-1] + recall[:-1]
    f1 = np.divide(
        2 * precision[:-1] * recall[:-1], total, out=np.zeros_like(total), where=total > 0
    )
    return float(thresholds[int(np.argmax(f1))])


Resampled = dict[str, NDArray[np.float64]]


def bootstrap(
    churned: Labels, predictions: Mapping[str, Scores], *, repeats: int = 500, seed: int = 0
) -> dict[str, Resampled]:
    """ROC AUC and average precision of each prediction on the same resampled customers.

    Returns for each key of `predictions` the metrics' values, each of shape (repeats,):
    paired, so that their differences are those of one resample.
    """
    generator = np.random.default_rng(seed)
    curves = {name: weighted_metrics(churned, predicted) for name, predicted in predictions.items()}
    found = {name: np.empty((repeats, 2)) for name in predictions}
    for repeat in range(repeats):
        weights = generator.poisson(1.0, len(churned)).astype(np.float64)
        for name, curve in curves.items():
            found[name][repeat] = curve(weights)
    return {
        name: {"roc_auc": values[:, 0], "average_precision": values[:, 1]}
        for name, values in found.items()
    }


def weighted_metrics(
    churned: Labels, predicted: Scores
) -> Callable[[NDArray[np.float64]], tuple[float, float]]:
    """A function from customers' weights to (ROC AUC, average precision).

    scikit-learn sorts again for each weighting; sorting once is what makes hundreds
    of resamples of a large test set affordable.
    """
    levels, level = np.unique(predicted, return_inverse=True)
    left = churned.astype(np.float64)

    def measure(weights: NDArray[np.float64]) -> tuple[float, float]:
        hits = np.bincount(level, weights * left, len(levels))[::-1]
        misses = np.bincount(level, weights * (1 - left), len(levels))[::-1]
        caught, raised = np.cumsum(hits), np.cumsum(misses)
        auc = np.sum(misses * (caught - hits / 2)) / (caught[-1] * raised[-1])
        alarms = caught + raised
        precision = np.divide(caught, alarms, out=np.zeros_like(caught), where=alarms > 0)
        return float(auc), float(np.sum(hits * precision) / caught[-1])

    return measure


def interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """The central interval that holds `confidence` of the resampled values."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
