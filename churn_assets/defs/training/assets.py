"""`tuned_models` and `best_model`: from customers to a registered, gated challenger."""

import time
from typing import Any

import dagster as dg
import pandas as pd

from bento.settings import get_settings
from churn_assets import markdown
from churn_assets.defs.resources.mlflow import run_url
from churn_assets.defs.training import (
    dataset,
    evaluation,
    model_card,
    plots,
    promotion,
    provenance,
    refit,
    selection,
    tracking,
    tuning,
)
from churn_assets.defs.training.config import GateConfig, SearchConfig


@dg.asset(
    group_name="training",
    owners=["team:data-science"],
    required_resource_keys={"mlflow"},
    kinds={"xgboost", "optuna", "mlflow"},
    pool="trainer",
)
def tuned_models(
    context: dg.AssetExecutionContext,
    config: SearchConfig,
    cleaned_features: pd.DataFrame,
    raw_s3_data: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """The five best models of a reproducible search, refitted on all training customers.

    Optuna tries 50 sets of XGBoost parameters by 5-fold cross-validation on the training
    customers (80 %, chosen by a hash of the customer id). Each trial is a child run in
    MLflow; the best five are there as models. The same customers and config give
    byte-identical models, in whatever order the rows come and on any number of cores.
    With TRAINING_FOLDER set the best are refitted on its customers instead, from disk,
    on DASK_SCHEDULER's cluster where that is set.
    """
    data = dataset.build(cleaned_features)
    train, test = dataset.split(data)
    searched = dataset.sample(train, config.max_search_customers)
    mlflow = context.resources.mlflow
    parent, client = mlflow.active_run().info, mlflow.tracking_client
    tags = provenance.model_tags(
        dataset.fingerprint(data), config, synthetic=raw_s3_data["synthetic"]
    )
    mlflow.set_tags({**tags, "raw_sha256": raw_s3_data["sha256"]})
    if raw_s3_data["synthetic"]:
        context.log.warning("These customers are SYNTHETIC: the figures say nothing about a bank.")

    start = time.perf_counter()
    with tracking.TrialLog(client, parent.experiment_id, parent.run_id) as log:
        search = tuning.search(
            searched,
            trials=config.trials,
            fold_count=config.folds,
            seed=config.seed,
            pruning=config.pruning,
            workers=provenance.workers(),
            on_trial=log,
            on_progress=lambda progress: context.log.info(str(progress)),
        )
    wall_s = time.perf_counter() - start
    settings, fitted_customers = get_settings(), len(train)
    if settings.training_folder:
        context.log.info(f"refitting the best {config.top} on all of {settings.training_folder}")
        refits, fitted = refit.refit_from_disk(train, search, config.top, config.seed, settings)
        fitted_customers = fitted.seen.customers
        tags |= {"fit_customers": str(fitted_customers), "fit_sha256": fitted.sha256}
    else:
        context.log.info(f"refitting the best {config.top} on {len(train):,} customers")
        refits = refit.refit(train, search, config.top, config.seed, provenance.workers())
    records = refit.log_refits(
        client, parent.experiment_id, parent.run_id, refits, train.features[:5], tags
    )
    history = tracking.log_search(client, parent.run_id, search)

    summary = {
        "trials": len(search.trials),
        "pruned": sum(trial.pruned for trial in search.trials),
        "customers": fitted_customers,
        "searched_customers": len(searched),
        "test_customers": len(test),
        "test_customers_seen": len(set(test.ids) & (set(train.ids) | set(searched.ids))),
        "best_loss": search.best(1)[0].loss,
        "wall_s": wall_s,
        "fit_s": search.fit_s,
    }
    url = run_url(parent.run_id, parent.experiment_id)
    return dg.MaterializeResult(
        value={
            "parent_run_id": parent.run_id,
            "experiment_id": parent.experiment_id,
            "search": summary,
            "top": records,
            "data_sha256": tags["data_sha256"],
            "tags": tags,
        },
        metadata={
            "mlflow": dg.MetadataValue.url(url),
            "top": markdown.table(
                [_shown(n, found, parent.experiment_id) for n, found in enumerate(records, 1)]
            ),
            "search_history": markdown.pictures({"Search": history}),
            "synthetic": raw_s3_data["synthetic"],
            "data_sha256": tags["data_sha256"],
            "git_commit": tags["git_commit"],
            **summary,
        },
    )


@dg.asset(
    group_name="training",
    owners=["team:data-science"],
    required_resource_keys={"mlflow"},
    kinds={"mlflow", "xgboost"},
)
def best_model(
    context: dg.AssetExecutionContext,
    config: GateConfig,
    tuned_models: dict[str, Any],
    cleaned_features: pd.DataFrame,
) -> dg.MaterializeResult[dict[str, Any]]:
    """The best of the five on the untouched test customers, registered in MLflow.

    It is measured beside the present champion on the same customers and must pass every
    gate (this asset's checks) to become `challenger`. The first ever becomes `champion`;
    after that a human promotes it (`make promote RUN_ID=...`), or PROMOTION=auto does.
    """
    data = dataset.build(cleaned_features)
    if dataset.fingerprint(data) != tuned_models["data_sha256"]:
        raise dg.Failure("cleaned_features changed after tuned_models: materialize both")
    _, test = dataset.split(data)
    settings = get_settings()
    name = settings.registered_model
    client = context.resources.mlflow.tracking_client
    present = promotion.champion(client, name)
    found = evaluation.evaluate(client, tuned_models, test, present, config)

    tags = tuned_models["tags"] | found.version_tags()
    passed = all(gate.passed for gate in found.gates)
    version = promotion.register(client, name, found.run_id, tags, passed=passed)
    if passed and (present is None or settings.promotion == "auto"):
        promotion.promote(client, name, found.run_id)
    champion = promotion.champion(client, name)
    facts = model_card.Facts(
        name=f"{name} version {version.version}",
        run_id=found.run_id,
        sha256=found.record["sha256"],
        threshold=found.record["threshold"],
        synthetic=tags["synthetic"] == "true",
        training_customers=tuned_models["search"]["customers"],
        searched_customers=tuned_models["search"]["searched_customers"],
        trials=tuned_models["search"]["trials"],
        tags=tags,
        params=found.record["params"],
    )
    card = model_card.write(facts, test, found.predicted, found.comparison, found.gates)
    client.log_text(found.run_id, card, "model_card.md")
    pictures = plots.model_plots(found.booster, test.churned, found.predicted)
    for title, figure in pictures.items():
        client.log_figure(found.run_id, figure, f"plots/test_{title}.png")
    context.log.info(
        f"version {version.version}: gates {'passed' if passed else 'FAILED'}; "
        f"champion is version {champion.version if champion else 'none'}"
    )
    return dg.MaterializeResult(
        value={
            "run_id": found.run_id,
            "version": str(version.version),
            "sha256": found.record["sha256"],
            "threshold": found.record["threshold"],
            "champion_version": str(champion.version) if champion else None,
            "passed": passed,
            "gates": selection.records(found.gates),
            "metrics": found.metrics,
            "synthetic": facts.synthetic,
        },
        metadata={
            "model_card": dg.MetadataValue.md(card),
            "mlflow_run": dg.MetadataValue.url(
                run_url(found.run_id, tuned_models["experiment_id"])
            ),
            "version": int(version.version),
            "champion_version": int(champion.version) if champion else None,
            "passed": passed,
            "sha256": found.record["sha256"],
            **found.metrics,
            "pictures": markdown.pictures(pictures),
        },
    )


def _shown(rank: int, record: dict[str, Any], experiment_id: str) -> dict[str, Any]:
    return {
        "rank": f"[{rank}]({run_url(record['run_id'], experiment_id)})",
        "trial": record["trial"],
        "CV log loss, both tiers": record["loss"],
        "CV ROC AUC full": record["metrics"]["valid_full_roc_auc"],
        "CV ROC AUC core": record["metrics"]["valid_core_roc_auc"],
        "SHA-256": record["sha256"][:12],
    }
