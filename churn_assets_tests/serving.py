"""The HTTP service as a user runs it: `bentoml serve`, for tests and drills."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from churn_assets_tests.champions import make_champion, point
from churn_assets_tests.conftest import free_port

TARGET = "bento.service:ChurnService"


class Server:
    """A server in its own process group; use it as a context manager, or start and stop it."""

    def __init__(
        self, command: list[str], port: int, log: Path, ready: str | None = "/", **env: str
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._command = command
        self._ready = ready
        self._env = env
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, patience_s: float = 90) -> None:
        """Start and wait until it answers; raises RuntimeError with its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | self._env,
                cwd=self.log.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + patience_s
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"no answer from {self._command}:\n{self.log.read_text()[-3000:]}"
                )
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it answers HTTP, be it with an error; without a path, whether it listens."""
        try:
            if self._ready is None:
                socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
                return True
            urllib.request.urlopen(self.url + self._ready, timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C in a terminal does; kill it when it does not."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self.kill()

    def kill(self) -> None:
        """`kill -9` of all its processes (workers may have process groups of their own)."""
        if self._process.poll() is None:
            for process in [psutil.Process(self._process.pid), *self.workers()]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the process started."""
        self._process.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """The processes below the one started."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        total = 0.0
        for process in [psutil.Process(self._process.pid), *self.workers()]:
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def memory(self) -> int:
        """Resident bytes of all its processes."""
        return sum(process.memory_info().rss for process in self.workers())


def churn_service(home: Path, **env: str) -> Server:
    """Our service with `home` as its CHURN_HOME, on a free port."""
    temporary = home / "tmp"  # a service that is killed leaves BentoML's folders there
    temporary.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {
        "TMPDIR": str(temporary),
        "CHURN_ENV": "test",
        "CHURN_HOME": str(home),
        "BENTOML_HOME": str(home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "HTTP_PORT": str(port),
        "CHAMPION_POLL_SECONDS": "0.1",
    }
    command = [sys.executable, "-m", "bentoml", "serve", TARGET]
    return Server(command, port, home / "service.log", "/livez", **settings | env)


def live_champion(home: Path, seed: int = 0, trees: int = 30) -> None:
    """Package a small champion under `home` and make it live; seeds give different models."""
    folder = home / "champion" / f"seed-{seed}"
    champion = make_champion(folder, seed=seed, trees=trees, version=str(seed + 1))
    point(home / "champion" / "live.json", folder, champion)


def mongo_server(folder: Path, port: int) -> Server:
    """A server of the MongoDB wire protocol that keeps its data in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = str(Path(sys.executable).with_name("nx-27017"))
    command = [program, "--port", str(port), "--data-dir", str(folder / "data")]
    command += ["--log-file", str(folder / "nx.log"), "--pid-file", str(folder / "nx.pid")]
    return Server(command, port, folder / "out.log", None)
