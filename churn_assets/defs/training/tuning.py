"""The search: Optuna's TPE over XGBoost, reproducible whatever the number of cores.

Trials are asked for and told in batches of a fixed size, and a trial is pruned only
by trials of completed batches, so what is tried never depends on which fit ended
first. Every fit uses one thread; fits run side by side (XGBoost releases the GIL).
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.defs.training.dataset import Dataset, folds
from churn_assets.defs.training.model import (
    Params,
    fit,
    predict_tiers,
    quantised,
    tier_metrics,
    training_metrics,
)

if TYPE_CHECKING:
    import optuna
    import xgboost as xgb

BATCH = 10
"""Trials asked for together: bounds how many cores help, and is part of the result."""

DEFAULTS: Params = {
    "rounds": 500,
    "max_depth": 4,
    "learning_rate": 0.07,
    "min_child_weight": 1.0,
    "subsample": 0.95,
    "colsample_bynode": 0.6,
    "reg_lambda": 1.0,
    "gamma": 0.5,
}
"""The first trial: a sane model before anything is learnt about the data."""


@dataclass(frozen=True)
class Fold:
    """One fit: metrics by name (`train_full_roc_auc`, ...), seconds, predictions by tier."""

    metrics: dict[str, float]
    fit_s: float
    predicted: dict[str, NDArray[np.float32]]

    @property
    def loss(self) -> float:
        """What the search minimises: validation log loss, both tiers together."""
        return self.metrics["valid_full_log_loss"] + self.metrics["valid_core_log_loss"]


@dataclass
class Trial:
    """One set of parameters and the folds it was fitted on: all of them, or the first if pruned."""

    number: int
    params: Params
    folds: list[Fold] = field(default_factory=list)
    pruned: bool = False

    @property
    def loss(self) -> float:
        """Mean loss of its folds."""
        return float(np.mean([fold.loss for fold in self.folds]))

    def mean_metrics(self) -> dict[str, float]:
        """Each metric, averaged over the folds."""
        return {
            name: float(np.mean([fold.metrics[name] for fold in self.folds]))
            for name in self.folds[0].metrics
        }


@dataclass(frozen=True)
class Progress:
    """How far the search is; `seconds_left` is extrapolated from the trials done."""

    done: int
    trials: int
    best: float | None
    seconds_left: float

    def __str__(self) -> str:
        best = "-" if self.best is None else f"{self.best:.4f}"
        left = f"{self.seconds_left:.0f} s left"
        return f"search: {self.done}/{self.trials} trials, best loss {best}, {left}"


@dataclass(frozen=True)
class Search:
    """All trials by number, Optuna's study, and each fold's validation labels."""

    trials: list[Trial]
    study: "optuna.Study"
    churned: list[NDArray[np.int8]]

    @property
    def fit_s(self) -> float:
        """Seconds inside XGBoost's training calls, summed over all fits."""
        return sum(fold.fit_s for trial in self.trials for fold in trial.folds)

    def best(self, count: int) -> list[Trial]:
        """The best complete trials, best first; equals are ordered by number."""
        complete = [trial for trial in self.trials if not trial.pruned]
        return sorted(complete, key=lambda trial: (trial.loss, trial.number))[:count]

    def out_of_fold(self, trial: Trial, tier: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Labels and predictions of customers that each fold's model had not seen."""
        predicted = np.concatenate([fold.predicted[tier] for fold in trial.folds])
        return np.concatenate(self.churned), predicted


@dataclass(frozen=True)
class _FoldData:
    matrix: "xgb.QuantileDMatrix"
    train_churned: NDArray[np.int8]
    valid: Dataset


def search(
    data: Dataset,
    *,
    trials: int,
    fold_count: int,
    seed: int,
    pruning: bool,
    workers: int,
    on_trial: Callable[[Trial], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Search:
    """Try `trials` sets of parameters by `fold_count`-fold cross-validation on `data`.

    `on_trial` is called with each finished trial, `on_progress` after it, both in the
    calling thread.
    """
    import optuna

    start = time.perf_counter()
    prepared = [_prepare(train, valid) for train, valid in folds(data, fold_count, seed)]
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=BATCH, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=min(BATCH, trials))
        if pruning
        else optuna.pruners.NopPruner(),
    )
    study.enqueue_trial(DEFAULTS)
    done: list[Trial] = []

    def finish(trial: Trial) -> None:
        done.append(trial)
        on_trial(trial)
        losses = [t.loss for t in done if not t.pruned]
        left = (time.perf_counter() - start) / len(done) * (trials - len(done))
        on_progress(Progress(len(done), trials, min(losses, default=None), left))

    with ThreadPoolExecutor(workers, thread_name_prefix="fit") as pool:
        for first in range(0, trials, BATCH):
            asked = [study.ask(_space()) for _ in range(min(BATCH, trials - first))]
            batch = [Trial(trial.number, dict(trial.params)) for trial in asked]
            _fit_batch(pool, prepared, asked, batch, seed, finish)
            for handle, trial in zip(asked, batch, strict=True):
                if trial.pruned:
                    study.tell(handle, state=optuna.trial.TrialState.PRUNED)
                else:
                    study.tell(handle, trial.loss)
    return Search(
        sorted(done, key=lambda trial: trial.number),
        study,
        [fold.valid.churned for fold in prepared],
    )


def _space() -> "dict[str, optuna.distributions.BaseDistribution]":
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        "rounds": IntDistribution(300, 800, step=50),
        "max_depth": IntDistribution(3, 6),
        "learning_rate": FloatDistribution(0.03, 0.2, log=True),
        "min_child_weight": FloatDistribution(0.5, 10, log=True),
        "subsample": FloatDistribution(0.6, 1),
        "colsample_bynode": FloatDistribution(0.4, 1),
        "reg_lambda": FloatDistribution(0.1, 20, log=True),
        "gamma": FloatDistribution(0.05, 3, log=True),
    }


def _fit_batch(
    pool: ThreadPoolExecutor,
    prepared: Sequence[_FoldData],
    asked: "Sequence[optuna.Trial]",
    batch: Sequence[Trial],
    seed: int,
    finish: Callable[[Trial], None],
) -> None:
    """Fit the first fold of every trial, drop the hopeless ones, fit the other folds."""
    first = [pool.submit(_fit_fold, prepared[0], trial.params, seed) for trial in batch]
    for handle, trial, future in zip(asked, batch, first, strict=True):
        trial.folds.append(future.result())
        handle.report(trial.loss, step=0)
        trial.pruned = len(prepared) > 1 and bool(handle.should_prune())
        if trial.pruned:
            finish(trial)
    survivors = [trial for trial in batch if not trial.pruned]
    others = [
        [pool.submit(_fit_fold, fold, trial.params, seed) for fold in prepared[1:]]
        for trial in survivors
    ]
    for trial, futures in zip(survivors, others, strict=True):
        trial.folds.extend(future.result() for future in futures)
        finish(trial)


def _prepare(train: Dataset, valid: Dataset) -> _FoldData:
    return _FoldData(quantised(train), train.churned, valid)


def _fit_fold(data: _FoldData, params: Params, seed: int) -> Fold:
    start = time.perf_counter()
    booster = fit(data.matrix, params, seed)
    fit_s = time.perf_counter() - start
    predicted = predict_tiers(booster, data.valid.features)
    return Fold(
        training_metrics(booster, data.matrix, data.train_churned)
        | tier_metrics("valid", data.valid.churned, predicted),
        fit_s,
        predicted,
    )
