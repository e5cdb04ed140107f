"""The champion as the servers take it."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from bento.champion import Champion, ChampionError
from bento.depot import ConflictError, Depot, open_depot
from bento.settings import Settings, get_settings
from churn_assets.defs.features.cleaning import to_customers
from churn_assets.defs.release import bentos, live, packaging, registry
from churn_assets.defs.training.dataset import blanked, build

GOLDEN = 20
"""Customers of the smoke test, evenly spaced over the training data."""


@dg.asset(
    group_name="release",
    kinds={"bentoml", "onnx"},
    owners=["team:data-science"],
    deps=["best_model"],
)
def champion_bento(
    context: dg.AssetExecutionContext, cleaned_features: pd.DataFrame
) -> dg.MaterializeResult[dict[str, Any]]:
    """The registry's champion, packaged, tested and live.

    The model is converted to ONNX, must agree with XGBoost within 1e-6 on every row of
    the training data in both tiers, goes into the BentoML model store and into a Bento,
    and must answer golden customers rightly from the Bento's code in a child process.
    Only then the live pointer moves, which HTTP service and stream workers follow.

    With `RUN_ID` set that run is packaged instead, and the pointer is left alone:
    pinned servers find the package by its run id.
    """
    settings = get_settings()
    try:
        value, parity = _release(context, settings, cleaned_features)
    except ChampionError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    tiers = {f"{t}_{name}": v for t, found in value["tiers"].items() for name, v in found.items()}
    return dg.MaterializeResult(
        value=value,
        data_version=dg.DataVersion(value["tag"]),
        metadata={
            **{name: v for name, v in value.items() if name != "tiers"},
            **tiers,
            **parity,
        },
    )


def _release(
    context: dg.AssetExecutionContext, settings: Settings, features: pd.DataFrame
) -> tuple[dict[str, Any], dict[str, float]]:
    depot = open_depot(settings)
    if depot:
        depot.take_over()
    wanted = _wanted(settings)
    context.log.info("packaging version %s of run %s", wanted.version, wanted.run_id)
    model, origin = registry.fetch(settings, wanted)
    matrix = build(features).features
    folder, champion, difference = packaging.keep(
        settings.live_pointer.parent, model, origin, np.concatenate([matrix, blanked(matrix)])
    )
    tag = live.model_tag(folder)
    bentos.import_model(folder, champion, tag)
    context.log.info("building the Bento of %s", tag)
    start = time.perf_counter()
    bento = bentos.build(tag, champion)
    build_s = time.perf_counter() - start
    golden = to_customers(features.iloc[np.linspace(0, len(features) - 1, GOLDEN).astype(int)])
    smoke = bentos.smoke_test(bento.path, folder, golden, packaging.expected(model, golden))
    if smoke > packaging.PARITY:
        raise ChampionError(f"smoke test: answers differ from the model's by {smoke:.2e}")
    if depot:
        depot.add(folder, live.pointer_to(folder, champion.model_run_id))
    value = {
        "tag": tag,
        "bento": bento.tag,
        "folder": str(folder),
        "model_version": champion.model_version,
        "model_run_id": champion.model_run_id,
        "threshold": champion.threshold,
        "synthetic": champion.synthetic,
        "tiers": champion.tiers,
        "live": _go_live(context, settings, depot, folder, champion),
    }
    return value, {
        "parity": difference,
        "smoke_parity": smoke,
        "rows_compared": 2 * len(matrix),
        "build_s": build_s,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def _wanted(settings: Settings) -> registry.Wanted:
    if settings.run_id:
        return registry.of_run(settings, settings.run_id)
    wanted = registry.champion(settings)
    if wanted is None:
        raise ChampionError(
            f"no version of {settings.registered_model} has the alias champion: run `make promote`"
        )
    return wanted


def _go_live(
    context: dg.AssetExecutionContext,
    settings: Settings,
    depot: Depot | None,
    folder: Path,
    champion: Champion,
) -> bool:
    if settings.run_id:
        context.log.info("RUN_ID is set: servers that are pinned to it load it now")
        return False
    try:
        return _release_unless_held(context, settings, depot, folder, champion)
    except ConflictError:
        # Often the same champion: the sensor asks for what a training's own run is releasing.
        if depot:
            depot.take_over()
        if (wanted := _wanted(settings)).run_id != champion.model_run_id:
            context.log.warning("version %s is the champion by now", wanted.version)
            return False
        return _release_unless_held(context, settings, depot, folder, champion)


def _release_unless_held(
    context: dg.AssetExecutionContext,
    settings: Settings,
    depot: Depot | None,
    folder: Path,
    champion: Champion,
) -> bool:
    if taken_off := live.held(settings.live_pointer, champion.model_run_id):
        context.log.warning(
            "version %s was taken off by hand at %s and stays off: promote another version, "
            "or `python -m churn_assets.release to %s`",
            champion.model_version,
            taken_off.at,
            live.model_tag(folder),
        )
        return False
    now = live.release(settings.live_pointer, folder, "registry", depot)
    context.log.info("%s is live", now.tag)
    return True
