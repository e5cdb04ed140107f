"""The platform's servers: their ports, when they are ready, and the line to supervisord."""

import os
import socket
import sys
import urllib.request
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast
from xmlrpc.client import ServerProxy

import psutil
from pydantic import SecretStr
from supervisor.xmlrpc import SupervisorTransport

from bento.settings import Settings, get_settings

ROOT = Path(__file__).resolve().parents[2]
SOCKET_LENGTH = 90
"""Longest path that fits a Unix socket on Linux and macOS, with supervisord's temporary suffix."""


class Server(NamedTuple):
    """A program of `supervisord.conf` that listens on a port.

    `ready` is the path that answers 2xx when it can work; `awaited` is False for a server that
    may have to wait for something else first, such as a champion.
    """

    name: str
    port_setting: str
    ready: str
    page: str = "/"
    awaited: bool = True

    @property
    def port(self) -> int:
        """The port it is set to."""
        return cast(int, getattr(get_settings(), self.port_setting.lower()))

    @property
    def url(self) -> str:
        """Where a person looks at it, or a client calls it."""
        return f"http://127.0.0.1:{self.port}{self.page}"

    def is_ready(self) -> bool:
        """Whether it can work now."""
        return answers(f"http://127.0.0.1:{self.port}{self.ready}")


EMULATOR = Server("emulator", "EMULATOR_PORT", "/_ministack/health", page="")
SERVERS = (
    EMULATOR,
    Server("mlflow", "MLFLOW_PORT", "/health"),
    Server("dagster", "DAGSTER_PORT", "/server_info"),
    Server("http", "HTTP_PORT", "/readyz", page="/docs", awaited=False),
    Server("stream", "STREAM_METRICS_PORT", "/readyz", page="/metrics", awaited=False),
    Server("exporter", "EXPORTER_PORT", "/metrics", page="/metrics", awaited=False),
    Server("prometheus", "PROMETHEUS_PORT", "/-/ready", awaited=False),
    Server("reports", "REPORTS_PORT", "/", awaited=False),
)


class PlatformError(RuntimeError):
    """The platform cannot do what was asked; the message says what to change."""


class Program(NamedTuple):
    """One program as supervisord sees it."""

    name: str
    state: str
    pid: int


def answers(url: str) -> bool:
    """Whether `url` answers with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own URLs
            return bool(response.status < 300)
    except OSError:
        return False


def environment(settings: Settings) -> dict[str, str]:
    """What supervisord and every program under it run with: all settings, spelled out."""
    secrets = {name for name, value in settings if isinstance(value, SecretStr)}  # dumped as ****
    values = settings.model_dump(mode="json", exclude=secrets, exclude_none=True)
    home = str(settings.churn_home.absolute())
    return {
        **os.environ,
        **{name.upper(): str(value) for name, value in values.items()},
        "CHURN_HOME": home,
        "CHURN_ROOT": str(ROOT),
        "CHURN_BIN": str(Path(sys.executable).parent),
        "DAGSTER_CODE_SOCKET": f"{home}/dagster/code.sock",
        "PYTHONUNBUFFERED": "1",
    }


def check_ports(servers: Iterable[Server]) -> None:
    """Raise `PlatformError` that names every port in use, by whom, and the setting to change."""
    taken = [server for server in servers if _listens(server.port)]
    if taken:
        lines = [
            f"port {server.port} is taken{_holder(server.port)}: "
            f"stop that, or choose another with {server.port_setting}={server.port + 1}"
            for server in taken
        ]
        raise PlatformError("\n".join(lines))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    """` by NAME (pid N)` of the process that listens on `port`, where one may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""


class Supervisor:
    """The running supervisord of one CHURN_HOME."""

    def __init__(self, settings: Settings) -> None:
        path = settings.churn_home.absolute() / "supervisor.sock"
        if len(str(path)) > SOCKET_LENGTH:
            raise PlatformError(f"{path} is too long for a socket: choose a shorter CHURN_HOME")
        self._url = f"unix://{path}"

    @property
    def _proxy(self) -> Any:
        # a new one each time: the transport's connection is unusable after a failed call
        transport = SupervisorTransport(None, None, serverurl=self._url)
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def is_running(self) -> bool:
        """Whether it answers on its socket."""
        try:
            return bool(self._proxy.getState())
        except OSError:
            return False

    def pid(self) -> int:
        """Its process id."""
        return cast(int, self._proxy.getPID())

    def programs(self) -> list[Program]:
        """Every program of the configuration."""
        found = self._proxy.getAllProcessInfo()
        return [Program(p["name"], p["statename"], p["pid"]) for p in found]

    def start(self, names: Container[str]) -> None:
        """Start those of the named programs that do not run; returns at once."""
        for program in self.programs():
            if program.name in names and program.state in ("STOPPED", "EXITED", "FATAL"):
                self._proxy.startProcess(program.name, False)

    def shutdown(self) -> None:
        """Ask it to stop every program and itself; returns at once."""
        self._proxy.shutdown()
