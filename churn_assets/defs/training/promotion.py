"""Versions of the model in MLflow's registry: challenger, champion, and the way back.

`champion` and `challenger` are registry aliases. The champions before the present
one are kept in the registered model's tag `former_champions`, latest first.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
GATES_TAG, PASSED, FAILED = "gates", "passed", "failed"
FORMER = "former_champions"


class PromotionError(RuntimeError):
    """The registry cannot be changed as asked; the message says why and what would help."""


def champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The champion's version, or None."""
    return _aliased(client, name, CHAMPION)


def register(
    client: "MlflowClient", name: str, run_id: str, tags: dict[str, str], *, passed: bool
) -> "ModelVersion":
    """Register a run's model as a new version; one that passed its gates becomes challenger."""
    import mlflow

    tags = tags | {GATES_TAG: PASSED if passed else FAILED}
    version = mlflow.register_model(f"runs:/{run_id}/model", name, tags=tags)
    if passed:
        client.set_registered_model_alias(name, CHALLENGER, version.version)
    return client.get_model_version(name, version.version)


def promote(client: "MlflowClient", name: str, run_id: str) -> "ModelVersion":
    """Make the version of `run_id` champion, if it passed its gates.

    Promoting the present champion changes nothing. Raises `PromotionError`.
    """
    found = client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
    if not found:
        known = sorted(client.search_model_versions(f"name='{name}'"), key=_number, reverse=True)
        runs = ", ".join(f"{v.run_id} (version {v.version})" for v in known[:5]) or "none"
        raise PromotionError(f"RUN_ID={run_id} is no version of {name}; the latest: {runs}")
    chosen = max(found, key=_number)
    if chosen.tags.get(GATES_TAG) != PASSED:
        raise PromotionError(
            f"version {chosen.version} of {name} (run {run_id}) did not pass its gates: "
            "see the checks of best_model"
        )
    present = champion(client, name)
    if present is None or present.version != chosen.version:
        former = [present.version, *_former(client, name)] if present else []
        _crown(client, name, chosen.version, former)
    return chosen


def rollback(client: "MlflowClient", name: str) -> "ModelVersion":
    """Make the champion before the present one champion again; raises `PromotionError`."""
    present = champion(client, name)
    former = [v for v in _former(client, name) if present is None or v != present.version]
    if not former:
        raise PromotionError(f"{name} has no former champion to go back to")
    _crown(client, name, former[0], former[1:])
    return client.get_model_version(name, former[0])


def _crown(client: "MlflowClient", name: str, version: str, former: list[str]) -> None:
    client.set_registered_model_tag(name, FORMER, ",".join(former))
    client.set_registered_model_alias(name, CHAMPION, version)
    challenger = _aliased(client, name, CHALLENGER)
    if challenger and challenger.version == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _former(client: "MlflowClient", name: str) -> list[str]:
    tags = client.get_registered_model(name).tags
    return [version for version in tags.get(FORMER, "").split(",") if version]


def _aliased(client: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import (
        INVALID_PARAMETER_VALUE,
        RESOURCE_DOES_NOT_EXIST,
        ErrorCode,
    )

    absent = {ErrorCode.Name(INVALID_PARAMETER_VALUE), ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)}
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in absent:
            return None
        raise


def _number(version: Any) -> int:
    return int(version.version)
