"""The second half of `make demo`: customers ask, and the drift report says whether they changed.

Customers like those the model knows come first and their report is quiet; then others
come, and their report names the columns that moved. Each is of its own customers only.
`python -m deploy.embedded.loop` shows it on a platform that runs.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from bento.customer import Customer
from bento.settings import Settings, get_settings
from bento.store import open_store
from churn_assets.defs.monitoring.publishing import url_of
from churn_assets.defs.monitoring.windows import window_at
from churn_assets.simulator.http import send
from churn_assets.simulator.source import recorded, synthetic
from churn_assets.synthetic.generator import NONE, Drift
from deploy.embedded import stack
from deploy.embedded.servers import SERVERS, PlatformError, Supervisor

QUIET_CUSTOMERS = 600
DRIFTED_CUSTOMERS = 3_000
DRIFTED = Drift(covariate=0.8)
PATIENCE_S = 60

console = Console(highlight=False)


def show(settings: Settings) -> list[dict[str, Any]]:
    """Send both kinds of customers; returns the two drift reports. Raises `PlatformError`."""
    _wait_for_service(settings)
    source = settings.churn_raw_data
    known = recorded(Path(source)) if source else synthetic(NONE, seed=1)
    found = []
    for title, customers in (
        (f"{QUIET_CUSTOMERS} customers as the model knows them", islice(known, QUIET_CUSTOMERS)),
        (
            f"{DRIFTED_CUSTOMERS} younger, poorer, less active ones",
            islice(synthetic(DRIFTED, seed=2), DRIFTED_CUSTOMERS),
        ),
    ):
        console.print(f"\n{title}")
        since = datetime.now(UTC)
        _ask(settings, customers)
        report = make_report(since)
        colour = "red" if report["alarm"] else "green"
        console.print(f"[{colour}]{report['finding']}[/{colour}]", soft_wrap=True)
        found.append(report)
    _sum_up(found[-1])
    return found


def make_report(since: datetime) -> dict[str, Any]:
    """Log the current window and report on it from `since` on; the schedule will on all of it."""
    from churn_assets.definitions import defs

    window = window_at(since)
    job = defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance, console.status("prediction_log, drift_report"):
        result = job.execute_in_process(
            instance=instance,
            partition_key=window.key,
            asset_selection=[dg.AssetKey("prediction_log"), dg.AssetKey("drift_report")],
            run_config={
                "loggers": {"console": {"config": {"log_level": "WARNING"}}},
                "ops": {"drift_report": {"config": {"since": since.isoformat()}}},
            },
        )
        document: dict[str, Any] = result.output_for_node("drift_report")
        return document


def _wait_for_service(settings: Settings) -> None:
    """The HTTP service is ready a moment after the first champion went live."""
    service = next(server for server in SERVERS if server.name == "http")
    if not service.is_ready():
        stack.wait(service, Supervisor(settings))


def _ask(settings: Settings, customers: Iterator[Customer]) -> None:
    """Post the customers and wait until their predictions are in the store."""
    store = open_store(settings)
    try:
        before = store.count()
        keys = settings.churn_api_keys
        key = keys.get_secret_value().split(",")[0].strip() if keys else None
        url = f"http://127.0.0.1:{settings.http_port}/predict"
        answered = send(customers, url, every_s=0.0, key=key)
        if not answered:
            raise PlatformError(f"{url} answered no customer: `make status`")
        deadline = time.monotonic() + PATIENCE_S
        while store.count() - before < answered:
            if time.monotonic() > deadline:
                raise PlatformError("the predictions do not reach the store: `make logs`")
            time.sleep(0.2)
    finally:
        store.close()


def _sum_up(report: dict[str, Any]) -> None:
    """What has changed most, and where to read on."""
    table = Table("tier", "column", "PSI", "reference → window", title="what has changed")
    for group in report["groups"]:
        for column in group["columns"]:
            if column["drifted"]:
                table.add_row(
                    group["tier"], column["column"], f"{column['psi']:.2f}", column["change"]
                )
    console.print(table)
    console.print(f"report            {url_of(report['html'])}", soft_wrap=True)
    console.print(f"all reports       {url_of('')}", soft_wrap=True)


def main() -> None:
    """Show the loop on the running platform."""
    try:
        show(get_settings())
    except PlatformError as error:
        console.print(f"[red]{error}[/red]")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
