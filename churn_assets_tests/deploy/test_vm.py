"""Deploying to a VM: the real script and service; a program named docker starts the service.

The stand-in does what compose would: `up` starts the service with the RUN_ID of the env
file, `run` packages it, unless the test has it fail, `exec` asks the worker.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_assets_tests.conftest import ROOT, free_port
from churn_assets_tests.serving import Server, live_champion

RUNS = [f"{seed:032x}" for seed in range(3)]
UNPACKAGED = f"{9:032x}"
KEY = "a-key-of-the-tests"

DOCKER = """#!/bin/sh
RUN_ID=$(sed -n 's/^RUN_ID=//p' ".env.$CHURN_ENV")
export RUN_ID
echo "$CHURN_VERSION run_id=$RUN_ID $*" >>"$STANDIN/calls"
case " $* " in
*" exec "*) curl -s "127.0.0.1:$HTTP_PORT/readyz" ;;
*" run "*) test ! -e "$STANDIN/no-packaging" ;;
*" up "*)
    if [ -f "$STANDIN/pid" ]; then
        kill "$(cat "$STANDIN/pid")"
        while curl -s -o /dev/null "127.0.0.1:$HTTP_PORT/livez"; do sleep 0.1; done
    fi
    . "./.env.$CHURN_ENV"
    CHURN_ENV=test setsid "$PYTHON" -m bentoml serve bento.service:ChurnService \\
        </dev/null >>"$STANDIN/service.log" 2>&1 9>&- &
    echo $! >"$STANDIN/pid"
    ;;
esac
"""


@pytest.fixture
def vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A VM's folder, with the files of two versions."""
    folder, programs, port = tmp_path / "vm", tmp_path / "bin", free_port()
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    for version in ("v1", "v2"):
        target = folder / "releases" / version
        for part in ("delivery", "compose"):
            shutil.copytree(ROOT / "deploy" / part, target / "deploy" / part)
        (target / "deploy" / "__init__.py").touch()
        (target / "docker-compose.yaml").touch()
        (target / ".env.cloud").write_text("RUN_ID=\n")
    (folder / "settings.env").write_text(
        f"CHURN_ENV=cloud\nCHURN_API_KEYS={KEY},another\nHTTP_PORT={port}\n"
    )
    home = tmp_path / "home"
    for seed in range(2):
        live_champion(home, seed)
    for name, value in {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "STANDIN": str(tmp_path),
        "CHURN_DEPLOY": str(folder),
        "CHURN_HOME": str(home),
        "CHURN_PATIENCE": "6",
        "CHURN_API_KEYS": KEY,
        "HTTP_PORT": str(port),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "CHAMPION_POLL_SECONDS": "0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield folder
    if (tmp_path / "pid").exists():
        os.killpg(int((tmp_path / "pid").read_text()), signal.SIGTERM)


def deploy(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(os.environ["CHURN_DEPLOY"]) / "releases/v1/deploy/delivery/vm.sh"
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False)


def calls(vm: Path) -> list[str]:
    return (vm.parent / "calls").read_text().splitlines()


def test_a_run_id_alone_is_packaged_and_deployed_and_rolled_back(vm: Path) -> None:
    first = deploy("deploy", "version=v1", "run_id=")
    assert first.returncode == 0, first.stderr
    assert f"deployed: run {RUNS[1]} answers (before: none)" in first.stderr

    second = deploy("deploy", f"run_id={RUNS[0]}")
    assert second.returncode == 0, second.stderr
    assert f"deployed: run {RUNS[0]} answers (before: {RUNS[1]})" in second.stderr
    packaging, starting, asking = calls(vm)[-3:]
    assert packaging.endswith(
        "run --rm --no-deps -T dagster-code"
        " dagster job execute -m churn_assets.definitions -j release"
    )
    assert starting.startswith(f"v1 run_id={RUNS[0]} ")
    assert starting.endswith(" http worker")
    assert " --env-file .env.cloud --env-file ../../.env " in starting
    assert "POSTGRES_PASSWORD=" in (vm / ".env").read_text()
    assert (vm / ".env").stat().st_mode & 0o777 == 0o600
    assert " exec -T worker " in asking
    assert deploy("status").stdout == f"version=v1 run_id={RUNS[0]}\n"

    back = deploy("rollback")
    assert back.returncode == 0, back.stderr
    assert f"deployed: run {RUNS[1]} answers" in back.stderr
    assert (vm / "before").read_text() == f"version=v1 run_id={RUNS[0]}\n"


def test_what_does_not_answer_as_meant_is_taken_back(vm: Path) -> None:
    assert deploy("deploy", "version=v1", f"run_id={RUNS[0]}").returncode == 0
    bad = deploy("deploy", "version=v2", f"run_id={UNPACKAGED}")
    assert bad.returncode == 1
    assert "NOT VERIFIED: HTTP 503" in bad.stderr
    assert f"FAILED: version v1 with {RUNS[0]} is back" in bad.stderr
    assert deploy("status").stdout == f"version=v1 run_id={RUNS[0]}\n"
    assert calls(vm)[-1].startswith(f"v1 run_id={RUNS[0]} ")
    assert (vm / "releases/v1/.env.cloud").read_text() == f"RUN_ID={RUNS[0]}\n"


def test_a_run_that_cannot_be_packaged_changes_nothing(vm: Path) -> None:
    assert deploy("deploy", "version=v1", f"run_id={RUNS[0]}").returncode == 0
    (vm.parent / "no-packaging").touch()
    assert deploy("deploy", f"run_id={RUNS[1]}").returncode == 1
    assert not [call for call in calls(vm) if f"run_id={RUNS[1]}" in call and " up " in call]
    assert deploy("status").stdout == f"version=v1 run_id={RUNS[0]}\n"


def test_code_that_changes_the_model_is_taken_back(vm: Path) -> None:
    """A change of code alone must leave the served run as it is."""
    assert deploy("deploy", "version=v1").returncode == 0
    live_champion(vm.parent / "other", 0)
    (vm / "releases/v2/.env.cloud").write_text(f"RUN_ID=\nCHURN_HOME={vm.parent}/other\n")
    bad = deploy("deploy", "version=v2")
    assert bad.returncode == 1
    assert f"run {RUNS[0]} is served, {RUNS[1]} is meant" in bad.stderr
    assert deploy("status").stdout == "version=v1 run_id=\n"


def test_a_failure_of_what_was_there_too_is_another_exit_status(vm: Path) -> None:
    assert deploy("deploy", "version=v1", f"run_id={RUNS[0]}").returncode == 0
    shutil.rmtree(vm.parent / "home" / "champion")
    assert deploy("deploy", f"run_id={RUNS[1]}").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [["deploy", "version=v3"], ["deploy", "version=../v1"], ["deploy", "run=1"], ["rollback"], []],
)
def test_nonsense_is_refused_before_anything_happens(vm: Path, arguments: list[str]) -> None:
    assert deploy(*arguments).returncode == 64
    assert not (vm.parent / "calls").exists()


def test_over_ssh_with_a_pinned_host_key(
    vm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real sshd: the files of a tag are sent, deployed and verified there."""
    if shutil.which("sshd", path="/usr/sbin") is None:
        pytest.skip("sshd is not installed")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    port = free_port()
    known = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}\n")
    passed_on = ["PATH", "PYTHON", "STANDIN", "CHURN_HOME", "CHURN_PATIENCE", "BENTOML_HOME"]
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/client.pub\nStrictModes no\n"
        f"PasswordAuthentication no\nSetEnv {' '.join(f'{n}={os.environ[n]}' for n in passed_on)}\n"
    )
    repository = tmp_path / "clone"
    shutil.copytree(vm / "releases" / "v1", repository)
    identity = "-c user.name=t -c user.email=t@example.org"
    script = f"git init -q && git add -A && git {identity} commit -qm one && git tag v9"
    subprocess.run(["sh", "-c", script], cwd=repository, check=True)

    monkeypatch.setenv("CHURN_DEPLOY", str(vm))
    options = f"-o BatchMode=yes -o UserKnownHostsFile={tmp_path}/known_hosts -i {tmp_path}/client"
    monkeypatch.setenv("CHURN_SSH", f"ssh -p {port} {options}")
    over_ssh = [str(repository / "deploy/delivery/over_ssh.sh"), "127.0.0.1"]
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(tmp_path / "sshd_config")]
    with Server(command, port, tmp_path / "sshd.log", None):
        done = subprocess.run(
            [*over_ssh, "deploy", "version=v9", f"run_id={RUNS[0]}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + (tmp_path / "sshd.log").read_text()
        asked = subprocess.run([*over_ssh, "status"], capture_output=True, text=True, check=True)
        assert asked.stdout == f"version=v9 run_id={RUNS[0]}\n"
        (tmp_path / "known_hosts").write_text("")
        stranger = subprocess.run([*over_ssh, "status"], capture_output=True, check=False)
        assert stranger.returncode == 255
