"""Gates on predictions made by hand: which models they let through."""

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.defs.training import selection
from churn_assets.defs.training.dataset import Dataset
from churn_assets.defs.training.selection import Margins, Predicted

MARGINS = Margins({"full": 0.005, "core": 0.02}, max_ece=0.03, max_latency_ms=10)
RNG = np.random.default_rng(4)
TRUE = RNG.beta(0.3, 1.5, 3_000)
CHURNED = (RNG.random(3_000) < TRUE).astype(np.int8)
TEST = Dataset(np.arange(3_000).astype(object), np.zeros((3_000, 19), np.float32), CHURNED)
GOOD = {"full": TRUE.astype(np.float32), "core": np.sqrt(TRUE * TRUE.mean()).astype(np.float32)}


def failed(candidate: Predicted, champion: Predicted | None = None, ms: float = 1) -> set[str]:
    comparison = selection.compare(CHURNED, candidate, champion, seed=0)
    gates = selection.judge(TEST, candidate, 0.5, comparison, ms, MARGINS)
    assert [gate.name for gate in gates] == list(selection.GATES)
    return {gate.name for gate in gates if not gate.passed}


def both(values: np.ndarray) -> Predicted:
    return {"full": values.astype(np.float32), "core": values.astype(np.float32)}


def test_a_good_model_passes_alone_and_beside_itself() -> None:
    assert failed(GOOD) == set()
    assert failed(GOOD, GOOD) == set()


@pytest.mark.parametrize("constant", [0.0, 0.5, float(CHURNED.mean())])
def test_a_constant_predictor_is_rejected(constant: float) -> None:
    """The predecessor served one: a learning rate cast to 0 answers 0.5 to everything."""
    rejected = failed(both(np.full(3_000, constant)))
    assert {"beats_majority_class", "beats_constant_predictor"} <= rejected


def test_inverted_predictions_are_rejected() -> None:
    """The predecessor answered with the chance of staying."""
    assert "beats_constant_predictor" in failed(both(1 - TRUE))


def test_a_model_good_in_one_tier_only_is_rejected() -> None:
    half = {**GOOD, "core": np.full(3_000, CHURNED.mean(), np.float32)}
    assert "beats_constant_predictor" in failed(half)


def test_a_worse_challenger_is_rejected_and_a_better_one_is_not() -> None:
    noise = np.random.default_rng(1).normal(0, 0.25, 3_000)
    worse = {**GOOD, "full": np.clip(TRUE + noise, 0, 1).astype(np.float32)}
    assert "not_worse_than_champion" in failed(worse, GOOD)
    assert "not_worse_than_champion" not in failed(GOOD, worse)


def test_a_loss_within_the_margin_is_tolerated() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 3_000)
    near = {**GOOD, "full": np.clip(TRUE + noise, 0, 1).astype(np.float32)}
    assert failed(near, GOOD) == set()
    comparison = selection.compare(CHURNED, near, GOOD, seed=0)
    strict = replace(MARGINS, roc_auc={"full": 0.0, "core": 0.0})
    gates = {g.name: g for g in selection.judge(TEST, near, 0.5, comparison, 1, strict)}
    assert not gates["not_worse_than_champion"].passed


def test_an_uncalibrated_or_slow_model_is_rejected() -> None:
    squeezed = {**GOOD, "full": (TRUE**3).astype(np.float32)}
    assert failed(squeezed) >= {"calibrated"}
    assert failed(GOOD, ms=10.5) == {"fast_enough"}


def test_the_best_has_the_lowest_loss_of_both_tiers() -> None:
    assert selection.choose([both(1 - TRUE), GOOD, both(np.full(3_000, 0.5))], CHURNED) == 1
