"""The embedded platform comes up, keeps its state, says what is in its way, and leaves nothing."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from bento.settings import Settings
from churn_assets_tests.conftest import ROOT, free_port

PORTS = sorted(name.upper() for name in Settings.model_fields if name.endswith("_port"))


@pytest.fixture
def platform_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user of `.env.local` who only chose other ports and another folder."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_"))}
    return {
        **inherited,
        **{name: str(free_port()) for name in PORTS},
        "CHURN_ENV": "local",
        "CHURN_HOME": str(tmp_path / "home"),
        "COLUMNS": "200",
    }


def stack(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.embedded.stack", *command],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=170,
        check=False,
    )


def of_home(env: dict[str, str]) -> list[psutil.Process]:
    """Every process that was started for this CHURN_HOME."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CHURN_HOME") == env["CHURN_HOME"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def addresses(env: dict[str, str]) -> set[str]:
    """Where the platform's processes listen."""
    return {
        connection.laddr.ip
        for process in of_home(env)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def client(env: dict[str, str], service: str) -> Any:
    session: Any = boto3.session.Session()
    return session.client(service, endpoint_url=f"http://127.0.0.1:{env['EMULATOR_PORT']}")


def test_up_down_up_keeps_the_state_and_leaves_no_process(platform_env: dict[str, str]) -> None:
    env = platform_env
    try:
        first = stack(env, "up")
        assert first.returncode == 0, first.stdout
        assert "predictions, results created" in first.stdout
        for program in ("emulator", "mlflow", "dagster"):
            assert re.search(rf"{program} +│ ready", first.stdout), first.stdout
        assert f"http://127.0.0.1:{env['MLFLOW_PORT']}/" in first.stdout
        assert addresses(env) == {"127.0.0.1"}

        taken = stack({**env, "CHURN_HOME": env["CHURN_HOME"] + "-other"}, "up")
        assert taken.returncode == 1
        for name in ("EMULATOR_PORT", "MLFLOW_PORT", "DAGSTER_PORT"):
            assert f"port {env[name]} is taken" in taken.stdout
            assert f"{name}={int(env[name]) + 1}" in taken.stdout

        position = client(env, "kinesis").put_record(
            StreamName="predictions", Data=b"kept", PartitionKey="1"
        )
        client(env, "s3").put_object(Bucket="capstone", Key="kept", Body=b"kept")
        assert len(of_home(env)) >= 6
        stopped = stack(env, "down")
        assert stopped.returncode == 0, stopped.stdout
        assert of_home(env) == []

        again = stack(env, "up", "emulator")
        assert again.returncode == 0, again.stdout
        assert "created" not in again.stdout
        iterator = client(env, "kinesis").get_shard_iterator(
            StreamName="predictions",
            ShardId=position["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )["ShardIterator"]
        records = client(env, "kinesis").get_records(ShardIterator=iterator)["Records"]
        assert [record["Data"] for record in records] == [b"kept"]
        kept = client(env, "s3").get_object(Bucket="capstone", Key="kept")
        assert kept["Body"].read() == b"kept"
    finally:
        reset = stack(env, "reset")
    assert reset.returncode == 0, reset.stdout
    assert of_home(env) == []
    assert not Path(env["CHURN_HOME"]).exists()


def test_a_taken_port_is_named_with_its_holder_and_setting(platform_env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(platform_env["MLFLOW_PORT"]))):
        said = stack(platform_env, "up")
    assert said.returncode == 1
    port = int(platform_env["MLFLOW_PORT"])
    assert f"port {port} is taken" in said.stdout
    assert f"(pid {os.getpid()})" in said.stdout
    assert f"MLFLOW_PORT={port + 1}" in said.stdout
    assert "EMULATOR_PORT" not in said.stdout
    assert of_home(platform_env) == []


def test_reset_deletes_no_folder_that_up_did_not_make(platform_env: dict[str, str]) -> None:
    precious = Path(platform_env["CHURN_HOME"]) / "precious"
    precious.mkdir(parents=True)
    said = stack(platform_env, "reset")
    assert said.returncode == 1
    assert "not made by `make up`" in said.stdout
    assert precious.exists()


def test_status_of_a_stopped_platform_fails_and_says_so(platform_env: dict[str, str]) -> None:
    said = stack(platform_env, "status")
    assert said.returncode == 3
    assert "not running" in said.stdout


def test_the_embedded_platform_refuses_the_cloud(platform_env: dict[str, str]) -> None:
    said = stack({**platform_env, "CHURN_ENV": "cloud"}, "up")
    assert said.returncode == 1
    assert "env=local" in said.stdout
