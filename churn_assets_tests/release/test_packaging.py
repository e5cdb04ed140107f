"""The conversion to ONNX."""

from churn_assets.defs.release.packaging import convert, parity
from churn_assets_tests.champions import random_booster


def test_a_large_model_adds_up_as_xgboost_does() -> None:
    """Guards against the base score added last, which cost a real champion its 1e-6."""
    booster, matrix = random_booster(seed=4, trees=600, customers=10_000)
    assert parity(booster, convert(booster), matrix) < 2e-7
