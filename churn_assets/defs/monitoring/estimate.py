"""How good a model is on predictions whose outcome nobody knows yet.

Confidence-based estimation (CBPE): if scores are calibrated, a score of 0.3 means that
three of ten such customers leave, so scores alone give the expected confusion matrix,
ROC AUC and error. Here calibration is not taken for granted: it is fitted to the test
customers of the model, and an interval comes from drawing, time and again, a calibration
that these customers allow and an outcome for every prediction.

What this can and cannot know: it follows a change of WHO is asked about (covariate
shift). It cannot see that the same customers behave differently than they used to
(concept shift): no method can without outcomes. A shift in something that the model is
not told, as behaviour is not in the core tier, is of the second kind. Once some
outcomes are known, `contradiction` compares them with what was expected of them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from churn_assets.defs.training.metrics import interval, weighted_metrics

CALIBRATED = np.array([1.0, 1.0, 0.0])
"""Coefficients that leave scores as they are."""
TRUST = 1.0
"""How far from them a model may well be (standard deviation), before its test customers speak."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Metrics = dict[str, float]

REPEATS = 200
MOST_ROWS = 20_000
"""Most predictions that are simulated; the interval is that of as many, so never too narrow."""
CONFIDENCE = 0.95
JUDGED = ("roc_auc", "mse", "churn_rate")
"""What outcomes are held against: order, size and sum of the scores."""
SURPRISE = 4.0
"""Standard deviations that outcomes may be off; more than for a normal, as ROC AUC is skewed."""


class Reference(NamedTuple):
    """Test customers of a model, of one tier: its scores and who left."""

    scores: Floats
    churned: NDArray[np.int8]


class Predictions(NamedTuple):
    """Scores P(leave) and the decisions the model made of them."""

    scores: Floats
    decided: Bools

    def take(self, rows: NDArray[np.intp] | Bools) -> "Predictions":
        """Some of them."""
        return Predictions(self.scores[rows], self.decided[rows])


class Estimate(NamedTuple):
    """What quality to expect: value, low and high end of the interval, spread, by metric."""

    value: Metrics
    low: Metrics
    high: Metrics
    spread: Metrics
    """Standard deviation of the simulated values."""


def quality(predictions: Predictions) -> Callable[[Floats], Metrics]:
    """A function from P(left), or from who left as 0 and 1, to the (expected) metrics.

    Ratios of expected counts stand for expected ratios; a ratio of nothing is NaN.
    """
    scores = predictions.scores
    decided = predictions.decided.astype(np.float64)
    both = np.repeat([1, 0], len(scores)).astype(np.int8)
    curve = weighted_metrics(both, np.concatenate([scores, scores]))

    def measure(left: Floats) -> Metrics:
        rows = len(left)
        with np.errstate(invalid="ignore", divide="ignore"):
            auc, average_precision = curve(np.concatenate([left, 1 - left]))
            caught = float(decided @ left)
            precision, recall = caught / decided.sum(), caught / left.sum()
            mse = float(np.mean(left * (1 - scores) ** 2 + (1 - left) * scores**2))
            return {
                "roc_auc": auc,
                "average_precision": average_precision,
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(2 * caught / (decided.sum() + left.sum())),
                "accuracy": float(decided @ left + (1 - decided) @ (1 - left)) / rows,
                "mae": float(np.mean(left * (1 - scores) + (1 - left) * scores)),
                "mse": mse,
                "rmse": mse**0.5,
                "churn_rate": float(np.mean(left)),
            }

    return measure


def estimate(
    predictions: Predictions, reference: Reference, repeats: int = REPEATS, seed: int = 0
) -> Estimate:
    """The expected metrics of predictions, with the interval their true values fall into."""
    generator = np.random.default_rng(seed)
    if len(predictions.scores) > MOST_ROWS:
        chosen = generator.choice(len(predictions.scores), MOST_ROWS, replace=False)
        predictions = predictions.take(chosen)
    measure = quality(predictions)
    asked = _inputs(predictions.scores)
    calibration, covariance = _fit(_inputs(reference.scores), reference.churned)
    simulated = []
    for drawn in generator.multivariate_normal(calibration, covariance, repeats):
        chance = _chance(asked, drawn)
        simulated.append(measure((generator.random(len(chance)) < chance).astype(np.float64)))
    value = measure(_chance(asked, calibration))
    low, high, spread = {}, {}, {}
    for name in value:
        values = np.array([one[name] for one in simulated])
        values = values[np.isfinite(values)]
        if len(values):
            low[name], high[name] = interval(values, CONFIDENCE)
            spread[name] = float(values.std())
    return Estimate(value, low, high, spread)


def contradiction(
    predictions: Predictions, churned: NDArray[np.int8], reference: Reference
) -> str | None:
    """Why known outcomes cannot be what the estimate expects of them, None when they can."""
    if len(churned) > MOST_ROWS:
        chosen = np.random.default_rng(1).choice(len(churned), MOST_ROWS, replace=False)
        predictions, churned = predictions.take(chosen), churned[chosen]
    expected = estimate(predictions, reference)
    truth = quality(predictions)(churned.astype(np.float64))
    return surprise(truth, expected)


def surprise(truth: Mapping[str, float], expected: Estimate) -> str | None:
    """The metric that is furthest off in words, None when none is beyond chance."""
    off = {
        name: abs(truth[name] - expected.value[name]) / max(expected.spread[name], 1e-9)
        for name in JUDGED
        if name in expected.spread and np.isfinite(truth[name])
    }
    if not off:
        return None
    worst = max(off, key=lambda name: off[name])
    if off[worst] <= SURPRISE:
        return None
    return (
        f"{worst} was {truth[worst]:.3f} where {expected.value[worst]:.3f}"
        f" ({expected.low[worst]:.3f} to {expected.high[worst]:.3f}) was to be expected"
    )


def _inputs(scores: Floats) -> Floats:
    """Inputs of beta calibration (Kull et al., 2017): ln s, -ln(1 - s) and 1."""
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.column_stack([np.log(clipped), -np.log1p(-clipped), np.ones_like(clipped)])


def _fit(inputs: Floats, churned: NDArray[np.int8]) -> tuple[Floats, Floats]:
    """Most likely coefficients and their covariance (Laplace's approximation)."""
    from scipy.optimize import minimize

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        odds, away = inputs @ coefficients, coefficients - CALIBRATED
        value = np.sum(np.logaddexp(0, odds) - churned * odds) + away @ away / (2 * TRUST**2)
        return float(value), inputs.T @ (expit(odds) - churned) + away / TRUST**2

    found: Floats = minimize(loss, CALIBRATED, jac=True, method="L-BFGS-B").x
    chance = _chance(inputs, found)
    information = (inputs.T * (chance * (1 - chance))) @ inputs + np.eye(3) / TRUST**2
    covariance: Floats = np.linalg.inv(information).astype(np.float64)
    return found, covariance


def _chance(inputs: Floats, coefficients: Floats) -> Floats:
    chance: Floats = expit(inputs @ coefficients)
    return chance
