"""`make demo`: from nothing to a champion that is watched, with a line for each stage.

The training job runs in Dagster's own queue, so that the UI shows the run as it shows any
other; this module only asks for it, follows its events and sums up.
"""

import argparse
import logging
import threading
import time
from collections.abc import Iterator

import dagster as dg
import psutil
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from rich.console import Console
from rich.table import Table

from bento.settings import Settings, get_settings
from churn_assets.defs.ingest.jobs import TRAINING_JOB
from churn_assets.simulator import stream
from churn_assets.simulator.source import synthetic
from churn_assets.synthetic.generator import NONE
from deploy.embedded import loop, stack
from deploy.embedded.servers import SERVERS, PlatformError, Supervisor

CODE_PATIENCE_S = 120
STREAMED = 100
METRICS = ("roc_auc", "average_precision", "f1", "accuracy", "log_loss", "brier", "rmse", "ece")

console = Console(highlight=False)


class StageError(RuntimeError):
    """A stage of the run failed; the message names it and where to read on."""


class PeakMemory(threading.Thread):
    """Samples the memory of the platform's processes and of this one, until stopped."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(daemon=True)
        self.supervisor = supervisor
        self.megabytes = 0.0
        self._stopped = threading.Event()

    def run(self) -> None:
        """Keep the highest sum seen, twice a second."""
        while not self._stopped.wait(0.5):
            if self.supervisor.is_running():
                family = [*stack.processes(self.supervisor), psutil.Process()]
                self.megabytes = max(self.megabytes, sum(map(_megabytes, family)))

    def stop(self) -> float:
        """Stop sampling; the peak in MB."""
        self._stopped.set()
        self.join()
        return self.megabytes


def _megabytes(process: psutil.Process) -> float:
    """Memory of one process; pages it shares count in parts, where the system can tell."""
    try:
        memory = process.memory_full_info()
    except psutil.Error:
        return 0.0
    return float(getattr(memory, "pss", memory.rss)) / 1e6


def demo(*, once: bool) -> None:
    """Start the platform, train, release and show what came out."""
    began = time.monotonic()
    settings = get_settings()
    memory = PeakMemory(Supervisor(settings))
    memory.start()
    try:
        stack.up()
        dagster_url = next(server.url for server in SERVERS if server.name == "dagster")
        run_id = _launch(settings)
        console.print(f"\n{TRAINING_JOB}: {dagster_url}runs/{run_id}", soft_wrap=True)
        _follow(run_id, settings, f"{dagster_url}runs/{run_id}")
        peak = memory.stop()
        _sum_up(settings, f"{dagster_url}runs/{run_id}", time.monotonic() - began, peak)
        _stream(settings)
        loop.show(settings)
    finally:
        if once:
            stack.down()
    if not once:
        console.print("The platform keeps running: `make status`, `make logs`, `make down`.")


def _launch(settings: Settings) -> str:
    """Queue the training job as the UI's Launch button does; waits for the code to be loaded."""
    client = DagsterGraphQLClient("127.0.0.1", port_number=settings.dagster_port)
    deadline = time.monotonic() + CODE_PATIENCE_S
    with console.status("Dagster: loading the assets"):
        while True:
            try:
                return client.submit_job_execution(TRAINING_JOB)
            except DagsterGraphQLClientError as error:
                loaded = client.reload_repository_location("churn_assets")
                if loaded.failure_type == "PythonError":
                    raise StageError(f"the assets do not load: {loaded.message}") from error
                if time.monotonic() > deadline:
                    raise StageError(f"launch: {error}") from error
            time.sleep(1)


def _follow(run_id: str, settings: Settings, url: str) -> None:
    """Show each stage while it runs, and its time when it ends; raises `StageError`."""
    log = settings.churn_home / "logs" / "dagster-code.log"
    started: dict[str, float] = {}
    with dg.DagsterInstance.get() as instance, console.status("run: queued") as line:
        for entry in _events(instance, run_id):
            event, step = entry.dagster_event, entry.step_key or ""
            if event is None and int(entry.level) < logging.INFO:
                continue
            if event is None:
                line.update(f"{step}: {entry.user_message}")
                if not console.is_terminal:
                    console.print(f"    {entry.user_message}", soft_wrap=True)
            elif event.event_type == dg.DagsterEventType.STEP_START:
                started[step] = entry.timestamp
                line.update(f"{step}: running")
            elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
                console.print(f"  {step:<40} {entry.timestamp - started[step]:6.1f} s")
            elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
                error = event.step_failure_data.error
                while error and error.cause:
                    error = error.cause
                reason = error.message.strip() if error else "no reason given"
                raise StageError(f"{step} failed: {reason}\nread {url} or {log}")
        run = instance.get_run_by_id(run_id)
        if run is None or run.status is not dg.DagsterRunStatus.SUCCESS:
            ended = run.status.value if run else "deleted"
            raise StageError(f"the run ended as {ended}\nread {url} or {log}")


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogEntry]:
    """Every event of a run as it happens, until the run is over and all were given."""
    cursor: str | None = None
    while True:
        run = instance.get_run_by_id(run_id)
        found = instance.get_records_for_run(run_id, cursor=cursor)
        cursor = found.cursor
        yield from (record.event_log_entry for record in found.records)
        if (run is None or run.is_finished) and not found.records:
            return
        time.sleep(0.5)


def _stream(settings: Settings) -> None:
    """Send customers into the stream and read their answers back; raises `StageError`."""
    worker = next(server for server in SERVERS if server.name == "stream")
    stack.wait(worker, Supervisor(settings))
    console.print(
        f"\n{STREAMED} customers over Kinesis, {settings.stream_in} to {settings.stream_out}"
    )
    answered = stream.send(synthetic(NONE, seed=3), every_s=0.05, count=STREAMED)
    if answered < STREAMED:
        raise StageError(f"stream: {answered} of {STREAMED} customers answered; see `make logs`")


def _sum_up(settings: Settings, run_url: str, seconds: float, megabytes: float) -> None:
    """Print the newest model version, its quality on the test set for each tier, and the links."""
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    client = mlflow.MlflowClient()
    name = settings.registered_model
    versions = client.search_model_versions(f"name = '{name}'")
    newest = max(versions, key=lambda version: int(version.version))
    champion = client.get_model_version_by_alias(name, "champion").version
    run = client.get_run(newest.run_id or "")

    table = Table("test set", "full tier", "core tier", title=f"{name} version {newest.version}")
    for metric in METRICS:
        values = [run.data.metrics.get(f"test_{tier}_{metric}") for tier in ("full", "core")]
        table.add_row(metric, *("-" if value is None else f"{value:.4f}" for value in values))
    console.print(table)

    synthetic_data = run.data.tags.get("synthetic") == "true"
    mlflow_url = settings.mlflow_tracking_uri.rstrip("/")
    facts = {
        "champion": f"version {champion}",
        "model run id": newest.run_id,
        "data": "SYNTHETIC customers" if synthetic_data else "your customers",
        "Dagster run": run_url,
        "MLflow run": f"{mlflow_url}/#/experiments/{run.info.experiment_id}/runs/{newest.run_id}",
        "registered model": f"{mlflow_url}/#/models/{name}/versions/{newest.version}",
        "took": f"{seconds:.0f} s",
        "peak memory": f"{megabytes:,.0f} MB, all processes",
    }
    for label, value in facts.items():
        console.print(f"{label:<17} {value}", soft_wrap=True)


def main() -> None:
    """Run the demo; exits 1 with one message when a stage fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop the platform at the end")
    try:
        demo(once=parser.parse_args().once)
    except (StageError, PlatformError) as error:
        console.print(f"[red]{error}[/red]")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
