"""What training costs: beside its own fits, beside the predecessor's way, and as data grows.

`CHURN_RAW_DATA=FILE python -m benchmarks.training` trains on those customers, else on
synthetic ones. It starts an MLflow server of its own. A child process per size
measures its own peak memory. `--predecessor-trials N` scales N trials to 50.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import Figure, arguments, table, write
from bento.settings import get_settings
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.training import dataset, model, provenance, tuning
from churn_assets.synthetic import generator
from churn_assets_tests.conftest import free_port, serve

PREDECESSOR_TRIALS = 50
SHA_TRIALS = 12
"""More than a batch, so that what one batch teaches the next is part of the comparison."""


def main() -> None:
    """Run what was asked for."""
    parser = arguments(str(__doc__))
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--predecessor-trials", type=int, default=PREDECESSOR_TRIALS, metavar="N")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--child", type=Path, help="used by itself")
    parser.add_argument("--shuffle", type=int, help="used by itself")
    parser.add_argument("--workers", type=int, default=provenance.workers(), help="of a child")
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(cost(pd.read_parquet(asked.child), asked)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        customers = folder / "customers.parquet"
        raw().astype(str).to_parquet(customers)
        figures = reproducible(customers) | grown(folder, asked)
        with platform(folder):
            figures = ours(customers, asked.trials) | figures
            figures |= predecessor(customers, asked.predecessor_trials)
    figures["vs_predecessor"] = float(figures["predecessor_s"] or 0) / float(figures["wall_s"] or 1)
    table("Training", [{"figure": key, "value": value} for key, value in figures.items()])
    write(figures, asked.json)


def raw() -> pd.DataFrame:
    """The user's customers, or synthetic ones of the public data's size."""
    path = get_settings().churn_raw_data
    if path is None:
        print("SYNTHETIC customers: set CHURN_RAW_DATA to measure on real ones")
        return generator.customers(10_127, seed=1)
    return pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path, dtype=str)


@contextmanager
def platform(folder: Path) -> Iterator[None]:
    """An MLflow server on a free port, and settings that point to it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    changed = {"MLFLOW_TRACKING_URI": url, "CHURN_HOME": str(folder / "home")}
    with serve(
        command, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, f"{url}/health", folder / "log"
    ):
        os.environ |= changed
        get_settings.cache_clear()
        yield


def ours(customers: Path, trials: int) -> dict[str, Figure]:
    """The two assets as the platform runs them, with everything they log."""
    import dagster as dg

    from churn_assets.defs.resources.mlflow import mlflow_run
    from churn_assets.defs.training.assets import best_model, tuned_models

    @dg.asset
    def cleaned_features() -> pd.DataFrame:
        return clean(pd.read_parquet(customers)).customers

    @dg.asset
    def raw_s3_data() -> dict[str, Any]:
        return {"sha256": "of a benchmark", "synthetic": get_settings().churn_raw_data is None}

    start = time.perf_counter()
    result = dg.materialize(
        [cleaned_features, raw_s3_data, tuned_models, best_model],
        resources={"mlflow": mlflow_run, "io_manager": dg.mem_io_manager},
        run_config={"ops": {"tuned_models": {"config": {"trials": trials}}}},
    )
    total = time.perf_counter() - start
    search = result.asset_value("tuned_models")["search"]
    best = result.asset_value("best_model")
    quality = best["metrics"]
    ideal = search["fit_s"] / provenance.workers()
    return {
        "auc_full": quality["test_full_roc_auc"],
        "ap_full": quality["test_full_average_precision"],
        "auc_core": quality["test_core_roc_auc"],
        "ap_core": quality["test_core_average_precision"],
        "ece_full": quality["test_full_ece"],
        "rmse_full": quality["test_full_rmse"],
        "gates_passed": best["passed"],
        "trials": search["trials"],
        "pruned": search["pruned"],
        "wall_s": search["wall_s"],
        "fit_s": search["fit_s"],
        "workers": provenance.workers(),
        "wall_over_fit": search["wall_s"] / ideal,
        "both_assets_s": total,
        "sha256": best["sha256"],
    } | other_splits(clean(pd.read_parquet(customers)).customers, result)


def other_splits(frame: pd.DataFrame, result: Any) -> dict[str, Figure]:
    """The chosen parameters on ten other test sets: how much the figure owes to the split."""
    data = dataset.build(frame)
    found = result.asset_value("best_model")
    [params] = [
        record["params"]
        for record in result.asset_value("tuned_models")["top"]
        if record["run_id"] == found["run_id"]
    ]
    areas = []
    for number in range(10):
        test = dataset.place(data.ids, f"split {number}".encode()) < dataset.TEST_SHARE
        booster = model.fit(model.quantised(data.take(~test)), params, 11)
        predicted = model.predict_tiers(booster, data.features[test])
        areas.append(model.tier_metrics("t", data.churned[test], predicted)["t_full_roc_auc"])
    return {
        "auc_full_ten_other_splits_mean": float(np.mean(areas)),
        "auc_full_ten_other_splits_min": float(np.min(areas)),
    }


def predecessor(customers: Path, trials: int) -> dict[str, Figure]:
    """Sequential trials of ten rounds, each an autologged run with a saved model."""
    import mlflow
    import xgboost as xgb

    train, _ = dataset.split(dataset.build(clean(pd.read_parquet(customers)).customers))
    generator_ = np.random.default_rng(11)
    matrix = xgb.DMatrix(train.features, train.churned)
    mlflow.set_tracking_uri(get_settings().mlflow_tracking_uri)
    mlflow.set_experiment("predecessor")
    mlflow.xgboost.autolog()
    start = time.perf_counter()
    for number in range(trials):
        params = {
            "max_depth": int(generator_.integers(3, 10)),
            "learning_rate": float(generator_.uniform(0.03, 0.3)),
            "objective": "reg:squarederror",
        }
        with mlflow.start_run(run_name=f"trial {number}"):
            booster = xgb.train(params, matrix, 10, evals=[(matrix, "validation")], verbose_eval=0)
            error = booster.predict(matrix) - train.churned
            mlflow.log_metric("rmse", float(np.sqrt(np.mean(error**2))))
    wall = time.perf_counter() - start
    mlflow.xgboost.autolog(disable=True)
    return {
        "predecessor_s": wall * PREDECESSOR_TRIALS / trials,
        "predecessor_trials_run": trials,
        "predecessor_scaled": trials != PREDECESSOR_TRIALS,
    }


def reproducible(customers: Path) -> dict[str, Figure]:
    """The model's hash for other row orders and numbers of workers, in processes of their own."""
    found = {
        child(customers, SHA_TRIALS, "--workers", workers, "--shuffle", seed)["sha256"]
        for workers, seed in (("1", "1"), ("2", "2"), ("4", "3"))
    }
    return {"sha256_equal": len(found) == 1}


def grown(folder: Path, asked: Namespace) -> dict[str, Figure]:
    """The same search over synthetic customers of several sizes."""
    rows: list[dict[str, Figure]] = []
    figures: dict[str, Figure] = {}
    for size in asked.sizes:
        path = folder / f"{size}.parquet"
        generator.write_parquet(path, size, seed=2)
        found = child(path, asked.trials)
        path.unlink()
        rows.append({"customers": size, **found})
        figures |= {f"{key}_{size}": found[key] for key in ("total_s", "peak_mb")}
    if rows:
        table("Synthetic customers, without MLflow", rows)
        figures["peak_mb"] = max(float(row["peak_mb"] or 0) for row in rows)
    return figures


def child(customers: Path, trials: int, *options: str) -> dict[str, Figure]:
    """`cost` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", str(customers)]
    done = subprocess.run(
        [*command, "--trials", str(trials), *options], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Figure] = json.loads(done.stdout.splitlines()[-1])
    return found


def cost(frame: pd.DataFrame, asked: Namespace) -> dict[str, Figure]:
    """Clean, search and refit; seconds of each, and this process's peak memory."""
    import optuna

    from churn_assets.defs.training.config import SearchConfig
    from churn_assets.defs.training.refit import refit

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = SearchConfig.model_validate({})
    if asked.shuffle is not None:
        frame = frame.sample(frac=1, random_state=asked.shuffle)
    start = time.perf_counter()
    train, test = dataset.split(dataset.build(clean(frame).customers))
    read = time.perf_counter()
    search = tuning.search(
        dataset.sample(train, config.max_search_customers),
        trials=asked.trials,
        fold_count=config.folds,
        seed=config.seed,
        pruning=config.pruning,
        workers=asked.workers,
    )
    searched = time.perf_counter()
    best = refit(train, search, config.top, config.seed, asked.workers)
    end = time.perf_counter()
    predicted = model.predict_tiers(best[0].booster, test.features)
    return {
        "clean_s": read - start,
        "search_s": searched - read,
        "refit_s": end - searched,
        "total_s": end - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "auc_full": model.tier_metrics("t", test.churned, predicted)["t_full_roc_auc"],
        "sha256": best[0].sha256,
    }


if __name__ == "__main__":
    main()
