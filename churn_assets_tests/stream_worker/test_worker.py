"""The worker as a process on the everyday emulator: contract, poison, model, probes, SIGTERM."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bento.ids import stream_id
from bento.runner import ChurnRunner
from bento.settings import Settings
from churn_assets_tests.champions import random_customers
from churn_assets_tests.serving import Server, churn_service, live_champion
from churn_assets_tests.stream_worker.test_scoring import PREDECESSOR
from churn_assets_tests.streaming import (
    create_streams,
    read_stream,
    stream_worker,
    wait_for_log,
)
from stream_worker.aws import Clients

PATIENCE_S = 20.0


class Place:
    """Two streams, a CHURN_HOME and a worker's environment that nobody else has."""

    def __init__(self, clients: Clients, home: Path) -> None:
        unique = uuid.uuid4().hex[:8]
        self.kinesis = clients.kinesis
        self.home = home
        self.stream_in, self.stream_out = f"predictions-{unique}", f"results-{unique}"
        self.env = {
            "STREAM_IN": self.stream_in,
            "STREAM_OUT": self.stream_out,
            "STREAM_LEASE_TABLE": f"leases-{unique}",
            "DEAD_LETTER_PREFIX": f"dead-letters-{unique}/",
            "LOG_PREDICTIONS": "true",
        }
        create_streams(self.kinesis, 1, self.stream_in, self.stream_out)

    def worker(self, name: str = "worker") -> Server:
        return stream_worker(self.home, name, **self.env)

    def put(self, *data: bytes) -> None:
        for one in data:
            self.kinesis.put_record(StreamName=self.stream_in, PartitionKey="1", Data=one)

    def answers(self, count: int) -> list[dict[str, Any]]:
        """The answers so far; waits for `count` of them."""
        assert eventually(lambda: len(self._answers()) >= count), self._answers()
        return self._answers()

    def _answers(self) -> list[dict[str, Any]]:
        records = read_stream(self.kinesis, self.stream_out).values()
        return [msgspec.json.decode(record.data) for shard in records for record in shard]


@pytest.fixture
def place(clients: Clients, tmp_path: Path) -> Place:
    return Place(clients, tmp_path / "churn")


@pytest.fixture
def working(place: Place) -> Iterator[Server]:
    live_champion(place.home)
    with place.worker() as worker:
        yield worker


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def probe(worker: Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(worker.url + path, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_predecessors_commands_work(place: Place, working: Server) -> None:
    data = base64.b64decode(PREDECESSOR)  # what version 2 of the AWS CLI sends
    place.put(data, PREDECESSOR.encode())  # and what version 1 sends
    place.answers(2)
    iterator = place.kinesis.get_shard_iterator(
        StreamName=place.stream_out,
        ShardId="shardId-000000000000",
        ShardIteratorType="TRIM_HORIZON",
    )["ShardIterator"]
    records = place.kinesis.get_records(ShardIterator=iterator)["Records"]
    first, second = (msgspec.json.decode(record["Data"]) for record in records)
    assert list(first)[:2] == ["churn chance", "model_run_id"]
    assert 0 < first["churn chance"] < 1
    assert first["churn chance"] == second["churn chance"]
    assert first["prediction_id"] != second["prediction_id"]


def test_answers_and_log_rows_are_the_scorers_bits(place: Place, working: Server) -> None:
    customers = random_customers(150, seed=3)
    place.put(*(msgspec.json.encode(customer) for customer in customers))
    answers = {answer["customer_id"]: answer for answer in place.answers(150)}
    expected = ChurnRunner(place.home / "champion" / "seed-0").score(customers)
    ids = [customer.customer_id for customer in customers]
    chances = np.array([answers[i]["churn chance"] for i in ids], np.float32)
    assert chances.tobytes() == expected.tobytes()

    rows = wait_for_log(Settings(churn_home=place.home), 150, PATIENCE_S)
    assert {row.prediction_id for row in rows} == {
        stream_id(place.stream_in, shard, record.sequence, record.arrival_ms)
        for shard, records in read_stream(place.kinesis, place.stream_in).items()
        for record in records
    }
    for row in rows:
        answer = answers[row.customer_id]
        assert (row.prediction, row.churn) == (answer["churn chance"], answer["churn"])
        assert row.prediction_id == answer["prediction_id"]

    def logged() -> set[str]:
        lines = [msgspec.json.decode(line) for line in working.log.read_bytes().splitlines()]
        return {line["prediction_id"] for line in lines if line["event"] == "prediction"}

    assert eventually(lambda: logged() == {row.prediction_id for row in rows})


def test_http_and_stream_give_the_same_bits(place: Place, working: Server) -> None:
    customers = random_customers(200, seed=11)
    place.put(*(msgspec.json.encode(customer) for customer in customers))
    with churn_service(place.home) as service:
        request = urllib.request.Request(
            f"{service.url}/predict",
            msgspec.json.encode(customers),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            over_http = {answer["customer_id"]: answer for answer in json.load(response)}
    over_stream = {answer["customer_id"]: answer for answer in place.answers(200)}
    assert len(over_http) == 200
    for answer in (*over_http.values(), *over_stream.values()):
        del answer["prediction_id"]
    assert over_stream == over_http, "equal floats have equal bits, but for zeros"
    assert all(answer["churn chance"] > 0 for answer in over_http.values())


def test_without_a_model_it_waits_and_with_another_it_changes(place: Place) -> None:
    [data] = [msgspec.json.encode(customer) for customer in random_customers(1)]
    with place.worker() as worker:
        place.put(data)
        time.sleep(1.5)
        status, body = probe(worker, "/readyz")
        assert (status, list(json.loads(body)["reasons"])) == (503, ["champion"])
        assert probe(worker, "/livez")[0] == 200
        assert place.answers(0) == []

        live_champion(place.home, seed=0)
        [first] = place.answers(1)
        assert first["model_run_id"] == f"{0:032x}"
        assert probe(worker, "/readyz")[0] == 200

        live_champion(place.home, seed=1)
        swapped = f"{1:032x}"
        assert eventually(lambda: swapped in probe(worker, "/readyz")[1])
        place.put(data)
        second = place.answers(2)[1]
        assert (second["model_run_id"], second["model_version"]) == (swapped, "2")
        assert second["churn chance"] != first["churn chance"]


def test_poison_is_kept_listed_and_replayed_and_stops_nobody(place: Place, working: Server) -> None:
    good = msgspec.json.encode(random_customers(1)[0])
    wrong = good.replace(b'"gender"', b'"sex"')
    place.put(b"\x00rubbish", wrong, good)
    assert len(place.answers(1)) == 1
    listed = dead_letters(place)
    assert len(listed) == 2
    assert "8 bytes  body: malformed JSON" in listed[0]
    assert "sex: unknown field" in listed[1]

    # the fix: what was refused is a customer by now
    letters = place_letters(place)
    fixed = msgspec.json.decode(letters[1][1]) | {"data": base64.b64encode(good).decode()}
    put_letter(place, letters[1][0], msgspec.json.encode(fixed))
    replayed = dead_letters(place, "--replay")
    assert [line.split()[0] for line in replayed] == ["refused", "replayed"]
    assert [key for key, _ in place_letters(place)] == [letters[0][0]]
    answers = place.answers(2)
    assert answers[1]["prediction_id"] == stream_id(
        place.stream_in, fixed["shard"], fixed["sequence"], fixed["arrival_ms"]
    )
    metrics = probe(working, "/metrics")[1]
    assert "churn_stream_records_total 3.0" in metrics
    assert "churn_stream_dead_letters_total 2.0" in metrics
    assert 'churn_stream_millis_behind_latest{shard="shardId-000000000000"} ' in metrics
    assert probe(working, "/elsewhere")[0] == 404
    log = working.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert sum(line["records"] for line in lines if line["event"] == "batch") == 3
    assert "rubbish" not in log
    assert str(random_customers(1)[0].customer_id) not in log


def test_sigterm_leaves_checkpoint_and_leases_to_the_next(place: Place, clients: Clients) -> None:
    live_champion(place.home)
    data = [msgspec.json.encode(customer) for customer in random_customers(60)]
    with place.worker("first") as first:
        place.put(*data[:30])
        place.answers(30)
    assert '"event":"worker stopped"' in first.log.read_text()
    [row] = clients.dynamodb.scan(TableName=place.env["STREAM_LEASE_TABLE"])["Items"]
    assert "lease_owner" not in row
    with place.worker("second") as second:
        place.put(*data[30:])
        answers = place.answers(60)
    assert len({answer["prediction_id"] for answer in answers}) == len(answers) == 60
    taken = [line for line in second.log.read_text().splitlines() if "lease taken" in line]
    assert len(taken) == 1
    assert json.loads(taken[0])["how"] == "taken", "a free lease is not waited for or stolen"


def test_the_simulator_gets_all_its_answers(place: Place, working: Server) -> None:
    output = subprocess.run(
        [sys.executable, "-m", "churn_assets.simulator", "stream", "--rate", "40", "--count", "30"],
        env=os.environ | place.env,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "30 sent, 30 answered, 0 of them again" in " ".join(output.split())
    names = {answer["customer_id"] for answer in place.answers(30)}
    assert len(names) == 30
    assert all(name.startswith("simulated-") for name in names)


def test_a_taken_port_is_said_plainly(place: Place, working: Server) -> None:
    port = str(working.port)
    result = subprocess.run(
        [sys.executable, "-m", "stream_worker"],
        env=os.environ | place.env | {"CHURN_HOME": str(place.home), "STREAM_METRICS_PORT": port},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert f"port {port} is taken" in result.stderr
    assert "STREAM_METRICS_PORT" in result.stderr
    assert "Traceback" not in result.stderr


def dead_letters(place: Place, *options: str) -> list[str]:
    """The lines of the command."""
    return subprocess.run(
        [sys.executable, "-m", "stream_worker", "dead-letters", *options],
        env=os.environ | place.env | {"CHURN_HOME": str(place.home)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()


def place_letters(place: Place) -> list[tuple[str, bytes]]:
    """Key and body of each letter in the bucket."""
    s3 = Clients().s3
    bucket = Settings().churn_bucket
    listing = s3.list_objects_v2(Bucket=bucket, Prefix=place.env["DEAD_LETTER_PREFIX"])
    keys = [entry["Key"] for entry in listing["Contents"]]
    return [(key, s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]


def put_letter(place: Place, key: str, body: bytes) -> None:
    Clients().s3.put_object(Bucket=Settings().churn_bucket, Key=key, Body=body)
