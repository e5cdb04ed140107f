"""Checks of what is exposed, of what foreign bytes can do, and of known vulnerabilities."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.check.framework import Check, CheckError, Fault, SkipError, run, tool, tracked
from deploy.check.monitoring import tests

LOOPBACK = "127.0.0.1:"
HOST = "from bento.settings import Settings; print(Settings.model_fields['host'].default)"
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities that do not reach us, by id, and why."""
KNOWN = "jinja2==2.10"
"""A release with vulnerabilities that every database knows."""


def exposure(root: Path) -> int:
    """By default nothing is published beyond loopback, privileged, or next to the engine."""
    host = run([sys.executable, "-c", HOST], root)
    if f"{host}:" != LOOPBACK:
        raise CheckError(f"servers bind to {host} unless told otherwise")
    looked_at = 1
    for path in sorted(root.glob("docker-compose*.y*ml")):
        for name, service in yaml.safe_load(path.read_text())["services"].items():
            looked_at += 1
            for wrong in exposed(service):
                raise CheckError(f"{path.name}: {name}: {wrong}")
    return looked_at


def exposed(service: dict[str, Any]) -> Iterator[str]:
    """What a compose service opens that it should not."""
    for port in service.get("ports", []):
        if not str(port).startswith(LOOPBACK):
            yield f"port {port} is published beyond loopback"
    for key, value in (("network_mode", "host"), ("pid", "host"), ("privileged", True)):
        if service.get(key) == value:
            yield f"{key}: {value}"
    for volume in service.get("volumes", []):
        if "docker.sock" in str(volume):
            yield f"it controls the container engine by {volume}"


def foreign_bytes(root: Path) -> int:
    """Models, assets and requests that hold code do not get it run."""
    return tests(root, "churn_assets_tests/platform/test_foreign_bytes.py")


def audit(root: Path) -> int:
    """No pinned release has a known vulnerability.

    Without a reachable database pip-audit may find nothing and say that all is well, so it
    has to find a known one first. CHURN_OSV_URL names another database than pip-audit's own.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as probe:
        probe.write(KNOWN)
        probe.flush()
        try:
            reachable = bool(vulnerable(Path(probe.name), root, "--no-deps"))
        except CheckError as error:
            raise SkipError("pip-audit reaches no database of vulnerabilities") from error
    if not reachable:
        raise SkipError(f"pip-audit's database does not know that {KNOWN} is vulnerable")
    looked_at = set()
    found = set()
    for lock in (path for path in tracked(root) if path.suffix == ".lock"):
        pinned = audited(lock, root, "--require-hashes")
        looked_at |= {(package["name"], package["version"]) for package in pinned}
        found |= set(faults_of(pinned))
    if unknown := sorted(text for text in found if text.split()[-1] not in ACCEPTED):
        raise CheckError("\n".join(unknown))
    return len(looked_at)


def vulnerable(requirements: Path, root: Path, *options: str) -> list[str]:
    """The vulnerabilities of a file's pins; raises `CheckError` when it could not be audited."""
    return list(faults_of(audited(requirements, root, *options)))


def audited(requirements: Path, root: Path, *options: str) -> list[dict[str, Any]]:
    """What pip-audit says of each of a file's pins."""
    command = [tool("pip-audit"), "--format", "json", "--progress-spinner", "off", "--disable-pip"]
    database = os.environ.get("CHURN_OSV_URL")
    command += ["--vulnerability-service", "osv", *(["--osv-url", database] if database else [])]
    with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
        command += [*options, "--output", answer.name, "--requirement", str(requirements)]
        try:
            run(command, root, timeout=300)
        except CheckError:
            if not (text := answer.read()):
                raise
        else:
            text = answer.read()
    packages: list[dict[str, Any]] = json.loads(text)["dependencies"]
    if skipped := [p["name"] for p in packages if "skip_reason" in p]:
        raise CheckError(f"{requirements.name}: pip-audit left out {', '.join(skipped)}")
    return packages


def faults_of(packages: list[dict[str, Any]]) -> Iterator[str]:
    """Each vulnerability in a line that ends with its id."""
    for package in packages:
        for vulnerability in package["vulns"]:
            mended = ", ".join(vulnerability["fix_versions"]) or "no release"
            pin = f"{package['name']} {package['version']}"
            yield f"{pin}, mended in {mended}: {vulnerability['id']}"


CHECKS = (
    Check(
        "exposure",
        exposure,
        (
            Fault(
                "bento/settings.py",
                '"127.0.0.1", description="Address',
                '"0.0.0.0", description="Address',
            ),
            Fault("docker-compose.yaml", '"127.0.0.1:${HTTP_PORT', '"${HTTP_PORT'),
            Fault("docker-compose.yaml", "    user:", "    privileged: true\n    user:"),
        ),
    ),
    Check(
        "foreign-bytes",
        foreign_bytes,
        (
            Fault("bento/runner.py", "", "\nimport pickle\n"),
            Fault(
                "churn_assets/defs/training/evaluation.py",
                "booster = xgboost.Booster(model_file=bytearray(content))",
                "booster = mlflow.xgboost.load_model(uri)",
            ),
        ),
    ),
    Check(
        "audit",
        audit,
        (Fault("deploy/bootstrap.lock", "", f"{KNOWN} --hash=sha256:{'0' * 64}\n"),),
    ),
)
