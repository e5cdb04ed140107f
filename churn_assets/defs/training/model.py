"""One model for both tiers: how it is fitted, asked and hashed."""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bento.customer import FEATURES
from churn_assets.defs.training import metrics
from churn_assets.defs.training.dataset import Dataset, both_tiers, tiers

if TYPE_CHECKING:
    import xgboost as xgb

CORE_WEIGHT = 0.3
"""Weight of a blanked row beside a real one: chosen by cross-validation on the public data's
training customers, where equal weights cost the full tier 0.005 of log loss and gained nothing."""

Params = dict[str, int | float]
"""`rounds` and the parameters of XGBoost by its own names."""


def quantised(data: Dataset) -> "xgb.QuantileDMatrix":
    """The matrix a model of both tiers is fitted on; fits in several threads may share it."""
    import xgboost as xgb

    features, churned = both_tiers(data.features, data.churned)
    return xgb.QuantileDMatrix(
        features, churned, weight=weights(len(data)), nthread=1, feature_names=list(FEATURES)
    )


def weights(customers: int) -> NDArray[np.float32]:
    """Weights of customers and, after them, of their blanked copies."""
    return np.repeat(np.array([1, CORE_WEIGHT], np.float32), customers)


def fit(matrix: "xgb.DMatrix", params: Params, seed: int, threads: int = 1) -> "xgb.Booster":
    """A model of both tiers; on one thread its bytes depend on nothing but the input."""
    import xgboost as xgb

    settings: dict[str, Any] = {name: value for name, value in params.items() if name != "rounds"}
    settings |= {"objective": "binary:logistic", "tree_method": "hist"}
    settings |= {"nthread": threads, "seed": seed}
    # Not xgb.train: it drops the cached predictions of the training rows, wanted for metrics.
    booster = xgb.Booster(settings, [matrix])
    for iteration in range(int(params["rounds"])):
        booster.update(matrix, iteration)
    return booster


def predict(booster: "xgb.Booster", features: NDArray[np.float32]) -> NDArray[np.float32]:
    """P(leave) of each row of an encoded matrix (n, 19)."""
    predicted: NDArray[np.float32] = booster.inplace_predict(features)
    return predicted


def predict_tiers(
    booster: "xgb.Booster", features: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """P(leave) of the same customers as each tier sees them."""
    return {tier: predict(booster, seen) for tier, seen in tiers(features).items()}


def training_metrics(
    booster: "xgb.Booster", matrix: "xgb.QuantileDMatrix", churned: NDArray[np.int8]
) -> dict[str, float]:
    """Metrics on the customers that the model was just fitted on: predictions it has cached."""
    full, core = np.split(booster.predict(matrix), 2)
    return tier_metrics("train", churned, {"full": full, "core": core})


def tier_metrics(
    prefix: str,
    churned: NDArray[np.int8],
    predicted: dict[str, NDArray[np.float32]],
    threshold: float = 0.5,
) -> dict[str, float]:
    """Metrics of each tier's predictions, named `prefix_tier_metric`."""
    return {
        f"{prefix}_{tier}_{name}": value
        for tier, values in predicted.items()
        for name, value in metrics.scores(churned, values, threshold).items()
    }


def sha256(booster: "xgb.Booster") -> str:
    """SHA-256 (hex) of the model's bytes: the `model.ubj` that MLflow keeps."""
    return hashlib.sha256(booster.save_raw("ubj")).hexdigest()
