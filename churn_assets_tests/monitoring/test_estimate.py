"""Estimates on made-up scores whose truth is known: the only way to judge them."""

import numpy as np
import pytest
from sklearn import metrics as sk

from churn_assets.defs.monitoring.estimate import (
    MOST_ROWS,
    Predictions,
    Reference,
    contradiction,
    estimate,
    quality,
)

THRESHOLD = 0.4
Scored = tuple[Predictions, np.ndarray]


def draw(rows: int, seed: int, *, shift: float = 0.0, bias: float = 0.0) -> Scored:
    """Customers whose log-odds to leave are normal; the model is blind to `bias`."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-2 + shift, 2, rows)
    scores = 1 / (1 + np.exp(-logit))
    churned = (rng.random(rows) < 1 / (1 + np.exp(-logit * (1 - bias)))).astype(np.int8)
    return Predictions(scores, scores >= THRESHOLD), churned


def reference(rows: int = 2_000, seed: int = 1) -> Reference:
    predictions, churned = draw(rows, seed)
    return Reference(predictions.scores, churned)


def test_quality_of_known_outcomes_is_scikit_learns() -> None:
    predictions, churned = draw(500, 3)
    found = quality(predictions)(churned.astype(float))
    scores, decided = predictions
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(churned, scores))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(churned, scores))
    assert found["precision"] == pytest.approx(sk.precision_score(churned, decided))
    assert found["recall"] == pytest.approx(sk.recall_score(churned, decided))
    assert found["f1"] == pytest.approx(sk.f1_score(churned, decided))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(churned, decided))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(churned, scores))
    assert found["mse"] == pytest.approx(sk.mean_squared_error(churned, scores))
    assert found["churn_rate"] == pytest.approx(churned.mean())


def test_expected_quality_is_the_mean_of_many_draws() -> None:
    predictions, _ = draw(2_000, 4)
    measure = quality(predictions)
    expected = measure(predictions.scores)
    rng = np.random.default_rng(5)
    drawn = [measure((rng.random(2_000) < predictions.scores).astype(float)) for _ in range(200)]
    for name, value in expected.items():
        assert value == pytest.approx(np.mean([one[name] for one in drawn]), abs=0.004), name


@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.5])
def test_the_truth_falls_into_the_interval_whoever_is_asked_about(shift: float) -> None:
    inside = []
    for seed in range(25):
        predictions, churned = draw(1_000, 1_000 + seed, shift=shift)
        found = estimate(predictions, reference(seed=3_000 + seed), repeats=100)
        truth = quality(predictions)(churned.astype(float))
        inside += [found.low[name] <= truth[name] <= found.high[name] for name in found.low]
    assert np.mean(inside) >= 0.8  # 95 % promised, but the ten metrics of a window fail together


def test_the_estimate_follows_customers_who_are_harder_to_tell_apart() -> None:
    easy, hard = draw(3_000, 6)[0], draw(3_000, 6)[0]
    hard = Predictions(hard.scores**0.3 * 0.3, hard.decided)
    yardstick = reference()
    assert (
        estimate(hard, yardstick).value["roc_auc"]
        < estimate(easy, yardstick).value["roc_auc"] - 0.05
    )


def test_scores_that_are_too_sure_are_calibrated_on_test_customers() -> None:
    predictions, churned = draw(4_000, 7)
    logit = np.log(predictions.scores / (1 - predictions.scores))
    sure = 1 / (1 + np.exp(-2 * logit))  # twice as sure as they should be
    test, rest = slice(0, 2_000), slice(2_000, None)
    found = estimate(
        Predictions(sure[rest], sure[rest] >= THRESHOLD), Reference(sure[test], churned[test])
    )
    truth = quality(Predictions(sure[rest], sure[rest] >= THRESHOLD))(churned[rest].astype(float))
    assert found.low["roc_auc"] <= truth["roc_auc"] <= found.high["roc_auc"]
    trusting = quality(Predictions(sure[rest], sure[rest] >= THRESHOLD))(sure[rest])
    assert abs(trusting["roc_auc"] - truth["roc_auc"]) > 0.03


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_chance_and_other_customers_are_no_contradiction(shift: float) -> None:
    found = [contradiction(*draw(1_000, 400 + s, shift=shift), reference()) for s in range(15)]
    assert found.count(None) >= 14


def test_customers_who_behave_differently_contradict_the_estimate() -> None:
    for seed in range(10):
        why = contradiction(*draw(1_000, 500 + seed, bias=0.8), reference())
        assert why is not None
        assert "was to be expected" in why


def test_a_long_window_is_sampled_and_gives_the_same_twice() -> None:
    predictions, _ = draw(MOST_ROWS * 3, 8)
    first = estimate(predictions, reference(), repeats=20)
    assert estimate(predictions, reference(), repeats=20) == first
    whole = quality(predictions)(predictions.scores)
    assert first.value["roc_auc"] == pytest.approx(whole["roc_auc"], abs=0.02)


def test_a_model_that_never_decides_has_no_precision() -> None:
    predictions, churned = draw(500, 9)
    never = Predictions(predictions.scores, np.zeros(500, dtype=bool))
    found = estimate(never, reference(), repeats=20)
    assert "precision" not in found.low
    assert found.low["recall"] == found.high["recall"] == 0
    assert contradiction(never, churned, reference()) is None
