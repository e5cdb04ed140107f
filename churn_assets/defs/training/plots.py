"""Pictures of a model's quality, each a figure of its own; no global matplotlib state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.defs.training import metrics

if TYPE_CHECKING:
    import xgboost as xgb
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scores = Mapping[str, NDArray[np.float32]]
"""P(leave) by tier, of the same customers."""


def model_plots(
    booster: "xgb.Booster", churned: NDArray[np.int8], predicted: Scores
) -> "dict[str, Figure]":
    """All pictures of one model by name."""
    return {
        "roc": roc(churned, predicted),
        "precision_recall": precision_recall(churned, predicted),
        "calibration": calibration(churned, predicted),
        "importance": importance(booster),
        "deviation": deviation(churned, predicted),
    }


def roc(churned: NDArray[np.int8], predicted: Scores) -> "Figure":
    """True against false positive rate."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, axes = _axes("ROC", "stayed, but flagged", "left, and flagged")
    for tier, values in predicted.items():
        x, y, _ = roc_curve(churned, values)
        axes.plot(x, y, label=f"{tier} (AUC {roc_auc_score(churned, values):.3f})")
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.legend(loc="lower right")
    return figure


def precision_recall(churned: NDArray[np.int8], predicted: Scores) -> "Figure":
    """Precision against recall."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = _axes("Precision and recall", "recall", "precision")
    for tier, values in predicted.items():
        precision, recall, _ = precision_recall_curve(churned, values)
        area = average_precision_score(churned, values)
        axes.plot(recall, precision, label=f"{tier} (AP {area:.3f})")
    axes.axhline(float(churned.mean()), ls=":", color="grey")
    axes.legend(loc="lower left")
    return figure


def calibration(churned: NDArray[np.int8], predicted: Scores) -> "Figure":
    """Share that left against P(leave), per bin of the expected calibration error."""
    figure, axes = _axes("Calibration", "predicted P(leave)", "share that left")
    for tier, values in predicted.items():
        count = metrics.bin_sums(np.ones(len(values)), values)
        some = count > 0
        mean = metrics.bin_sums(values.astype(np.float64), values)[some] / count[some]
        left = metrics.bin_sums(churned.astype(np.float64), values)[some] / count[some]
        axes.plot(mean, left, "o-", label=f"{tier} (ECE {metrics.ece(churned, values):.3f})")
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.legend(loc="upper left")
    return figure


def importance(booster: "xgb.Booster") -> "Figure":
    """Total gain of each feature, as a share of all."""
    gain = {
        str(k): float(np.sum(v)) for k, v in booster.get_score(importance_type="total_gain").items()
    }
    figure, axes = _axes("Importance", "share of total gain", "")
    total = sum(gain.values()) or 1.0
    ordered = sorted(gain, key=lambda name: gain[name])
    axes.barh(ordered, [gain[name] / total for name in ordered])
    return figure


def deviation(churned: NDArray[np.int8], predicted: Scores) -> "Figure":
    """Per cent of predictions within each deviation from the outcome, and a constant one's."""
    figure, axes = _axes("Within deviation", "deviation from the outcome", "% of predictions")
    for tier, values in predicted.items():
        axes.plot(metrics.DEVIATIONS, metrics.within_deviation(churned, values), ".-", label=tier)
    constant = np.full(len(churned), churned.mean())
    axes.plot(
        metrics.DEVIATIONS, metrics.within_deviation(churned, constant), ":", label="constant"
    )
    axes.legend(loc="lower right")
    return figure


def history(losses: NDArray[np.float64], pruned: NDArray[np.bool_]) -> "Figure":
    """Loss of each trial in order, and the best so far."""
    figure, axes = _axes("Search", "trial", "validation log loss, both tiers")
    number = np.arange(len(losses))
    axes.plot(number[~pruned], losses[~pruned], "o", label="complete")
    axes.plot(number[pruned], losses[pruned], "x", label="pruned after one fold")
    axes.plot(number, np.fmin.accumulate(np.where(pruned, np.nan, losses)), "-", label="best")
    axes.legend()
    return figure


def _axes(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes
