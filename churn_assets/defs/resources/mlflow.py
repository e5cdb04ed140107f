"""MLflow through dagster-mlflow, with two of its faults mended.

dagster-mlflow 0.29 gives all steps of a Dagster run one MLflow run, but:

- it searches for that run and creates it in two steps, so that parallel steps create
  two. Here one step at a time does both.
- a failed Dagster run ends as FINISHED: when its resource closes, no exception is in
  flight any more, and at exit MLflow finishes what is still open. Here the resource
  ends the run by what the Dagster instance knows of its steps.
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from bento.settings import get_settings

if TYPE_CHECKING:
    from dagster_mlflow.resources import MlFlow

_CREDENTIALS = re.compile(r"(?<=://)[^/@]+@")


@dg.resource(
    description="The MLflow run of this Dagster run: created by its first step, ended with the run."
)
def mlflow_run(context: dg.InitResourceContext) -> "Iterator[MlFlow]":
    """dagster-mlflow's resource: MLflow's functions, with the run of this Dagster run active."""
    from dagster_mlflow.resources import MlFlow
    from mlflow.entities import RunStatus

    tracking: Any = None
    try:
        with _one_step_at_a_time(_run_id(context)):
            tracking = MlFlow(_WithConfig(context))  # type: ignore[no-untyped-call]
        yield tracking
    finally:
        if tracking is not None:
            failed = run_failed(context)
            tracking.end_run(
                RunStatus.to_string(RunStatus.FAILED if failed else RunStatus.FINISHED)
            )


class _WithConfig:
    """The context as dagster-mlflow reads it, configured by the platform's settings."""

    def __init__(self, context: dg.InitResourceContext) -> None:
        settings = get_settings()
        self.log = context.log
        self.dagster_run = context.run
        self.run_id = _run_id(context)
        self.resource_config = {
            "experiment_name": settings.mlflow_experiment,
            "mlflow_tracking_uri": settings.mlflow_tracking_uri,
        }


def _run_id(context: dg.InitResourceContext) -> str:
    if context.run is None:
        raise dg.DagsterInvariantViolationError("the mlflow resource needs a Dagster run")
    return context.run.run_id


def run_failed(context: dg.InitResourceContext) -> bool:
    """Whether any step of this Dagster run has failed so far."""
    if context.instance is None:
        return False
    return bool(
        context.instance.get_records_for_run(
            _run_id(context), of_type=dg.DagsterEventType.STEP_FAILURE, limit=1
        ).records
    )


@contextmanager
def _one_step_at_a_time(run_id: str) -> Iterator[None]:
    """Hold this Dagster run's lock; its steps share the machine, under every executor used here."""
    folder = get_settings().churn_home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mlflow-{run_id}"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_url(run_id: str, experiment_id: str) -> str:
    """Where a person looks at an MLflow run; never with the credentials of its address."""
    settings = get_settings()
    address = settings.mlflow_public_url or settings.mlflow_tracking_uri
    server = _CREDENTIALS.sub("", address).rstrip("/")
    return f"{server}/#/experiments/{experiment_id}/runs/{run_id}"


@dg.definitions
def defs() -> dg.Definitions:
    """`mlflow`."""
    return dg.Definitions(resources={"mlflow": mlflow_run})
