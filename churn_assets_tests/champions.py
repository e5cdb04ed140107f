"""Small champions on made-up customers, for tests and benchmarks of the servers."""

from pathlib import Path

import msgspec
import numpy as np
import xgboost
from numpy.typing import NDArray

from bento.champion import Champion, LivePointer, make_live
from bento.customer import BEHAVIOUR_FIELDS, FEATURES, Customer, encode
from churn_assets.defs.release.packaging import Origin, package


def random_customers(count: int, seed: int = 0, core_share: float = 0.5) -> list[Customer]:
    """Valid customers of both tiers, some with unknown education, status or income."""
    rng = np.random.default_rng(seed)

    def pick(values: list[str], unknown: float = 0.0) -> str | None:
        return None if rng.random() < unknown else values[int(rng.integers(len(values)))]

    def whole(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    customers = []
    for number in range(count):
        limit = round(float(rng.lognormal(8.5, 0.8)), 1)
        balance = float(whole(0, 2_500))
        behaviour = {
            "months_inactive_12_mon": whole(0, 7),
            "contacts_count_12_mon": whole(0, 7),
            "avg_open_to_buy": max(limit - balance, 0.0),
            "total_amt_chng_q4_q1": round(float(rng.gamma(12, 0.06)), 3),
            "total_trans_amt": float(whole(500, 15_000)),
            "total_trans_ct": whole(10, 140),
            "total_ct_chng_q4_q1": round(float(rng.gamma(9, 0.08)), 3),
            "avg_utilization_ratio": round(min(balance / limit, 1.0), 3),
        }
        values = {
            "customer_age": whole(26, 74),
            "gender": pick(["M", "F"]),
            "dependent_count": whole(0, 6),
            "education_level": None if rng.random() < 0.15 else whole(0, 6),
            "marital_status": pick(["single", "married", "divorced"], unknown=0.07),
            "income_category": None if rng.random() < 0.11 else whole(0, 5),
            "card_category": pick(["blue", "silver", "gold", "platinum"]),
            "months_on_book": whole(13, 57),
            "total_relationship_count": whole(1, 7),
            "credit_limit": limit,
            "total_revolving_bal": balance,
            "customer_id": 700_000_000 + number,
        }
        if rng.random() >= core_share:
            values |= behaviour
        customers.append(msgspec.convert(values, Customer))
    return customers


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
