"""A compose project for checks: ports and passwords of its own, and a receiver of its logs."""

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

from deploy.check.framework import run
from deploy.compose.platform import Platform

PORTS = (
    "EMULATOR_PORT",
    "MLFLOW_PORT",
    "DAGSTER_PORT",
    "HTTP_PORT",
    "EXPORTER_PORT",
    "REPORTS_PORT",
    "PROMETHEUS_PORT",
    "ALERTMANAGER_PORT",
    "LOG_PORT",
)
PASSWORDS = tuple(
    f"{name}_PASSWORD"
    for name in ("POSTGRES", "DAGSTER_DB", "MLFLOW_DB", "MONGO_ROOT", "MONGO", "GRAFANA")
)


class Project:
    """A project of Compose with ports of its own, and a socket that receives its logs."""

    def __init__(self, root: Path) -> None:
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        project = f"churn-check-{os.getpid()}"
        files = ["docker-compose.yaml", "deploy/check/compose.override.yaml"]
        self.compose = ["docker", "compose", "--progress", "quiet", "--project-name", project]
        self.compose += ["--env-file", os.devnull]
        self.compose += [part for name in files for part in ("--file", name)]
        self.platform = Platform(
            compose=self.compose,
            root=root,
            http=self.url("HTTP_PORT"),
            mlflow=self.url("MLFLOW_PORT"),
            dagster=self.url("DAGSTER_PORT"),
            say=lambda _: None,
        )
        self.logs: list[dict[str, Any]] = []
        self._root = root

    def url(self, port: str) -> str:
        """Where a published port answers."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def run(self, *arguments: str, timeout: float = 300) -> str:
        """A command of Compose; returns what it printed."""
        return run([*self.compose, *arguments], self._root, timeout=timeout)

    def environment(self) -> dict[str, str]:
        """What the compose file interpolates."""
        return {
            **{name: str(port) for name, port in self.ports.items()},
            **{name: os.urandom(12).hex() for name in PASSWORDS},
            "COMPOSE_PROFILES": "train,serve,monitor,local",
            "MONGODB_URI": "mongodb://mongo:27017/prediction_service",  # its stand-in has no users
            "TRAINING_CPUS": str(min(2, os.cpu_count() or 1)),
        }

    def receive_logs(self) -> None:
        """Keep the log messages that the engine sends, as the shipper would."""
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", self.ports["LOG_PORT"]))

        def keep() -> None:
            while True:
                message = receiver.recv(65536)
                if message.startswith(b"{"):  # not a part of a long one
                    self.logs.append(json.loads(message))

        threading.Thread(target=keep, daemon=True).start()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nothing uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found
