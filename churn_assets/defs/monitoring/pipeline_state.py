"""What Prometheus should know of the pipeline: champion, reports, Dagster's runs."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from bento.champion import Champion, ChampionError, live_folder, read_champion, read_live
from bento.depot import Depot
from bento.settings import Settings
from churn_assets.defs.monitoring.pages import NEWEST
from churn_assets.defs.monitoring.publishing import REPORTS_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NEWEST_RUNS = 200
_QUERY = f"{{runsOrError(limit:{NEWEST_RUNS}){{... on Runs{{results{{jobName status endTime}}}}}}}}"
_TIMEOUT_S = 5


@dataclass
class PipelineState:
    """One look at the pipeline; what could not be read is empty."""

    champion: Champion | None = None
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Window and alarm of the newest report of each kind."""
    runs: list[Mapping[str, Any]] | None = None
    """Dagster's newest runs; None when it does not answer."""

    def collect(self) -> Iterator[Metric]:
        """The state as metrics."""
        yield from _champion_metrics(self.champion)
        yield from _report_metrics(self.reports)
        yield from _run_metrics(self.runs)


def look(settings: Settings, s3: "S3Client", depot: Depot | None) -> PipelineState:
    """Read the champion's manifest, the newest reports and Dagster's runs."""
    runs = dagster_runs(f"{settings.dagster_address}/graphql")
    return PipelineState(_champion(settings, depot), _reports(s3, settings.churn_bucket), runs)


def _reports(s3: "S3Client", bucket: str) -> dict[str, dict[str, Any]]:
    """What `publish` has noted: an object of one line a kind, however many reports there are."""
    try:
        body = s3.get_object(Bucket=bucket, Key=REPORTS_PREFIX + NEWEST)["Body"].read()
        found: dict[str, dict[str, Any]] = json.loads(body)
        return found
    except (BotoCoreError, ClientError, ValueError):
        return {}


def _champion(settings: Settings, depot: Depot | None) -> Champion | None:
    """The live one; while the depot does not answer, the one that was live before."""
    pointer = settings.live_pointer
    if depot:
        with suppress(ChampionError):
            depot.fetch()
    try:
        live = read_live(pointer)
        return read_champion(live_folder(pointer, live)) if live else None
    except ChampionError:
        return None


def dagster_runs(url: str) -> list[Mapping[str, Any]] | None:
    """The newest runs by Dagster's GraphQL API; None when it does not answer."""
    body = json.dumps({"query": _QUERY}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  our own setting
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            runs: list[Mapping[str, Any]] = json.load(answer)["data"]["runsOrError"]["results"]
            return runs
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _champion_metrics(champion: Champion | None) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "churn_champion_info", "1, labelled with the champion.", labels=["version", "model_run_id"]
    )
    created = GaugeMetricFamily(
        "churn_champion_created_timestamp_seconds", "When the champion was packaged."
    )
    quality = GaugeMetricFamily(
        "churn_champion_quality", "The champion on its test set.", labels=["tier", "metric"]
    )
    if champion:
        info.add_metric([champion.model_version, champion.model_run_id], 1)
        created.add_metric([], datetime.fromisoformat(champion.created_at).timestamp())
        for tier, metrics in champion.tiers.items():
            for name, value in metrics.items():
                quality.add_metric([tier, name], value)
    yield from (info, created, quality)


def _report_metrics(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    ended = GaugeMetricFamily(
        "churn_report_window_end_timestamp_seconds",
        "End of the newest window with a report.",
        labels=["kind"],
    )
    alarm = GaugeMetricFamily(
        "churn_report_alarm", "1 when the newest report is an alarm.", labels=["kind"]
    )
    for kind, report in reports.items():
        ended.add_metric([kind], datetime.fromisoformat(report["window"][1]).timestamp())
        alarm.add_metric([kind], float(report["alarm"]))
    yield from (ended, alarm)


def _run_metrics(runs: list[Mapping[str, Any]] | None) -> Iterator[Metric]:
    yield GaugeMetricFamily("churn_dagster_up", "1 when Dagster answers.", value=runs is not None)
    counted = GaugeMetricFamily(
        "churn_dagster_runs",
        f"The newest {NEWEST_RUNS} runs by job and status.",
        labels=["job", "status"],
    )
    ended = GaugeMetricFamily(
        "churn_dagster_last_success_timestamp_seconds",
        "When a job last succeeded.",
        labels=["job"],
    )
    found = runs or []
    for (job, status), number in Counter((r["jobName"], r["status"]) for r in found).items():
        counted.add_metric([job, status], number)
    for job in {r["jobName"] for r in found}:
        ends = [r["endTime"] for r in found if r["jobName"] == job and r["status"] == "SUCCESS"]
        if ends:
            ended.add_metric([job], max(ends))
    yield from (counted, ended)
