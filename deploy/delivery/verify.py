"""Does a deployed service answer rightly, and with the model that was meant to be deployed?

`python3 -m deploy.delivery.verify --url http://127.0.0.1:9696 --expect-run-id RUN` asks
`POST /predict` with golden customers, alone and as an array, until three rounds in a row
are right. It waits for a service that is not there yet or serves another run, up to the
deadline; an answer that is wrong in itself fails at once. Prints the served run id; the
exit status is 1 when the service is not as it should be. It needs Python's standard
library alone, so that it runs where the service does.
"""

import argparse
import json
import math
import os
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

GOLDEN = Path(__file__).with_name("golden.json")
ROUNDS = 3
"""Right rounds in a row that prove a deployment: an old replica may answer one of them."""
TEXTS = ("model_run_id", "model_version", "prediction_id")


class NotYetError(Exception):
    """Not as it should be; waiting may mend it."""


class WrongError(Exception):
    """Not as it should be, and waiting mends nothing."""


class Expected(NamedTuple):
    """What to deploy was meant to bring about; without either, any run will do."""

    run_id: str | None = None
    not_run_id: str | None = None

    def check(self, served: str) -> None:
        """Raise `NotYetError` unless the served run is the one that is meant."""
        if self.run_id and served != self.run_id:
            raise NotYetError(f"run {served} is served, {self.run_id} is meant")
        if self.not_run_id and served == self.not_run_id:
            raise NotYetError(f"run {served} is still served")


class Service(NamedTuple):
    """A deployed service and the key it asks for."""

    url: str
    token: str | None = None
    timeout_s: float = 10

    def predict(self, customers: Any) -> Any:
        """The answer of `/predict`; raises `NotYetError`, or `WrongError` when it is refused."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310 - main() lets only http(s) through
            f"{self.url.rstrip('/')}/predict", json.dumps(customers).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310
                body = response.read()
        except urllib.error.HTTPError as error:
            said = error.read(500).decode(errors="replace")
            waits = error.code in (404, 408, 429) or error.code >= 500
            raise (NotYetError if waits else WrongError)(f"HTTP {error.code}: {said}") from error
        except (OSError, HTTPException) as error:
            raise NotYetError(f"no answer: {error}") from error
        try:
            return json.loads(body)
        except ValueError as error:
            raise WrongError(f"the answer is no JSON: {body[:200]!r}") from error


def check_answer(answer: Any, golden: dict[str, Any]) -> None:
    """Raise `WrongError` unless this is a well-formed answer for this golden customer."""
    if not isinstance(answer, dict):
        raise WrongError(f"the answer is no object: {answer!r}")
    chance = answer.get("churn chance")
    faults = [
        f"{name} is {answer.get(name)!r}"
        for name, right in {
            **{name: bool(answer.get(name)) and isinstance(answer[name], str) for name in TEXTS},
            "churn chance": isinstance(chance, float) and math.isfinite(chance) and 0 < chance < 1,
            "churn": isinstance(answer.get("churn"), bool),
            "tier": answer.get("tier") == golden["tier"],
            "customer_id": answer.get("customer_id") == golden["customer"]["customer_id"],
        }.items()
        if not right
    ]
    if faults:
        raise WrongError(f"answer for {golden['customer']['customer_id']}: {', '.join(faults)}")


def ask(service: Service, golden: list[dict[str, Any]]) -> str:
    """One round: every golden customer alone, then all of them; returns the run that served.

    Raises `NotYetError`, also when a swap of the model falls into the round, and
    `WrongError` for answers that no healthy model gives.
    """
    customers = [each["customer"] for each in golden]
    alone = [service.predict(customer) for customer in customers]
    together = service.predict(customers)
    if not isinstance(together, list) or len(together) != len(golden):
        raise WrongError(f"{len(golden)} customers got {str(together)[:200]}")
    for answers in (alone, together):
        for answer, each in zip(answers, golden, strict=True):
            check_answer(answer, each)
    runs = {answer["model_run_id"] for answer in alone + together}
    if len(runs) > 1:
        raise NotYetError(f"several runs answer: {', '.join(sorted(runs))}")
    scores = [answer["churn chance"] for answer in alone]
    if scores != [answer["churn chance"] for answer in together]:
        raise WrongError("a customer alone and in an array gets another score")
    if len(set(scores)) == 1:
        raise WrongError(f"every customer gets {scores[0]}: the model says nothing")
    return str(runs.pop())


def verify(service: Service, expected: Expected, deadline_s: float, pause_s: float = 1) -> str:
    """Wait for `ROUNDS` right rounds in a row; returns the run that is served.

    Raises `WrongError`, or `NotYetError` when `deadline_s` seconds were not enough. Says on
    standard error what it waits for, each time that changes.
    """
    golden = json.loads(GOLDEN.read_text())
    started = time.monotonic()
    right, said = 0, ""
    while True:
        try:
            served = ask(service, golden)
            expected.check(served)
            right += 1
            if right == ROUNDS:
                return served
            continue
        except NotYetError as error:
            right, passed = 0, time.monotonic() - started
            if str(error) != said:
                said = str(error)
                print(f"{passed:5.0f} s: {said}", file=sys.stderr, flush=True)
            if passed + pause_s > deadline_s:
                raise NotYetError(f"{said} (after {passed:.0f} s)") from error
        time.sleep(pause_s)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="deploy.delivery.verify", description=__doc__)
    parser.add_argument("--url", required=True, help="the service's address")
    parser.add_argument("--token-env", metavar="NAME", help="variable that holds an API key")
    meant = parser.add_mutually_exclusive_group()
    meant.add_argument("--expect-run-id", metavar="RUN", help="the run that is to be served")
    meant.add_argument("--changed-from", metavar="RUN", help="the run that is to be gone")
    parser.add_argument("--deadline", type=float, default=300, metavar="SECONDS")
    chosen = parser.parse_args(arguments)
    if not chosen.url.startswith(("http://", "https://")):
        parser.error("--url: http:// or https:// is needed")
    token = os.environ.get(chosen.token_env) if chosen.token_env else None
    try:
        served = verify(
            Service(chosen.url, token),
            Expected(chosen.expect_run_id, chosen.changed_from),
            chosen.deadline,
        )
    except (NotYetError, WrongError) as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
        return 1
    print(f"verified: {chosen.url} serves run {served}", file=sys.stderr)
    print(served)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
