"""What the MLflow registry says about a champion, and its model file."""

import re
import tempfile
from pathlib import Path

import msgspec

from bento.champion import XGBOOST_FILE, ChampionError, sha256
from bento.settings import Settings
from churn_assets.defs.release.packaging import Origin

ALIAS = "champion"
_TIER_METRIC = re.compile(r"test_(full|core)_(\w+)")


class Wanted(msgspec.Struct, frozen=True):
    """The model that should be packaged."""

    name: str
    version: str
    run_id: str


def champion(settings: Settings) -> Wanted | None:
    """The version with the alias `champion`; None when there is none yet."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(settings.mlflow_tracking_uri)
    try:
        found = client.get_model_version_by_alias(settings.registered_model, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return Wanted(found.name, str(found.version), found.run_id or "")


def of_run(settings: Settings, run_id: str) -> Wanted:
    """The version made by a run (`RUN_ID`); raises `ChampionError` when it is not registered."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri)
    found = client.search_model_versions(
        f"name = '{settings.registered_model}' and run_id = '{run_id}'"
    )
    if not found:
        raise ChampionError(f"RUN_ID={run_id}: no version of {settings.registered_model} is of it")
    newest = max(found, key=lambda version: int(version.version))
    return Wanted(newest.name, str(newest.version), newest.run_id or "")


def fetch(settings: Settings, wanted: Wanted) -> tuple[bytes, Origin]:
    """The model's bytes and what is known of it; raises `ChampionError` when they do not agree."""
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    run = mlflow.get_run(wanted.run_id)
    tags = run.data.tags
    missing = [tag for tag in ("sha256", "data_sha256", "threshold") if tag not in tags]
    if missing:
        raise ChampionError(f"run {wanted.run_id} lacks the tags {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        source = f"models:/{wanted.name}/{wanted.version}"
        path = mlflow.artifacts.download_artifacts(source, dst_path=folder)
        model = (Path(path) / XGBOOST_FILE).read_bytes()
    if sha256(model) != tags["sha256"]:
        raise ChampionError(
            f"{source}: SHA-256 is {sha256(model)[:12]}, its run says {tags['sha256'][:12]}"
        )
    tiers: dict[str, dict[str, float]] = {"full": {}, "core": {}}
    for name, value in run.data.metrics.items():
        if match := _TIER_METRIC.fullmatch(name):
            tiers[match[1]][match[2]] = value
    return model, Origin(
        model_name=wanted.name,
        model_version=wanted.version,
        model_run_id=wanted.run_id,
        threshold=float(tags["threshold"]),
        tiers=tiers,
        data_sha256=tags["data_sha256"],
        synthetic=tags.get("synthetic", "").lower() == "true",
    )
