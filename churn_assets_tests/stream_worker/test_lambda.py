"""The Lambda handler with events as AWS sends them."""

import base64
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bento.champion import read_champion
from bento.ids import stream_id
from bento.settings import get_settings
from bento.store import open_store
from churn_assets_tests.champions import make_champion, point, random_customers
from churn_assets_tests.streaming import create_streams, read_stream
from stream_worker import lambda_handler
from stream_worker.aws import Clients
from stream_worker.replay import dead_letters

ARRIVAL_S = 1_795_247_000.123


@pytest.fixture
def results(clients: Clients, champion: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cold function with a live champion; the name of its results stream."""
    name = f"results-{uuid.uuid4().hex[:8]}"
    create_streams(clients.kinesis, 1, name)
    monkeypatch.setenv("STREAM_OUT", name)
    monkeypatch.setenv("DEAD_LETTER_PREFIX", f"dead-letters-{name}/")
    monkeypatch.setattr(lambda_handler, "PATIENCE_S", 0.3)
    handlers, level = logging.root.handlers[:], logging.root.level
    cool()
    make_live(champion)
    yield name
    cool()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def cool() -> None:
    """What a fresh execution environment has: nothing cached."""
    get_settings.cache_clear()
    lambda_handler._processor.cache_clear()
    lambda_handler._follower.cache_clear()


def make_live(folder: Path) -> None:
    """Point at a champion folder."""
    point(get_settings().live_pointer, folder, read_champion(folder))


def kinesis_event(*data: bytes, stream: str = "predictions") -> dict[str, Any]:
    """The sample event of AWS's documentation with these records."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": f"495903382714902566085596925383615710959215759891{n:04d}",
                    "data": base64.b64encode(one).decode(),
                    "approximateArrivalTimestamp": ARRIVAL_S,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000006:4959033827149025660855969253836157109592{n:04d}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::111122223333:role/lambda-role",
                "awsRegion": "us-east-2",
                "eventSourceARN": f"arn:aws:kinesis:us-east-2:111122223333:stream/{stream}",
            }
            for n, one in enumerate(data)
        ]
    }


def answers(clients: Clients, stream: str) -> list[dict[str, Any]]:
    records = read_stream(clients.kinesis, stream).values()
    return [msgspec.json.decode(record.data) for shard in records for record in shard]


def test_records_are_answered_logged_and_dead_lettered(
    clients: Clients,
    results: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LOG_PREDICTIONS", "true")
    cool()
    customers = random_customers(3)
    event = kinesis_event(*map(msgspec.json.encode, customers), b"rubbish")
    assert lambda_handler.handler(event, None) == {"batchItemFailures": []}
    found = answers(clients, results)
    assert [answer["customer_id"] for answer in found] == [c.customer_id for c in customers]
    assert found[0]["prediction_id"] == stream_id(
        "predictions",
        "shardId-000000000006",
        event["Records"][0]["kinesis"]["sequenceNumber"],
        round(ARRIVAL_S * 1000),
    )
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines()]
    logged = [line["prediction_id"] for line in lines if line["event"] == "prediction"]
    assert logged == [answer["prediction_id"] for answer in found]
    store = open_store(get_settings())
    assert store.count() == 3
    [letter] = dead_letters(get_settings(), clients).read()
    assert (letter.data, letter.reason[0].field) == (b"rubbish", "body")

    lambda_handler.handler(event, None)  # Lambda may call twice
    assert store.count() == 3
    assert len(list(dead_letters(get_settings(), clients).read())) == 1
    store.close()


def test_a_failure_names_the_first_record_to_try_again(
    results: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_OUT", "no-such-stream")
    cool()
    event = kinesis_event(*map(msgspec.json.encode, random_customers(2)))
    first = event["Records"][0]["kinesis"]["sequenceNumber"]
    answer = lambda_handler.handler(event, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": first}]}


def test_a_test_run_returns_the_answers_and_writes_nothing(
    clients: Clients, results: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_RUN", "True")
    cool()
    customers = random_customers(2)
    event = kinesis_event(b"rubbish", *map(msgspec.json.encode, customers))
    answer = lambda_handler.handler(event, None)
    assert [one["customer_id"] for one in answer["predictions"]] == [
        customer.customer_id for customer in customers
    ]
    assert answer["batchItemFailures"] == []
    assert answers(clients, results) == []
    assert not (get_settings().churn_home / "predictions.db").exists()
    assert list(dead_letters(get_settings(), clients).read()) == []


def test_run_id_pins_the_model(results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = get_settings().churn_home / "champion"
    pinned = make_champion(home / "pinned", seed=5)
    monkeypatch.setenv("RUN_ID", pinned.model_run_id)
    monkeypatch.setenv("TEST_RUN", "True")
    cool()
    answer = lambda_handler.handler(
        kinesis_event(msgspec.json.encode(random_customers(1)[0])), None
    )
    assert answer["predictions"][0]["model_run_id"] == pinned.model_run_id
    monkeypatch.setenv("RUN_ID", "f" * 32)
    cool()
    with pytest.raises(RuntimeError, match="no model"):
        lambda_handler.handler(
            kinesis_event(b"{}", msgspec.json.encode(random_customers(1)[0])), None
        )
