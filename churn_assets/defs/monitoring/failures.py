"""What failed and why, for whoever reads the logs: one hook for the runs of all jobs."""

import logging

import dagster as dg

log = logging.getLogger("churn.failures")


@dg.run_failure_sensor(
    monitor_all_code_locations=False,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def log_failures(context: dg.RunFailureSensorContext) -> None:
    """Logs each failed run: job, partition, the steps that failed and the error behind it."""
    message = describe(context)
    context.log.error(message)
    log.error(message)


def describe(context: dg.RunFailureSensorContext) -> str:
    """One line on what failed and why."""
    run = context.dagster_run
    partition = f" for {run.tags['dagster/partition']}" if "dagster/partition" in run.tags else ""
    steps = [
        f"{event.step_key}: {_cause(event.step_failure_data.error)}"
        for event in context.get_step_failure_events()
    ]
    reason = "; ".join(steps) or _first_line(context.failure_event.message or "no reason given")
    return f"{run.job_name}{partition} failed (run {run.run_id}): {reason}"


def _cause(error: object) -> str:
    """The innermost error: Dagster's own say only that a step failed."""
    while cause := getattr(error, "cause", None):
        error = cause
    return _first_line(str(getattr(error, "message", None) or "no reason given"))


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
