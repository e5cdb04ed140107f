"""The refitted models on the untouched test customers, beside the champion."""

import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento.champion import XGBOOST_FILE
from churn_assets.defs.training import model, selection
from churn_assets.defs.training.config import GateConfig
from churn_assets.defs.training.dataset import Dataset
from churn_assets.defs.training.selection import Comparison, Gate, Predicted

if TYPE_CHECKING:
    import xgboost as xgb
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


class ModelMismatchError(RuntimeError):
    """A model's bytes are not those that were logged."""


@dataclass(frozen=True)
class Evaluation:
    """The best candidate: its record in `tuned_models`, P(leave) by tier, metrics and gates."""

    record: dict[str, Any]
    booster: "xgb.Booster"
    predicted: Predicted
    metrics: dict[str, float]
    comparison: Comparison
    gates: list[Gate]

    @property
    def run_id(self) -> str:
        """MLflow run of the model."""
        return str(self.record["run_id"])

    def version_tags(self) -> dict[str, str]:
        """What the registered version says of the model: hash, threshold, tier metrics."""
        tiers = {name.removeprefix("test_"): f"{v:.6f}" for name, v in self.metrics.items()}
        return tiers | {
            "sha256": str(self.record["sha256"]),
            "threshold": repr(self.record["threshold"]),
        }


def evaluate(
    client: "MlflowClient",
    tuned_models: dict[str, Any],
    test: Dataset,
    champion: "ModelVersion | None",
    config: GateConfig,
) -> Evaluation:
    """Measure every candidate, log its `test_*` metrics, and put the best through the gates."""
    records = tuned_models["top"]
    boosters = [load(f"runs:/{record['run_id']}/model", record["sha256"]) for record in records]
    predictions = [model.predict_tiers(booster, test.features) for booster in boosters]
    found = [
        model.tier_metrics("test", test.churned, predicted, record["threshold"])
        for record, predicted in zip(records, predictions, strict=True)
    ]
    for record, values in zip(records, found, strict=True):
        log_metrics(client, record["run_id"], values)
    best = selection.choose(predictions, test.churned)
    present = _predict(champion, test) if champion else None
    comparison = selection.compare(test.churned, predictions[best], present, seed=0)
    gates = selection.judge(
        test,
        predictions[best],
        records[best]["threshold"],
        comparison,
        selection.latency_ms(boosters[best], test.features),
        selection.Margins(
            {"full": config.margin_full, "core": config.margin_core},
            config.max_ece,
            config.max_latency_ms,
        ),
    )
    return Evaluation(
        records[best], boosters[best], predictions[best], found[best], comparison, gates
    )


def _predict(version: "ModelVersion", test: Dataset) -> Predicted:
    booster = load(f"models:/{version.name}/{version.version}", version.tags.get("sha256"))
    return model.predict_tiers(booster, test.features)


def load(uri: str, sha256: str | None) -> "xgb.Booster":
    """The model at an MLflow URI; `ModelMismatchError` unless its bytes have this SHA-256.

    A champion registered by hand may carry no hash: None skips the comparison. Only the
    booster's own file is read: MLflow's loader would import whatever class and code the
    artifact names, and so run what anyone with access to the artifacts has put there.
    """
    import mlflow
    import xgboost

    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(f"{uri}/{XGBOOST_FILE}", dst_path=folder)
        content = Path(path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ModelMismatchError(f"{uri}: SHA-256 {found}, logged as {sha256}")
    booster = xgboost.Booster(model_file=bytearray(content))
    booster.set_param({"nthread": 1})
    return booster


def log_metrics(client: "MlflowClient", run_id: str, values: dict[str, float]) -> None:
    """Log final metrics of a run in one request."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(name, value, now, 0) for name, value in values.items()])
