"""Checks of what watches: Prometheus, Alertmanager, Grafana's dashboards, the report server."""

import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

from deploy.check.framework import Check, CheckError, Fault, SkipError, files, run, tool, tracked

TESTS = "churn_assets_tests/monitoring"
NGINX = "from deploy.embedded.monitoring import *; print(nginx_config(get_settings()))"


def configurations(root: Path, key: str) -> list[Path]:
    """The YAML files with this key at their top."""
    return [
        path
        for path in tracked(root)
        if path.suffix in {".yml", ".yaml"} and re.search(f"^{key}:", path.read_text(), re.M)
    ]


def prometheus_configs(root: Path) -> int:
    """Prometheus takes every configuration; the rules lie beside the embedded platform's only."""
    found = configurations(root, "scrape_configs")
    for path in found:
        elsewhere = path.parent != root / "deploy" / "prometheus"
        run([tool("promtool"), "check", "config", *["--syntax-only"] * elsewhere, path], root)
    return len(found)


def rules(root: Path) -> int:
    """Prometheus takes the rules, and they ring and rest as their tests say."""
    folder = root / "deploy" / "prometheus"
    said = run([tool("promtool"), "check", "rules", folder / "rules.yml"], root)
    run([tool("promtool"), "test", "rules", folder / "rules_test.yml"], root)
    [count] = re.findall(r"(\d+) rules found", said)
    return int(count)


def alertmanager_configs(root: Path) -> int:
    """Alertmanager takes every configuration."""
    found = configurations(root, "receivers")
    run([tool("amtool"), "check-config", *found], root)
    return len(found)


def dashboards(root: Path) -> int:
    """Dashboards have names of their own, ask the provisioned source, and ask it in PromQL."""
    provisioned = files(root, "deploy/grafana/provisioning/datasources/*.yml")
    sources = {
        source["uid"]
        for path in provisioned
        for source in yaml.safe_load(path.read_text())["datasources"]
    }
    boards = [
        json.loads(path.read_text()) for path in files(root, "deploy/grafana/dashboards/*.json")
    ]
    twice = [uid for uid, times in Counter(board["uid"] for board in boards).items() if times > 1]
    if twice:
        raise CheckError(f"two dashboards have the uid {', '.join(twice)}")
    panels = [(board["title"], panel) for board in boards for panel in board["panels"]]
    for title, panel in panels:
        if panel["datasource"]["uid"] not in sources:
            raise CheckError(f"{title}, {panel['title']}: no source {panel['datasource']['uid']}")
    expressions = [target["expr"] for _, panel in panels for target in panel["targets"]]
    parse(expressions, root)
    return len(expressions)


def parse(expressions: list[str], root: Path) -> None:
    """Let Prometheus parse expressions, as rules; raises `CheckError`."""
    named = [{"record": f"panel:{number}", "expr": e} for number, e in enumerate(expressions)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "panels", "rules": named}]}, file)
        file.flush()
        run([tool("promtool"), "check", "rules", "--lint=none", file.name], root)


def report_server(root: Path) -> int:
    """The server of the reports, nginx, takes the configuration that the platform writes for it."""
    with tempfile.TemporaryDirectory() as home:
        settings = {"CHURN_HOME": home, "CHURN_ENV": "test"}
        path = run([sys.executable, "-c", NGINX], root, settings)
        run([tool("nginx"), "-t", "-e", "stderr", "-p", Path(path).parent, "-c", path], root)
    return 1


def tests(root: Path, *names: str) -> int:
    """Run tests; returns how many passed. Raises `SkipError` when they were skipped."""
    command = [sys.executable, "-m", "pytest", "-rs", "--no-header", "-p", "no:cacheprovider"]
    said = run([*command, *names], root)
    passed = re.search(r"(\d+) passed", said)
    if skipped := re.search(r"SKIPPED \[\d+\] \S+ (.+)", said):
        raise SkipError(skipped[1])
    return int(passed[1]) if passed else 0


def live_panels(root: Path) -> int:
    """Every panel shows data of the running platform; every rule is healthy."""
    tests(root, f"{TESTS}/test_dashboards.py")
    return dashboards(root)


def live_alerts(root: Path) -> int:
    """An outage goes from Prometheus through Alertmanager to a receiver."""
    return tests(root, f"{TESTS}/test_alertmanager.py")


SERVICE = "deploy/grafana/dashboards/churn-service.json"
CHECKS = (
    Check(
        "prometheus",
        prometheus_configs,
        (
            Fault(
                "deploy/prometheus/prometheus.yml", "scrape_interval: 5s", "scrape_intervall: 5s"
            ),
            Fault("deploy/prometheus/prometheus.yml", "- rules.yml", "- rule.yml"),
        ),
    ),
    Check(
        "prometheus-rules",
        rules,
        (
            Fault(
                "deploy/prometheus/rules.yml", "sum by (path, status) (rate(", "sum by (path (rate("
            ),
            Fault("deploy/prometheus/rules.yml", "expr: up == 0", "expr: up == 1"),
        ),
    ),
    Check(
        "alertmanager",
        alertmanager_configs,
        (Fault("deploy/alertmanager/alertmanager.yml", "- name: team", "- name: teams"),),
    ),
    Check(
        "dashboards",
        dashboards,
        (
            Fault(SERVICE, '"uid": "churn-service"', '"uid": "churn-drift"'),
            Fault(
                "deploy/grafana/provisioning/datasources/prometheus.yml", "uid: churn", "uid: prom"
            ),
            Fault(SERVICE, "sum(rate(", "sum(rate(("),
        ),
    ),
    Check(
        "report-server",
        report_server,
        (Fault("deploy/nginx/reports.conf", "autoindex on;", "autoindex yes;"),),
    ),
    Check(
        "alertmanager-live",
        live_alerts,
        (
            Fault("deploy/alertmanager/alertmanager.yml", "equal: [tier]", "equal: [job]"),
            Fault("deploy/alertmanager/alertmanager.yml", "[alertname, job, tier]", "[alertname]"),
        ),
    ),
    Check(
        "dashboards-live",
        live_panels,
        (Fault(SERVICE, "churn_http_requests_total", "churn_http_request_total"),),
    ),
)
