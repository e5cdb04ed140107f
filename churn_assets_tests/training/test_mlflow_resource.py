"""dagster-mlflow's two faults, each against a real MLflow server."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient

from bento.settings import get_settings
from churn_assets.defs.resources.mlflow import mlflow_run, run_url

EXPERIMENT = "faults"

JOBS = textwrap.dedent(
    """
    import dagster as dg
    from churn_assets.defs.resources.mlflow import mlflow_run

    def logs(name):
        @dg.op(name=name, required_resource_keys={"mlflow"})
        def step(context):
            mlflow = context.resources.mlflow
            mlflow.log_param(name, mlflow.active_run().info.run_id)
        return step

    @dg.op(required_resource_keys={"mlflow"})
    def breaks(context):
        raise RuntimeError("as a step may")

    @dg.job(resource_defs={"mlflow": mlflow_run}, executor_def=dg.in_process_executor)
    def failing():
        breaks()

    @dg.job(resource_defs={"mlflow": mlflow_run}, executor_def=dg.multiprocess_executor)
    def parallel():
        for name in ("one", "two", "three"):
            logs(name)()
    """
)


@pytest.fixture
def experiment(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_EXPERIMENT", EXPERIMENT)
    return EXPERIMENT


def execute(job: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job as a user would from the shell, in a process of its own."""
    (folder / "jobs.py").write_text(JOBS)
    (folder / "home").mkdir(exist_ok=True)
    (folder / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-f", "jobs.py", "-a", job],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )


def runs_of(job: str, experiment: str) -> list[tuple[str, dict[str, str]]]:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return [
        (run.info.status, run.data.params)
        for run in client.search_runs([found.experiment_id])
        if run.info.run_name == job
    ]


def test_a_failed_dagster_run_from_the_shell_ends_as_failed(
    experiment: str, tmp_path: Path
) -> None:
    done = execute("failing", tmp_path)
    assert "as a step may" in done.stderr
    assert done.returncode != 0
    assert [status for status, _ in runs_of("failing", experiment)] == ["FAILED"]


def test_parallel_steps_share_one_mlflow_run(experiment: str, tmp_path: Path) -> None:
    done = execute("parallel", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    [(status, params)] = runs_of("parallel", experiment)
    assert status == "FINISHED"
    assert set(params) == {"one", "two", "three"}
    assert len(set(params.values())) == 1


def test_a_run_that_succeeds_in_process_ends_as_finished(experiment: str) -> None:
    @dg.op(required_resource_keys={"mlflow"})
    def fine(context: dg.OpExecutionContext) -> None:
        context.resources.mlflow.log_metric("seen", 1.0)

    @dg.job(resource_defs={"mlflow": mlflow_run})
    def succeeding() -> None:
        fine()

    assert succeeding.execute_in_process().success
    assert [status for status, _ in runs_of("succeeding", experiment)] == ["FINISHED"]


def test_urls_show_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://someone:secret@mlflow.example/")
    assert run_url("r", "1") == "https://mlflow.example/#/experiments/1/runs/r"


def test_urls_lead_where_browsers_reach_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5051")
    monkeypatch.setenv("MLFLOW_PUBLIC_URL", "https://churn.example/mlflow/")
    get_settings.cache_clear()
    assert run_url("r", "1") == "https://churn.example/mlflow/#/experiments/1/runs/r"
