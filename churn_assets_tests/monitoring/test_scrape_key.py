"""Prometheus reads the HTTP service's metrics also where that asks for a key."""

import json
import shutil
import stat
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from bento.settings import get_settings
from churn_assets_tests.conftest import ROOT, free_port
from churn_assets_tests.serving import Server, churn_service, live_champion

KEYS = "first-key,second-key"

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed"
)


def compose_command(folder: Path, service_port: int, port: int) -> list[str]:
    """The command of the compose stack, with folders and ports of this test."""
    service = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["prometheus"]
    config = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())
    config["scrape_configs"] = [
        job | {"static_configs": [{"targets": [f"127.0.0.1:{service_port}"]}]}
        for job in config["scrape_configs"]
        if job["job_name"] == "http"
    ]
    config["rule_files"] = []
    text = yaml.safe_dump(config).replace("/tmp/", f"{folder}/")
    (folder / "prometheus.yml").write_text(text)
    (script,) = service["command"]
    for container, here in {
        "$$": "$",
        "/tmp/": f"{folder}/",
        "/etc/prometheus/": f"{folder}/",
        "=/prometheus": f"={folder}/data",
        "0.0.0.0:9090": f"127.0.0.1:{port}",
    }.items():
        assert container in script
        script = script.replace(container, here)
    return [*service["entrypoint"], script]


def http_target(base: str) -> str:
    """Health of the target of job `http`, once Prometheus has asked it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{base}/api/v1/targets", timeout=10) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        found = {t["labels"]["job"]: f"{t['health']} {t['lastError']}".strip() for t in targets}
        if found.get("http", "unknown") != "unknown":
            return found["http"]
        time.sleep(0.5)
    raise AssertionError("the service is no target")


@pytest.mark.parametrize("keys", [KEYS, ""])
@pytest.mark.parametrize("stack", ["embedded", "compose"])
def test_metrics_are_read_with_the_first_key(stack: str, keys: str, tmp_path: Path) -> None:
    home, port = get_settings().churn_home, free_port()
    live_champion(home)
    env = {"CHURN_ENV": "test", "CHURN_HOME": str(home), "PROMETHEUS_PORT": str(port)}
    if keys:
        env["CHURN_API_KEYS"] = keys
    with churn_service(home, **env) as service:
        command = [sys.executable, "-m", "deploy.embedded.monitoring", "prometheus"]
        if stack == "compose":
            command = compose_command(tmp_path, service.port, port)
        env |= {"HTTP_PORT": str(service.port), "PYTHONPATH": str(ROOT)}
        with Server(command, port, tmp_path / "prometheus.log", "/-/ready", **env) as prometheus:
            assert http_target(prometheus.url) == "up"
    if keys:
        folder = tmp_path if stack == "compose" else home / "prometheus"
        assert stat.S_IMODE((folder / "scrape-key").stat().st_mode) == 0o600
