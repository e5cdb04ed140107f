import numpy as np
import pytest
from sklearn import metrics as sk

from churn_assets.defs.training import metrics

CHURNED = np.array([0, 0, 1, 1, 1, 0, 1, 0], np.int8)
PREDICTED = np.array([0.1, 0.4, 0.35, 0.8, 0.9, 0.35, 0.6, 0.05], np.float32)


def test_metrics_are_those_computed_by_hand() -> None:
    # 16 pairs: 0.35 of a leaver beats 0.1 and 0.05, ties with 0.35, loses to 0.4.
    found = metrics.scores(CHURNED, PREDICTED)
    assert found["roc_auc"] == pytest.approx((4 + 4 + 4 + 2.5) / 16)
    assert found["f1"] == pytest.approx(6 / 7)
    assert found["accuracy"] == pytest.approx(7 / 8)
    assert found["mae"] == pytest.approx((0.1 + 0.4 + 0.65 + 0.2 + 0.1 + 0.35 + 0.4 + 0.05) / 8)
    assert found["mse"] == found["brier"] == pytest.approx(0.9275 / 8)
    assert found["rmse"] == pytest.approx(found["mse"] ** 0.5)


def test_metrics_agree_with_scikit_learn_also_on_ties() -> None:
    generator = np.random.default_rng(5)
    churned = (generator.random(3_000) < 0.16).astype(np.int8)
    predicted = np.round(np.clip(generator.normal(0.3 + 0.2 * churned, 0.2), 0, 1), 2).astype(
        np.float32
    )
    found = metrics.scores(churned, predicted, threshold=0.4)
    decided = predicted.astype(np.float64) >= 0.4
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(churned, predicted))
    assert found["average_precision"] == pytest.approx(
        sk.average_precision_score(churned, predicted)
    )
    assert found["f1"] == pytest.approx(sk.f1_score(churned, decided))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(churned, decided))
    assert found["log_loss"] == pytest.approx(sk.log_loss(churned, predicted), rel=1e-5)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(churned, predicted))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(churned, predicted))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(churned, predicted))
    weights = generator.poisson(1, 3_000).astype(np.float64)
    assert metrics.weighted_metrics(churned, predicted)(weights) == pytest.approx(
        (
            sk.roc_auc_score(churned, predicted, sample_weight=weights),
            sk.average_precision_score(churned, predicted, sample_weight=weights),
        )
    )


def test_calibration_error_of_a_known_case() -> None:
    # Bin 0.2 holds four with 1 of 4 left, bin 0.9 holds four with all left.
    churned = np.array([0, 0, 0, 1, 1, 1, 1, 1], np.int8)
    predicted = np.array([0.2] * 4 + [0.9] * 4, np.float32)
    assert metrics.ece(churned, predicted) == pytest.approx((4 * 0.05 + 4 * 0.1) / 8, rel=1e-5)
    assert metrics.ece(churned, churned.astype(np.float32)) == 0


def test_share_within_each_deviation() -> None:
    within = metrics.within_deviation(CHURNED, PREDICTED)
    assert len(within) == 21
    assert within[0] == 0
    assert within[10] == pytest.approx(100 * 7 / 8)
    assert within[20] == 100
    assert (np.diff(within) >= 0).all()


def test_the_threshold_has_the_best_f1() -> None:
    threshold = metrics.best_f1_threshold(CHURNED, PREDICTED)
    best = max(sk.f1_score(CHURNED, cut <= PREDICTED) for cut in PREDICTED)
    assert sk.f1_score(CHURNED, np.float32(threshold) <= PREDICTED) == pytest.approx(best)


def test_bootstrap_is_paired_and_covers_the_measured_value() -> None:
    generator = np.random.default_rng(2)
    churned = (generator.random(1_000) < 0.3).astype(np.int8)
    predicted = np.clip(generator.normal(0.3 + 0.3 * churned, 0.3), 0, 1)
    drawn = metrics.bootstrap(churned, {"one": predicted, "same": predicted})
    np.testing.assert_array_equal(drawn["one"]["roc_auc"], drawn["same"]["roc_auc"])
    low, high = metrics.interval(drawn["one"]["roc_auc"])
    assert low < sk.roc_auc_score(churned, predicted) < high
    assert 0.02 < high - low < 0.1
