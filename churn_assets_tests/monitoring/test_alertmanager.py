"""An outage on its way: Prometheus sees it, Alertmanager groups, silences and sends it."""

import json
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from churn_assets_tests.conftest import free_port
from churn_assets_tests.serving import Server

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROGRAMS = ("prometheus", "prometheus-alertmanager")
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason=f"{' and '.join(PROGRAMS)} are not installed"
)


@pytest.fixture
def messages() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """URL that takes Alertmanager's messages, and what has come so far."""
    come: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            come.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", come
        server.shutdown()


@pytest.fixture
def alertmanager(tmp_path: Path, messages: tuple[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Our Alertmanager, told where to send; and a Prometheus whose targets are all down."""
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    config["receivers"][0]["webhook_configs"] = [{"url": messages[0]}]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port, scraper = free_port(), free_port()

    rules = (DEPLOY / "prometheus" / "rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules))
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [manager] = config["alerting"]["alertmanagers"]
    manager["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    for job in config["scrape_configs"]:
        target = scraper if job["job_name"] == "prometheus" else free_port()
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))

    servers = {
        port: [
            *("prometheus-alertmanager", f"--config.file={tmp_path / 'alertmanager.yml'}"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
            f"--storage.path={tmp_path / 'alertmanager'}",
        ],
        scraper: [
            *("prometheus", f"--config.file={tmp_path / 'prometheus.yml'}"),
            f"--web.listen-address=127.0.0.1:{scraper}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        ],
    }
    with ExitStack() as stack:
        for number, command in servers.items():
            log = tmp_path / f"{command[0]}.log"
            stack.enter_context(Server(command, number, log, "/-/ready"))
        yield f"http://127.0.0.1:{port}/api/v2"


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what() and time.monotonic() < deadline:
        time.sleep(0.2)


def test_an_outage_is_told_once_a_job_and_silences_what_it_explains(
    alertmanager: str, messages: tuple[str, list[dict[str, Any]]]
) -> None:
    come = messages[1]
    others = [
        {"alertname": "ExporterBlind", "severity": "warning", "job": "exporter"},
        {"alertname": "InputDrift", "severity": "warning", "tier": "full"},
        {"alertname": "ScoreDrift", "severity": "warning", "tier": "full"},
        {"alertname": "ScoreDrift", "severity": "warning", "tier": "core"},
    ]
    ask(f"{alertmanager}/alerts", [{"labels": labels} for labels in others])

    wait_for(lambda: len(come) >= 3)
    outages = [message for message in come if message["groupLabels"]["alertname"] == "TargetDown"]
    assert {message["groupLabels"]["job"] for message in outages} == {"http", "stream", "exporter"}
    assert [len(message["alerts"]) for message in outages] == [1, 1, 1]
    assert "http on 127.0.0.1:" in str([m["commonAnnotations"]["summary"] for m in outages])

    shown = {
        (alert["labels"]["alertname"], alert["labels"].get("tier")): alert["status"]["state"]
        for alert in ask(f"{alertmanager}/alerts")
    }
    assert shown == {
        ("TargetDown", None): "active",
        ("ExporterBlind", None): "suppressed",
        ("InputDrift", "full"): "active",
        ("ScoreDrift", "full"): "suppressed",
        ("ScoreDrift", "core"): "active",
    }
