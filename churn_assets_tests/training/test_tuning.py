"""The search: reproducible, honest about folds, and a model that knows churn."""

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from bento.customer import FEATURES
from churn_assets.defs.training import dataset, metrics, model, tuning
from churn_assets_tests.training.customers import cleaned

TRIALS = 13
"""More than a batch, so that pruning and a second batch take part."""


def searched(frame: pd.DataFrame, workers: int, seed: int = 11) -> tuning.Search:
    train, _ = dataset.split(dataset.build(frame))
    return tuning.search(
        train, trials=TRIALS, fold_count=3, seed=seed, pruning=True, workers=workers
    )


@lru_cache(maxsize=1)
def reference() -> tuning.Search:
    return searched(cleaned(), workers=1)


def best_model_bytes(frame: pd.DataFrame, search: tuning.Search) -> str:
    train, _ = dataset.split(dataset.build(frame))
    booster = model.fit(model.quantised(train), search.best(1)[0].params, 11)
    return model.sha256(booster)


def test_shuffled_rows_and_more_workers_give_the_same_bytes() -> None:
    shuffled = cleaned().sample(frac=1, random_state=7)
    other = searched(shuffled, workers=3)
    assert [t.params for t in other.trials] == [t.params for t in reference().trials]
    assert [t.loss for t in other.trials] == [t.loss for t in reference().trials]
    assert [t.pruned for t in other.trials] == [t.pruned for t in reference().trials]
    assert best_model_bytes(shuffled, other) == best_model_bytes(cleaned(), reference())


def test_another_seed_gives_another_model() -> None:
    train, _ = dataset.split(dataset.build(cleaned()))
    matrix = model.quantised(train)
    one, other = (model.sha256(model.fit(matrix, tuning.DEFAULTS, seed)) for seed in (1, 2))
    assert one != other


def test_the_first_trial_is_the_sane_one_and_no_startup_trial_is_pruned() -> None:
    trials = reference().trials
    assert trials[0].params == tuning.DEFAULTS
    assert not any(trial.pruned for trial in trials[: tuning.BATCH])
    assert [trial.number for trial in trials] == list(range(TRIALS))


def test_a_trial_is_pruned_exactly_when_its_first_fold_is_above_the_median() -> None:
    trials = reference().trials
    startup = np.median([trial.folds[0].loss for trial in trials[: tuning.BATCH]])
    late = trials[tuning.BATCH :]
    assert [trial.pruned for trial in late] == [trial.folds[0].loss > startup for trial in late]
    assert all(len(trial.folds) == (1 if trial.pruned else 3) for trial in trials)


def test_progress_counts_every_trial_and_ends_at_zero() -> None:
    train, _ = dataset.split(dataset.build(cleaned()))
    seen: list[tuning.Progress] = []
    tuning.search(
        train, trials=2, fold_count=2, seed=1, pruning=True, workers=2, on_progress=seen.append
    )
    assert [(p.done, p.trials) for p in seen] == [(1, 2), (2, 2)]
    assert seen[-1].seconds_left == 0
    assert "2/2 trials" in str(seen[-1])


def test_out_of_fold_predictions_are_of_customers_not_trained_on() -> None:
    search = reference()
    churned, predicted = search.out_of_fold(search.best(1)[0], "full")
    train, _ = dataset.split(dataset.build(cleaned()))
    assert len(predicted) == len(train)
    assert churned.sum() == train.churned.sum()
    found = search.best(1)[0].mean_metrics()
    assert metrics.log_loss(churned, predicted) == pytest.approx(
        found["valid_full_log_loss"], abs=0.005
    )


@lru_cache(maxsize=1)
def fitted() -> "tuple[xgb.Booster, dataset.Dataset]":
    train, test = dataset.split(dataset.build(cleaned(5_000)))
    return model.fit(model.quantised(train), tuning.DEFAULTS, 11), test


def test_churn_chance_is_the_chance_of_leaving_in_both_tiers() -> None:
    booster, test = fitted()
    predicted = model.predict_tiers(booster, test.features)
    full = metrics.scores(test.churned, predicted["full"])
    core = metrics.scores(test.churned, predicted["core"])
    assert full["roc_auc"] > 0.95
    assert core["roc_auc"] > 0.7
    assert full["ece"] < 0.05


def test_fewer_transactions_mean_a_higher_chance_of_leaving() -> None:
    booster, test = fitted()
    active, idle = test.features.copy(), test.features.copy()
    count, amount = FEATURES.index("total_trans_ct"), FEATURES.index("total_trans_amt")
    active[:, count], active[:, amount] = 90, 4_500
    idle[:, count], idle[:, amount] = 30, 1_500
    assert model.predict(booster, idle).mean() > model.predict(booster, active).mean() + 0.1


def test_repeated_customers_get_the_same_answer_alone_and_in_a_batch() -> None:
    booster, test = fitted()
    batch = model.predict(booster, np.repeat(test.features[:5], 3, axis=0))
    alone = [model.predict(booster, row[np.newaxis])[0] for row in test.features[:5]]
    np.testing.assert_array_equal(batch, np.repeat(alone, 3))


def test_obvious_customers_are_recognised() -> None:
    """Minimum functionality: nobody who is busy leaves, most who have gone silent do."""
    booster, test = fitted()
    column = dict(zip(FEATURES, test.features.T, strict=True))
    busy = (column["total_trans_ct"] > 80) & (column["total_revolving_bal"] > 1_000)
    silent = (column["total_trans_ct"] < 45) & (column["total_revolving_bal"] == 0)
    predicted = model.predict(booster, test.features)
    assert min(busy.sum(), silent.sum()) > 10
    assert np.median(predicted[busy]) < 0.02
    assert np.median(predicted[silent]) > 0.5
