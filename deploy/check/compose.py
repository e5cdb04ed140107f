"""Checks of docker-compose.yaml: its schema, what every service must say, and the stack alive."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.check import compose_live, compose_project
from deploy.check.framework import Check, CheckError, Fault, run, tool
from deploy.check.security import exposed

FILE = "docker-compose.yaml"
OURS = re.compile(r"^\$\{CHURN_REGISTRY:-\}churn-[a-z]+:\$\{CHURN_VERSION:-latest\}$")
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+[\w.-]*$")
ROOT_ALLOWED = {"cadvisor"}
"""Reads the kernel's files of all containers; it has no capability and a read-only root."""
PASSWORDS = dict.fromkeys(compose_project.PASSWORDS, "checked")


def schema(root: Path) -> int:
    """The compose specification's own schema."""
    run([tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE], root)
    return 1


def services(root: Path) -> int:
    """What no schema asks for: health, limits, least privilege, pinned images, loopback."""
    document = yaml.safe_load((root / FILE).read_text())
    for name, service in document["services"].items():
        for problem in problems(name, service, document["services"]):
            raise CheckError(f"{FILE}: {name}: {problem}")
    return len(document["services"])


def problems(name: str, service: dict[str, Any], beside: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a service."""
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    if not service.get("healthcheck", {}).get("test") and not ends(name, beside):
        yield "no health check"
    if missing := {"cpus", "memory", "pids"} - set(limits):
        yield f"no limit of {', '.join(sorted(missing))}"
    if not (OURS.match(service["image"]) or PINNED.match(service["image"])):
        yield f"image {service['image']} is not pinned"
    if not service.get("profiles"):
        yield "belongs to no profile"
    yield from privileges(name, service)


def privileges(name: str, service: dict[str, Any]) -> Iterator[str]:
    """What a service could do to the machine and need not."""
    if str(service.get("user", "0")).startswith(("0", "root")) and name not in ROOT_ALLOWED:
        yield "runs as root"
    if service.get("cap_drop") != ["ALL"] or not service.get("read_only"):
        yield "keeps capabilities or a writable root"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain privileges"
    yield from exposed(service)


def ends(name: str, beside: dict[str, Any]) -> bool:
    """Whether a service does its work and ends, which others wait for."""
    waits = (service.get("depends_on", {}).get(name, {}) for service in beside.values())
    return any(wait.get("condition") == "service_completed_successfully" for wait in waits)


def configuration(root: Path) -> int:
    """Compose itself takes the file, for this machine and for a cloud, and misses passwords."""
    compose_live.require_compose()
    command = ["docker", "compose", "--file", FILE, "--env-file", os.devnull, "config", "--quiet"]
    profiles = {"COMPOSE_PROFILES": "train,serve,monitor"}
    run(command, root, {**profiles, **PASSWORDS, "EMULATOR_URL": "", "CHURN_INTERNAL": "false"})
    run(command, root, {"COMPOSE_PROFILES": f"{profiles['COMPOSE_PROFILES']},local", **PASSWORDS})
    for name in PASSWORDS:
        refuses(command, root, name)
    return 2 + len(PASSWORDS)


def refuses(command: Sequence[str], root: Path, password: str) -> None:
    """Without a password Compose must refuse the file and say what to do."""
    try:
        run(command, root, {**PASSWORDS, password: ""})
    except CheckError as refused:
        if "deploy/compose/secrets.sh" not in str(refused):
            raise
    else:
        raise CheckError(f"{FILE}: starts without {password}")


CHECKS = (
    Check(
        "compose-schema",
        schema,
        (Fault(FILE, "stop_grace_period: 30s", "stop_grace_periods: 30s"),),
    ),
    Check(
        "compose-services",
        services,
        (
            Fault(FILE, "      test: [CMD, pg_isready, -q, -h, 127.0.0.1, -U, postgres]\n", ""),
            Fault(FILE, '"127.0.0.1:${HTTP_PORT:-9696}:9696"', '"0.0.0.0:${HTTP_PORT:-9696}:9696"'),
            Fault(FILE, "image: postgres:17.6-bookworm", "image: postgres:latest"),
            Fault(FILE, 'user: "10001:10001"', 'user: "0:0"'),
            Fault(FILE, '{cpus: "0.5", memory: 64m, pids: 20}', '{cpus: "0.5", pids: 20}'),
            Fault(FILE, "  cap_drop: [ALL]\n", ""),
        ),
    ),
    Check(
        "compose-config",
        configuration,
        (
            Fault(FILE, "dagster-web: {condition", "dagster-ui: {condition"),
            Fault(FILE, "${GRAFANA_PASSWORD:?run deploy/compose/secrets.sh}", "admin"),
        ),
        needs_engine=True,
    ),
    Check(
        "compose-stack",
        compose_live.stack,
        (Fault(FILE, "-m, churn_assets.definitions]", "-m, churn_assets.definition]"),),
        needs_engine=True,
    ),
)
