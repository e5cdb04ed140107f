"""Small champions on made-up customers, for tests and benchmarks of the servers."""

from pathlib import Path

import numpy as np
import xgboost
from numpy.typing import NDArray

from bento.champion import Champion, LivePointer, make_live
from bento.customer import BEHAVIOUR_FIELDS, FEATURES, encode
from churn_assets.defs.release.packaging import Origin, package
from churn_assets_tests.customers import random_customers

__all__ = ["make_champion", "point", "random_booster", "random_customers"]


def random_booster(
    seed: int = 0, trees: int = 30, customers: int = 2_000
) -> tuple[xgboost.Booster, NDArray[np.float32]]:
    """A booster that has learned something from made-up customers, and their matrix."""
    matrix = encode(random_customers(customers, seed))
    rng = np.random.default_rng(seed + 1)
    known = np.nan_to_num(
        matrix, nan=float(np.nanmean(matrix[:, FEATURES.index("total_trans_ct")]))
    )
    logit = (
        -0.04 * (known[:, FEATURES.index("total_trans_ct")] - 60)
        - 0.001 * (known[:, FEATURES.index("total_revolving_bal")] - 1_200)
        - 0.3 * (known[:, FEATURES.index("total_relationship_count")] - 3)
    )
    left = rng.random(len(matrix)) < 1 / (1 + np.exp(-logit))
    both = np.vstack([matrix, matrix])
    both[len(matrix) :, -len(BEHAVIOUR_FIELDS) :] = np.nan
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 5, "eta": 0.2, "nthread": 1, "seed": seed},
        xgboost.DMatrix(both, np.concatenate([left, left]), feature_names=list(FEATURES)),
        trees,
    )
    return booster, both


def make_champion(
    folder: Path, seed: int = 0, trees: int = 30, threshold: float = 0.5, version: str = "1"
) -> Champion:
    """Write a champion folder; other seeds give other models, with their own run ids."""
    booster, matrix = random_booster(seed, trees)
    origin = Origin(
        model_name="best_model-churn",
        model_version=version,
        model_run_id=f"{seed:032x}",
        threshold=threshold,
        tiers={"full": {"roc_auc": 0.9}, "core": {"roc_auc": 0.7}},
        data_sha256="0" * 64,
        synthetic=True,
    )
    model = bytes(booster.save_raw("ubj"))
    return package(folder, model, origin, matrix)[0]


def point(pointer: Path, folder: Path, champion: Champion) -> None:
    """Make a champion folder live."""
    tag = f"{champion.model_name}:{champion.model_version}"
    make_live(pointer, LivePointer(str(folder), tag, champion.model_run_id))
