"""Every panel's expression, on a real Prometheus that scrapes the running platform."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import msgspec
import pytest
import yaml
from dagster_aws.s3 import S3Resource

from bento.champion import live_folder, read_live
from bento.runner import ChurnRunner
from bento.settings import Settings, get_settings
from bento.store import open_store
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.drift_assets import drift_report
from churn_assets.defs.monitoring.log_assets import prediction_log
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets_tests.champions import random_customers
from churn_assets_tests.conftest import free_port
from churn_assets_tests.monitoring.samples import answered, cleaned
from churn_assets_tests.serving import Server, churn_service, live_champion
from churn_assets_tests.streaming import create_streams, numbered_customers, send, stream_worker
from deploy.embedded.monitoring import prometheus_config

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PATIENCE_S = 60

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is missing")
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed"
)


def panels() -> Iterator[tuple[str, str, str]]:
    """Dashboard, panel and expression."""
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield board["title"], panel["title"], target["expr"]


@needs_promtool
def test_rules_ring_and_rest_as_their_tests_say() -> None:
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]):
        subprocess.run(["promtool", *arguments], cwd=DEPLOY / "prometheus", check=True)


def test_every_alert_has_a_test() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    tested = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]
    ringing = {
        check["alertname"]
        for test in tested
        for check in test.get("alert_rule_test", [])
        if check.get("exp_alerts")
    }
    assert alerts == ringing


def test_dashboards_are_provisioned_and_distinct() -> None:
    boards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana").rglob("churn-*.json")]
    assert {board["uid"] for board in boards} == {
        f"churn-{name}" for name in ("service", "stream", "model", "drift", "pipeline")
    }
    source = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"][0]["uid"]
    for board in boards:
        assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source}


def post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()


def query(base: str, expression: str) -> list[Any]:
    asked = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{base}/api/v1/query?{asked}", timeout=10) as answer:
        found = json.load(answer)
    assert found["status"] == "success", found
    result: list[Any] = found["data"]["result"]
    return [one for one in result if one["value"][1] != "NaN"]


def report_something(home: Path, runner: ChurnRunner) -> None:
    """A run of the reporting assets in a Dagster instance under `home`."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).replace(hour=12, minute=0)
    store = open_store(get_settings())
    store.write(answered(random_customers(50, seed=50), runner, yesterday))
    store.close()
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        dg.materialize(
            [prediction_log, drift_report],
            partition_key=f"{yesterday:%Y-%m-%d-12:00}",
            resources={
                "s3": S3Resource(),
                "io_manager": dg.mem_io_manager,
                "prediction_store": PredictionStoreResource(),
            },
            instance=instance,
        )


@pytest.fixture
def prometheus(emulator: str, tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """URL of a Prometheus that scrapes the service, a worker and the exporter; and some traffic."""
    home = get_settings().churn_home
    live_champion(home)
    live = read_live(get_settings().live_pointer)
    assert live
    runner = ChurnRunner(live_folder(get_settings().live_pointer, live))
    table = reference.build(cleaned(random_customers(3_000, seed=51, core_share=0)), runner)
    reference.save(boto3.client("s3"), get_settings().churn_bucket, live.model_run_id, table)
    (home / "dagster").mkdir(parents=True)
    report_something(home, runner)

    streams = {"STREAM_IN": "watched-in", "STREAM_OUT": "watched-out"}
    names = {"STREAM_LEASE_TABLE": "watched", "OUTBOX_SHIP_SECONDS": "0.1", **streams}
    kinesis = boto3.client("kinesis")
    create_streams(kinesis, 1, *streams.values())
    service = churn_service(home, **names)
    worker = stream_worker(home, "worker", **names)
    ports = {name: free_port() for name in ("EXPORTER", "DAGSTER", "PROMETHEUS")}
    set_ports = {f"{name}_PORT": str(port) for name, port in ports.items()}
    web = [
        *(sys.executable, "-m", "dagster_webserver", "--empty-workspace"),
        *("--host", "127.0.0.1", "--port", str(ports["DAGSTER"])),
    ]
    dagster = Server(
        web, ports["DAGSTER"], home / "web.log", "/server_info", DAGSTER_HOME=str(home / "dagster")
    )
    exporter = Server(
        [sys.executable, "-m", "churn_assets.exporter"],
        ports["EXPORTER"],
        home / "exporter.log",
        "/metrics",
        **set_ports,
    )
    settings = Settings(
        churn_home=home,
        http_port=service.port,
        stream_metrics_port=worker.port,
        exporter_port=ports["EXPORTER"],
        prometheus_port=ports["PROMETHEUS"],
    )
    config = prometheus_config(settings)
    slow = config.read_text()
    config.write_text(slow.replace("interval: 15s", "interval: 2s").replace(": 5s", ": 2s"))
    server = Server(
        [
            *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"),
            f"--web.listen-address=127.0.0.1:{ports['PROMETHEUS']}",
        ],
        ports["PROMETHEUS"],
        home / "prometheus.log",
        "/-/ready",
    )
    with ExitStack() as stack:
        for one in (dagster, service, worker, exporter, server):
            stack.enter_context(one)
        yield server.url, lambda: traffic(service, kinesis, streams["STREAM_IN"])


def traffic(service: Server, kinesis: Any, stream: str) -> None:
    customers = random_customers(500, seed=52)
    for customer in customers[:50]:
        post(f"{service.url}/predict", msgspec.json.encode(customer))
    post(f"{service.url}/predict", msgspec.json.encode(customers))
    post(f"{service.url}/predict", b"{}")
    send(kinesis, stream, numbered_customers(200))
    kinesis.put_record(StreamName=stream, Data=b"{}", PartitionKey="0")


@needs_prometheus
def test_every_panel_shows_data(prometheus: tuple[str, Callable[[], None]]) -> None:
    url, traffic = prometheus
    missing = list(panels())
    assert len(missing) > 50
    deadline = time.monotonic() + PATIENCE_S
    while missing and time.monotonic() < deadline:
        traffic()  # a rate needs a counter that was seen to grow
        time.sleep(2)
        missing = [panel for panel in missing if not query(url, panel[2])]
    assert not missing, "\n".join(map(str, missing))
    rules = json.load(urllib.request.urlopen(f"{url}/api/v1/rules", timeout=10))
    health = {
        rule["name"]: rule["health"] for group in rules["data"]["groups"] for rule in group["rules"]
    }
    assert set(health.values()) == {"ok"}, health
