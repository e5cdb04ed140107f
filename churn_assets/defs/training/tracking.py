"""Trials and models in MLflow; trials are written by one thread beside the search."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from churn_assets.defs.training import plots
from churn_assets.defs.training.tuning import Search, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient


class TrialLog:
    """Child runs of one parent, one a trial: parameters, and metrics per fold and their means.

    Used as a context manager: leaving it waits for what is still to be written, and
    raises the first error there was, so that no trial is lost silently.
    """

    def __init__(self, client: "MlflowClient", experiment_id: str, parent_run_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._parent = parent_run_id
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._written: list[Future[None]] = []

    def __call__(self, trial: Trial) -> None:
        """Have a finished trial written."""
        self._written.append(self._writer.submit(self._write, trial))

    def __enter__(self) -> "TrialLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for future in self._written:
                future.result()

    def _write(self, trial: Trial) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        run = child_run(self._client, self._experiment_id, self._parent, f"trial {trial.number}")
        means = trial.mean_metrics() | {
            "loss": trial.loss,
            "fit_s": sum(f.fit_s for f in trial.folds),
        }
        values = [Metric(name, value, now, 0) for name, value in means.items()]
        values += [
            Metric(f"fold/{name}", value, now, step)
            for step, fold in enumerate(trial.folds)
            for name, value in fold.metrics.items()
        ]
        self._client.log_batch(
            run,
            metrics=values,
            params=[Param(name, str(value)) for name, value in trial.params.items()],
            tags=[
                RunTag("kind", "trial"),
                RunTag("trial", str(trial.number)),
                RunTag("state", "pruned" if trial.pruned else "complete"),
            ],
        )
        self._client.set_terminated(run)


def child_run(client: "MlflowClient", experiment_id: str, parent: str, name: str) -> str:
    """Create a run below `parent`; returns its id."""
    run = client.create_run(experiment_id, run_name=name, tags={"mlflow.parentRunId": parent})
    return str(run.info.run_id)


def log_search(client: "MlflowClient", run_id: str, search: Search) -> "Figure":
    """Log the table of trials and the search's history to the parent run; returns the picture."""
    import numpy as np

    losses = np.array([trial.loss for trial in search.trials])
    pruned = np.array([trial.pruned for trial in search.trials])
    figure = plots.history(losses, pruned)
    client.log_figure(run_id, figure, "search/history.png")
    client.log_text(
        run_id, search.study.trials_dataframe().to_csv(index=False), "search/trials.csv"
    )
    return figure
