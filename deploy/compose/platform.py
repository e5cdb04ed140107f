"""The platform in containers, trained and asked over its published ports.

With nothing but Python's library, so that Docker and make are all that a machine needs.
"""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TRAINING_JOB = "model_tuning_and_uploading"
REPORTING_JOB = "evidently_data_reporting"
TRAIN_PATIENCE_S = 1800.0
PATIENCE_S = 180.0
CUSTOMER = {
    "customer_age": 50,
    "gender": "M",
    "dependent_count": 2,
    "education_level": 3,
    "marital_status": "married",
    "income_category": 2,
    "card_category": "blue",
    "months_on_book": 4,
    "total_relationship_count": 3,
    "credit_limit": 4000,
    "total_revolving_bal": 2511,
}
"""The customer of the predecessor's curl."""

_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
_LOOK = """query($run: ID!) { runOrError(runId: $run) { ... on Run {
  status stepStats { stepKey status startTime endTime } } } }"""
_WHY = """query($run: ID!) { runOrError(runId: $run) { ... on Run { eventConnection { events {
  ... on ExecutionStepFailureEvent { stepKey error { message causes { message } } }
  ... on RunFailureEvent { error { message } } } } } } }"""


class PlatformError(RuntimeError):
    """A stage failed; the message names it and where to read on."""


class Platform(NamedTuple):
    """A compose stack: where it answers, and how it is commanded."""

    compose: Sequence[str] = ("docker", "compose")
    root: Path = ROOT
    http: str = "http://127.0.0.1:9696"
    mlflow: str = "http://127.0.0.1:5051"
    dagster: str = "http://127.0.0.1:3000"
    key: str = ""
    """An API key of the HTTP service, where it asks for one."""
    experiment: str = "churn"
    report_minutes: int = 180
    say: Callable[[str], None] = print

    def run(self, *arguments: str) -> None:
        """Run a command of Compose and show what it says; raises `PlatformError`."""
        command = [*self.compose, *arguments]
        done = subprocess.run(command, cwd=self.root, check=False)  # noqa: S603 - Compose's own
        if done.returncode:
            raise PlatformError(f"docker compose {' '.join(arguments)} failed")

    def train(self, config: Mapping[str, Any] | None = None) -> str:
        """Train and follow the stages; returns the MLflow run that may be promoted."""
        self.follow(self.launch(TRAINING_JOB, config or {}))
        for alias in ("challenger", "champion"):
            query = f"name=best_model-{self.experiment}&alias={alias}"
            with_alias = f"{self.mlflow}/api/2.0/mlflow/registered-models/alias?{query}"
            try:
                return str(ask(with_alias)["model_version"]["run_id"])
            except urllib.error.HTTPError:
                continue
        raise PlatformError("no version passed its gates: see the checks of best_model in Dagster")

    def promote(self, run_id: str) -> None:
        """Make a run champion: a sensor packages and publishes it, and the servers follow."""
        self.run("exec", "-T", "dagster-code", "python", "-m", "churn_assets.promote", run_id)

    def predict(self) -> dict[str, Any]:
        """The answer to the predecessor's curl; raises `OSError`, `PlatformError` without a key."""
        try:
            return ask(f"{self.http}/predict", CUSTOMER, self.key)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            raise PlatformError("the HTTP service asks for a key of CHURN_API_KEYS") from error

    def served(self, run_id: str) -> dict[str, Any]:
        """The answer to the predecessor's curl once it is that run's; raises `PlatformError`."""
        seen = "no answer"
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = self.predict()
                if answer["model_run_id"] == run_id:
                    return answer
                seen = f"still run {answer['model_run_id']}"
            except OSError as error:
                seen = str(error)
            time.sleep(1)
        raise PlatformError(f"{self.http} does not serve run {run_id}: {seen}")

    def launch(self, job: str, config: Mapping[str, Any], **tags: str) -> str:
        """Queue a job as the UI's Launch button does; returns the id of its run."""
        params = {
            "selector": {
                "repositoryLocationName": "churn_assets",
                "repositoryName": "__repository__",
                "jobName": job,
            },
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }
        answer = self._graphql(_LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise PlatformError(f"{job}: {json.dumps(answer)}")
        return str(answer["run"]["runId"])

    def follow(self, run_id: str) -> None:
        """Print each step of a run when it ends; raises `PlatformError` unless all succeed."""
        self.say(f"  {self.dagster}/runs/{run_id}")
        told: set[str] = set()
        deadline = time.monotonic() + TRAIN_PATIENCE_S
        status = ""
        while status not in ("SUCCESS", "FAILURE", "CANCELED"):
            if time.monotonic() > deadline:
                raise PlatformError(f"{run_id} has not ended after {TRAIN_PATIENCE_S:.0f} s")
            time.sleep(1)
            run = self._graphql(_LOOK, {"run": run_id})["runOrError"]
            status = run["status"]
            for step in run["stepStats"]:
                if step["endTime"] and step["stepKey"] not in told:
                    told.add(step["stepKey"])
                    seconds = step["endTime"] - step["startTime"]
                    ended = "" if step["status"] == "SUCCESS" else f"  {step['status']}"
                    self.say(f"  {step['stepKey']:<40} {seconds:6.1f} s{ended}")
        if status != "SUCCESS":
            raise PlatformError(f"the run ended as {status}: {self._why(run_id)}")

    def _why(self, run_id: str) -> str:
        """What the steps that failed say, innermost cause first."""
        run = self._graphql(_WHY, {"run": run_id})["runOrError"]
        errors = [event for event in run["eventConnection"]["events"] if event.get("error")]
        reasons = [
            f"{event.get('stepKey', 'run')}: {(error.get('causes') or [error])[-1]['message']}"
            for event in errors
            for error in [event["error"]]
        ]
        return "\n".join(reasons).strip() or f"{self.dagster}/runs/{run_id}"

    def report(self) -> None:
        """Report on the present window, as the schedule will when it has ended."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        now = datetime.now(UTC)
        start = now - (now - epoch) % timedelta(minutes=self.report_minutes)
        self.follow(
            self.launch(REPORTING_JOB, {}, **{"dagster/partition": f"{start:%Y-%m-%d-%H:%M}"})
        )

    def _graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        answer = ask(f"{self.dagster}/graphql", {"query": query, "variables": variables})
        if "errors" in answer:
            raise PlatformError(f"Dagster: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data


def ask(url: str, body: object = None, key: str = "") -> dict[str, Any]:
    """GET, or POST a JSON body; returns the JSON answer, raises `OSError`."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the stack's own servers
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer
