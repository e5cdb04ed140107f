"""What every room's tests share: a shielded environment and the real servers, started once.

No test reads `.env.local` or reaches AWS: settings come from a clean environment, and
until a test asks for `emulator` or `mlflow_server` their addresses refuse connections.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import pytest

from bento.settings import Settings, get_settings

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = "http://127.0.0.1:1"
RAW_DATA = os.environ.get("CHURN_RAW_DATA")

SERVERS = {"emulator", "mlflow_server", "scheduler", "service"}
"""Fixtures that start servers."""

# Assets read the length of their partitions when they are imported, before any fixture runs.
os.environ["CHURN_ENV"] = "test"


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker means."""
    config.addinivalue_line("markers", "integration: stands on running servers or programs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start servers or programs, by fixture or from a module that does."""
    for item in items:
        assert isinstance(item, pytest.Function)
        starts = {"subprocess", "churn_service"} & set(vars(item.module))
        if starts or SERVERS & set(item.fixturenames):
            item.add_marker("integration")


@pytest.fixture(scope="session", autouse=True)
def shield(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """An environment without the user's settings, for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        for field in Settings.model_fields:
            patch.delenv(field.upper(), raising=False)
        patch.delenv("DAGSTER_HOME", raising=False)
        for name, value in {
            "CHURN_ENV": "test",
            "CHURN_HOME": str(tmp_path_factory.mktemp("churn")),
            "AWS_ENDPOINT_URL": NOWHERE,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "MLFLOW_TRACKING_URI": NOWHERE,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "OMP_NUM_THREADS": "1",
            "DO_NOT_TRACK": "true",
            "BENTOML_DO_NOT_TRACK": "True",
        }.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        yield patch
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def settings_of_this_test(
    shield: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Each test has its own CHURN_HOME and reads its own settings."""
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "churn"))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def customers_source() -> Path | None:
    """The real customers (CHURN_RAW_DATA), or None where only synthetic ones are to be had."""
    return Path(RAW_DATA).resolve() if RAW_DATA else None


@pytest.fixture(scope="session")
def emulator(shield: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an AWS emulator with an empty bucket; boto3 finds it by itself."""
    command = ROOT / ".venv-emulator" / "bin" / "ministack"
    if not command.exists():
        pytest.fail("the AWS emulator is not installed: run `make install`")
    port = free_port()
    state = tmp_path_factory.mktemp("emulator")
    env = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "STATE_DIR": str(state)}
    url = f"http://127.0.0.1:{port}"
    with serve([str(command)], env, f"{url}/_ministack/health", state / "log"):
        shield.setenv("AWS_ENDPOINT_URL", url)
        boto3.client("s3").create_bucket(
            Bucket=Settings().churn_bucket,
            CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
        )
        yield url
    shield.setenv("AWS_ENDPOINT_URL", NOWHERE)


@pytest.fixture(scope="session")
def mlflow_server(
    emulator: str, shield: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URI of an MLflow server with SQLite metadata and artifacts in the emulator's bucket."""
    port = free_port()
    state = tmp_path_factory.mktemp("mlflow")
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port), "--no-serve-artifacts"),
        *("--backend-store-uri", f"sqlite:///{state / 'mlflow.db'}"),
        *("--default-artifact-root", f"s3://{Settings().churn_bucket}/mlflow"),
    ]
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    url = f"http://127.0.0.1:{port}"
    with serve(command, env, f"{url}/health", state / "log"):
        shield.setenv("MLFLOW_TRACKING_URI", url)
        yield url
    shield.setenv("MLFLOW_TRACKING_URI", NOWHERE)


def free_port() -> int:
    """A TCP port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serve(
    command: list[str], env: Mapping[str, str], ready: str, log: Path, patience_s: float = 90
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in its own process group, ready when `ready` answers; then stop the group."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **env},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + patience_s
        while not answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> bool:
    """Whether `url` answers with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status < 300)
    except OSError:
        return False
