"""What proves a deployment: the real service answers well, with the run that was meant."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bento.customer import tier
from bento.decoding import decode
from churn_assets_tests.conftest import NOWHERE
from churn_assets_tests.serving import Server, churn_service, live_champion
from deploy.delivery import verify

RUNS = [f"{seed:032x}" for seed in range(3)]
"""Run ids of the champions that `live_champion` makes."""
KEY = "a-key-of-the-tests"
GOLDEN: list[dict[str, Any]] = json.loads(verify.GOLDEN.read_text())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployed")


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Server]:
    live_champion(home, seed=0)
    with churn_service(home, CHURN_API_KEYS=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)


def run(url: str, *arguments: str) -> int:
    return verify.main(["--url", url, "--token-env", "THE_KEY", *arguments])


def test_golden_customers_are_valid_and_of_their_tier() -> None:
    customers = decode(json.dumps([each["customer"] for each in GOLDEN]).encode())
    assert isinstance(customers, list)
    assert [tier(customer) for customer in customers] == [each["tier"] for each in GOLDEN]
    assert {each["tier"] for each in GOLDEN} == {"core", "full"}


def test_the_meant_run_is_verified_and_printed(
    service: Server, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_champion(home, seed=0)
    assert run(service.url, "--expect-run-id", RUNS[0], "--deadline", "10") == 0
    assert capsys.readouterr().out == f"{RUNS[0]}\n"


def test_waits_for_a_swap(service: Server, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live_champion(home, seed=0)
    assert run(service.url, "--expect-run-id", RUNS[0], "--deadline", "10") == 0
    capsys.readouterr()
    swap = threading.Timer(1.5, live_champion, [home, 1])
    swap.start()
    assert run(service.url, "--changed-from", RUNS[0], "--deadline", "20") == 0
    swap.join()
    said = capsys.readouterr()
    assert said.out == f"{RUNS[1]}\n"
    assert f"run {RUNS[0]} is still served" in said.err


def test_fails_when_the_run_stays(
    service: Server, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_champion(home, seed=0)
    run(service.url, "--expect-run-id", RUNS[0], "--deadline", "10")
    started = time.monotonic()
    assert run(service.url, "--expect-run-id", RUNS[1], "--deadline", "2") == 1
    assert run(service.url, "--changed-from", RUNS[0], "--deadline", "1") == 1
    assert time.monotonic() - started < 6
    assert f"NOT VERIFIED: run {RUNS[0]} is served, {RUNS[1]} is meant" in capsys.readouterr().err


def test_fails_at_the_deadline_when_nothing_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(NOWHERE, "--deadline", "1") == 1
    assert "NOT VERIFIED: no answer" in capsys.readouterr().err


def test_a_wrong_key_fails_at_once(
    service: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THE_KEY", "wrong")
    started = time.monotonic()
    assert run(service.url, "--deadline", "60") == 1
    assert time.monotonic() - started < 5
    assert "HTTP 401" in capsys.readouterr().err


def right_answer(customer: dict[str, Any]) -> dict[str, Any]:
    """What a healthy service says, for broken ones to spoil."""
    golden = next(each for each in GOLDEN if each["customer"] == customer)
    return {
        "churn chance": 0.1 + 0.01 * GOLDEN.index(golden),
        "model_run_id": RUNS[0],
        "model_version": "1",
        "prediction_id": "1",
        "tier": golden["tier"],
        "churn": False,
        "customer_id": customer["customer_id"],
    }


FAULTS: dict[str, Any] = {
    "churn chance is None": lambda answer, many: answer.pop("churn chance"),
    "churn chance is nan": lambda answer, many: answer.update({"churn chance": float("nan")}),
    "churn chance is 1.5": lambda answer, many: answer.update({"churn chance": 1.5}),
    "churn chance is '0.5'": lambda answer, many: answer.update({"churn chance": "0.5"}),
    "model_run_id is ''": lambda answer, many: answer.update(model_run_id=""),
    "tier is 'other'": lambda answer, many: answer.update(tier="other"),
    "churn is 'no'": lambda answer, many: answer.update(churn="no"),
    "customer_id is 'somebody'": lambda answer, many: answer.update(customer_id="somebody"),
    "every customer gets 0.5": lambda answer, many: answer.update({"churn chance": 0.5}),
    "gets another score": lambda answer, many: answer.update(
        {"churn chance": answer["churn chance"] + 0.01 * many}
    ),
    "NOT VERIFIED: several runs answer": lambda answer, many: answer.update(
        model_run_id=RUNS[int(many)]
    ),
}


@pytest.mark.parametrize("said", FAULTS)
def test_a_malformed_answer_fails(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = isinstance(asked, list)
            answers = [right_answer(customer) for customer in (asked if many else [asked])]
            for answer in answers:
                FAULTS[said](answer, many)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answers if many else answers[0]).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    with HTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert run(f"http://127.0.0.1:{server.server_port}", "--deadline", "1") == 1
        server.shutdown()
    assert said in capsys.readouterr().err


def test_it_runs_as_a_program_without_any_package(service: Server, home: Path) -> None:
    live_champion(home, seed=2)
    program = [sys.executable, "-I", "-S", str(verify.__file__), "--url", service.url]
    done = subprocess.run(
        [*program, "--token-env", "THE_KEY", "--expect-run-id", RUNS[2], "--deadline", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{RUNS[2]}\n"), done.stderr
