"""The best trials, fitted again on all training customers and logged as models."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bento.customer import FEATURES
from bento.settings import Settings
from churn_assets.cluster import connect
from churn_assets.defs.training import distributed, metrics, model, plots
from churn_assets.defs.training.dataset import Dataset
from churn_assets.defs.training.distributed import Fitted
from churn_assets.defs.training.tracking import child_run
from churn_assets.defs.training.tuning import Search, Trial

if TYPE_CHECKING:
    import xgboost as xgb
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Refit:
    """A model of all training customers, with what its trial's folds say about it.

    `metrics`: `train_*` of this model, `valid_*` the means over the trial's folds.
    `threshold`: P(leave) from which a customer counts as leaving: the best F1 of the
    full tier on out-of-fold predictions.
    """

    trial: Trial
    booster: "xgb.Booster"
    sha256: str
    threshold: float
    metrics: dict[str, float]
    churned: NDArray[np.int8]
    out_of_fold: dict[str, NDArray[np.float32]]


def refit(train: Dataset, search: Search, top: int, seed: int, workers: int) -> list[Refit]:
    """Fit the `top` best trials on all of `train`, best first."""
    matrix = model.quantised(train)

    def one(trial: Trial) -> Refit:
        booster = model.fit(matrix, trial.params, seed)
        trained = model.training_metrics(booster, matrix, train.churned)
        return _refit(search, trial, booster, trained)

    with ThreadPoolExecutor(workers, thread_name_prefix="refit") as pool:
        return list(pool.map(one, search.best(top)))


def refit_from_disk(
    train: Dataset, search: Search, top: int, seed: int, settings: Settings
) -> tuple[list[Refit], Fitted]:
    """Fit the `top` best trials on the customers of TRAINING_FOLDER, best first.

    On DASK_SCHEDULER's cluster, else in this process. `train_*` metrics are those on
    `train`. Raises what `distributed.fit` raises.
    """
    trials = search.best(top)
    with connect(settings.dask_scheduler) if settings.dask_scheduler else nullcontext() as client:
        fitted = distributed.fit(
            str(settings.training_folder),
            [trial.params for trial in trials],
            seed,
            client,
            most_quarantined=settings.max_quarantined_share,
        )
    refits = []
    for trial, booster in zip(trials, fitted.boosters, strict=True):
        predicted = model.predict_tiers(booster, train.features)
        trained = model.tier_metrics("train", train.churned, predicted)
        refits.append(_refit(search, trial, booster, trained))
    return refits, fitted


def _refit(
    search: Search, trial: Trial, booster: "xgb.Booster", trained: dict[str, float]
) -> Refit:
    churned, full = search.out_of_fold(trial, "full")
    _, core = search.out_of_fold(trial, "core")
    means = trial.mean_metrics()
    return Refit(
        trial,
        booster,
        model.sha256(booster),
        metrics.best_f1_threshold(churned, full),
        trained | {name: value for name, value in means.items() if name.startswith("valid_")},
        churned,
        {"full": full, "core": core},
    )


def log_refits(
    client: "MlflowClient",
    experiment_id: str,
    parent: str,
    refits: Sequence[Refit],
    example: NDArray[np.float32],
    tags: dict[str, str],
) -> list[dict[str, Any]]:
    """Log each model in a child run with signature, example, metrics and pictures.

    Returns one JSON-ready record a model, in the order given.
    """
    return [
        _log(client, experiment_id, parent, rank, found, example, tags)
        for rank, found in enumerate(refits, start=1)
    ]


def _log(
    client: "MlflowClient",
    experiment_id: str,
    parent: str,
    rank: int,
    found: Refit,
    example: NDArray[np.float32],
    tags: dict[str, str],
) -> dict[str, Any]:
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    run_id = child_run(client, experiment_id, parent, f"top {rank} (trial {found.trial.number})")
    rows = pd.DataFrame(example, columns=list(FEATURES))
    with mlflow.start_run(run_id=run_id, nested=True):
        mlflow.log_params(found.trial.params)
        mlflow.log_metrics({**found.metrics, "loss": found.trial.loss})
        mlflow.set_tags(
            {
                **tags,
                "kind": "model",
                "trial": str(found.trial.number),
                "rank": str(rank),
                "sha256": found.sha256,
                "threshold": repr(found.threshold),
            }
        )
        mlflow.xgboost.log_model(
            found.booster,
            name="model",
            model_format="ubj",
            signature=infer_signature(rows, model.predict(found.booster, example)),
            input_example=rows,
            pip_requirements=_requirements(),
        )
        for name, figure in plots.model_plots(
            found.booster, found.churned, found.out_of_fold
        ).items():
            mlflow.log_figure(figure, f"plots/out_of_fold_{name}.png")
    return {
        "run_id": run_id,
        "trial": found.trial.number,
        "sha256": found.sha256,
        "threshold": found.threshold,
        "loss": found.trial.loss,
        "params": found.trial.params,
        "metrics": found.metrics,
    }


def _requirements() -> list[str]:
    """Pinned here because MLflow would otherwise load each model in a new process to infer them."""
    import mlflow
    import numpy
    import pandas
    import xgboost  # in images from the distribution xgboost-cpu: asked for its own version

    modules = (mlflow, numpy, pandas, xgboost)
    return [f"{module.__name__}=={module.__version__}" for module in modules]
