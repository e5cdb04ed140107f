"""What is looked at on a living compose stack; each returns what it saw or raises `CheckError`."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import boto3

from deploy.check.compose_project import Project
from deploy.check.framework import CheckError, run
from deploy.compose.platform import CUSTOMER, ask

JOBS = {"http", "stream", "exporter", "prometheus", "alertmanager"}
PATIENCE_S = 90.0
LOGGED = """
import pymongo, os, sys
rows = pymongo.MongoClient(os.environ["MONGODB_URI"])["prediction_service"]["data"]
ids = sys.argv[1].split(",")
print(len(ids) - sum(rows.find_one({"_id": i}) is not None for i in ids))
"""
T = TypeVar("T")


def streamed(found: Project, run_id: str) -> str:
    """A Kinesis record is answered by the worker, with the released model."""
    account = boto3.Session("embedded", "embedded", region_name="eu-west-1")  # it accepts any
    kinesis: Any = account.client("kinesis", endpoint_url=found.url("EMULATOR_PORT"))
    customer = json.dumps({**CUSTOMER, "customer_id": 7}).encode()
    kinesis.put_record(StreamName="predictions", Data=customer, PartitionKey="7")
    [shard] = kinesis.list_shards(StreamName="results")["Shards"]

    def answer() -> str:
        iterator = kinesis.get_shard_iterator(
            StreamName="results", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        answers = [json.loads(record["Data"]) for record in records]
        if not any(a["customer_id"] == 7 and a["model_run_id"] == run_id for a in answers):
            raise CheckError(f"the worker did not answer: {answers}")
        return "stream answered"

    return eventually(answer)


def logged(found: Project, ids: Sequence[str]) -> str:
    """Predictions are in MongoDB, each of them."""

    def look() -> str:
        script = ("exec", "-T", "dagster-code", "python", "-c", LOGGED, ",".join(ids))
        missing = found.run(*script).splitlines()[-1]
        if missing != "0":
            raise CheckError(f"{missing} of {len(ids)} answered predictions are not in MongoDB")
        return f"{len(ids)} in MongoDB"

    return eventually(look)


def targets(found: Project) -> str:
    """Prometheus reaches every server that it is configured for."""
    active = ask(f"{found.url('PROMETHEUS_PORT')}/api/v1/targets")["data"]["activeTargets"]
    up = {target["labels"]["job"] for target in active if target["health"] == "up"}
    down = [target["lastError"] for target in active if target["health"] != "up"]
    if down or up != JOBS:
        raise CheckError(f"Prometheus: up {sorted(up)}, not {sorted(JOBS - up)}: {down}")
    return f"{len(active)} targets up"


def reports(found: Project) -> str:
    """The report server shows the list of reports."""
    page = run(["curl", "-fsS", "--noproxy", "*", f"{found.url('REPORTS_PORT')}/"], Path.cwd())
    if "<h1>Reports</h1>" not in page:
        raise CheckError(f"no list of reports: {page[:200]}")
    return "reports listed"


def shipped(found: Project, prediction_id: str) -> str:
    """The log line of a prediction left the engine for the log shipper, as JSON."""
    for message in list(found.logs):
        if message.get("_com.docker.compose.service") == "http":
            line = message["short_message"]
            if line.startswith("{") and json.loads(line).get("prediction_id") == prediction_id:
                return "log line shipped"
    raise CheckError(f"none of {len(found.logs)} log messages is about prediction {prediction_id}")


def crash(found: Project) -> str:
    """All processes of the HTTP service die under traffic: it comes back, no prediction is lost."""
    ids: list[str] = []
    refused = 0
    killed_at: float | None = None
    back: float | None = None
    deadline = time.monotonic() + PATIENCE_S
    while back is None and time.monotonic() < deadline:
        try:
            ids.append(ask(f"{found.platform.http}/predict", CUSTOMER)["prediction_id"])
        except OSError:
            refused += 1
            time.sleep(0.1)
        else:
            if refused and killed_at is not None:
                back = time.monotonic() - killed_at
        if len(ids) == 200 and killed_at is None:
            killed_at = time.monotonic()
            command = [*found.compose, "exec", "-T", "http", "sh", "-c", "kill -9 -1"]
            subprocess.run(command, cwd=found.platform.root, capture_output=True, check=False)  # noqa: S603 - Compose's own
    if back is None:
        raise CheckError(
            f"the HTTP service did not come back: {len(ids)} answers, {refused} errors"
        )
    return f"killed, back after {back:.1f} s, {logged(found, ids)}"


def eventually(look: Callable[[], T]) -> T:
    """What `look` returns once it raises no `CheckError`; its last one after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return look()
        except CheckError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
