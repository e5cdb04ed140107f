"""Quality estimated without labels against the truth that arrives later, under both kinds of drift.

A model is trained on synthetic customers as the platform trains it, then asked about
windows of new ones of whom the generator knows who leaves. `covariate_inside` is the
share of metrics whose truth fell into the 95 % interval; `concept_flagged` the share of
windows in which the outcomes contradicted the estimate, `false_flagged` the same where
nothing but the mix of customers had changed. The naive estimate trusts scores as they are.
"""

from typing import NamedTuple

import numpy as np
import xgboost
from numpy.typing import NDArray

from benchmarks import report
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.monitoring.estimate import (
    Predictions,
    Reference,
    estimate,
    quality,
    surprise,
)
from churn_assets.defs.training import dataset, model
from churn_assets.defs.training.metrics import best_f1_threshold
from churn_assets.synthetic import Drift, customers

PARAMS: model.Params = {"rounds": 150, "max_depth": 4, "eta": 0.1}
CUSTOMERS = 10_000
MODELS = 5
"""Their test customers are a draw too, which is what the interval must allow for."""
WINDOW = 1_000
POOL = 20_000
WORLDS = {
    "no drift": Drift(),
    "covariate 0.5": Drift(covariate=0.5),
    "covariate 1.0": Drift(covariate=1.0),
    "concept 0.1": Drift(concept=0.1),
    "concept 0.25": Drift(concept=0.25),
    "concept 0.5": Drift(concept=0.5),
}


class Trained(NamedTuple):
    """A model with its test customers by tier."""

    booster: xgboost.Booster
    references: dict[str, Reference]
    threshold: float


def main() -> None:
    """Train, ask about windows of each world, compare."""
    parser = report.arguments("Quality estimated without labels against the truth.")
    parser.add_argument("--windows", type=int, default=50, help="windows of each world")
    asked = parser.parse_args()
    models = [train(seed) for seed in range(MODELS)]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for world, drift in WORLDS.items():
        pool = dataset.build(clean(customers(POOL, 1_000, drift, 5_000_000_000)).customers)
        scored = [model.predict_tiers(trained.booster, pool.features) for trained in models]
        figures[world] = {
            tier: judge(models, [s[tier] for s in scored], pool.churned, tier, asked.windows)
            for tier in ("full", "core")
        }
        print(f"{world}: done", flush=True)
    rows: list[dict[str, report.Figure]] = [
        {"world": world, "tier": tier, **found}
        for world, tiers in figures.items()
        for tier, found in tiers.items()
    ]
    report.table(f"{asked.windows} windows of {WINDOW} customers each", rows)
    report.write(summary({world: tiers["full"] for world, tiers in figures.items()}), asked.json)


def train(seed: int) -> Trained:
    """A model of both tiers, as the platform fits it."""
    data = dataset.build(clean(customers(CUSTOMERS, seed)).customers)
    fitted, test = dataset.split(data)
    booster = model.fit(model.quantised(fitted), PARAMS, seed)
    scores = model.predict_tiers(booster, test.features)
    references = {
        tier: Reference(found.astype(np.float64), test.churned) for tier, found in scores.items()
    }
    return Trained(booster, references, best_f1_threshold(test.churned, scores["full"]))


def judge(
    models: list[Trained],
    scored: list[NDArray[np.float32]],
    churned: NDArray[np.int8],
    tier: str,
    windows: int,
) -> dict[str, float]:
    """Means over windows, each asked of one of the models in turn."""
    rng = np.random.default_rng(0)
    inside, flagged, errors, naive = [], [], [], []
    for number in range(windows):
        at = number % len(models)
        rows = rng.choice(len(churned), WINDOW, replace=False)
        scores = scored[at][rows].astype(np.float64)
        predictions = Predictions(scores, scores >= models[at].threshold)
        expected = estimate(predictions, models[at].references[tier], seed=number)
        measure = quality(predictions)
        truth = measure(churned[rows].astype(np.float64))
        inside.append(
            np.mean([expected.low[m] <= truth[m] <= expected.high[m] for m in expected.low])
        )
        flagged.append(surprise(truth, expected) is not None)
        errors.append(abs(expected.value["roc_auc"] - truth["roc_auc"]))
        naive.append(abs(measure(scores)["roc_auc"] - truth["roc_auc"]))
    return {
        "inside": float(np.mean(inside)),
        "flagged": float(np.mean(flagged)),
        "auc_error": float(np.mean(errors)),
        "naive_auc_error": float(np.mean(naive)),
    }


def summary(full: dict[str, dict[str, float]]) -> dict[str, report.Figure]:
    """The figures that are kept: the full tier, whose inputs tell all that matters."""

    def mean(kind: str, figure: str) -> float:
        found = [figures[figure] for world, figures in full.items() if world.startswith(kind)]
        return float(np.mean(found))

    return {
        "no_drift_inside": mean("no drift", "inside"),
        "covariate_inside": mean("covariate", "inside"),
        "false_flagged": float(
            np.mean([mean("no drift", "flagged"), mean("covariate", "flagged")])
        ),
        "concept_flagged": mean("concept", "flagged"),
        "covariate_auc_error": mean("covariate", "auc_error"),
        "naive_auc_error": mean("covariate", "naive_auc_error"),
    }


if __name__ == "__main__":
    main()
