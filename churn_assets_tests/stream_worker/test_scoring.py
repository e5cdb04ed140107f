"""Bytes in, answers, log rows and dead letters out."""

import base64

import msgspec
import numpy as np
import pytest

from bento.customer import Customer
from bento.decoding import CustomerError
from bento.ids import created_at, milliseconds, stream_id
from bento.runner import ChurnRunner
from churn_assets_tests.champions import random_customers
from churn_assets_tests.stream_worker.conftest import ARRIVAL_MS, customer_records, record
from stream_worker.scoring import MAX_BYTES, read_customer, score

PREDECESSOR = (
    "ewogICAgICAiY3VzdG9tZXJfYWdlIjogMTAwLAogICAgICAiZ2VuZGVyIjogIkYiLAogICAgICAiZGVwZW5kZW50"
    "X2NvdW50IjogMiwKICAgICAgImVkdWNhdGlvbl9sZXZlbCI6IDIsCiAgICAgICJtYXJpdGFsX3N0YXR1cyI6ICJt"
    "YXJyaWVkIiwKICAgICAgImluY29tZV9jYXRlZ29yeSI6IDIsCiAgICAgICJjYXJkX2NhdGVnb3J5IjogImJsdWUi"
    "LAogICAgICAibW9udGhzX29uX2Jvb2siOiA2LAogICAgICAidG90YWxfcmVsYXRpb25zaGlwX2NvdW50IjogMywK"
    "ICAgICAgImNyZWRpdF9saW1pdCI6IDQwMDAsCiAgICAgICJ0b3RhbF9yZXZvbHZpbmdfYmFsIjogMjUwMAogICAg"
    "fQ=="
)
"""The `--data` of the predecessor's documented `aws kinesis put-record`."""


def test_every_answer_is_the_one_http_gives(runner: ChurnRunner) -> None:
    customers = random_customers(300)
    scored = score("predictions", "shard", customer_records(300), runner)
    answers = [msgspec.json.decode(message.data) for message in scored.messages]
    bits = np.array([answer["churn chance"] for answer in answers], np.float32)
    assert bits.tobytes() == runner.score(customers).tobytes()
    assert [answer["customer_id"] for answer in answers] == [c.customer_id for c in customers]
    assert {answer["tier"] for answer in answers} == {"core", "full"}
    assert list(answers[0]) == [
        *("churn chance", "model_run_id", "model_version", "prediction_id"),
        *("customer_id", "tier", "churn"),
    ]
    assert {answer["model_run_id"] for answer in answers} == {runner.champion.model_run_id}
    assert not scored.dead


def test_a_record_read_twice_writes_the_same_row(runner: ChurnRunner) -> None:
    records = customer_records(20)
    first = score("predictions", "shard", records, runner)
    again = score("predictions", "shard", records[7:], runner)
    assert again.rows == first.rows[7:]
    assert again.messages == first.messages[7:]


def test_the_id_and_the_time_come_from_the_position(runner: ChurnRunner) -> None:
    [one] = customer_records(1)
    [row] = score("predictions", "shard-3", [one], runner).rows
    assert row.prediction_id == stream_id("predictions", "shard-3", one.sequence, ARRIVAL_MS)
    assert milliseconds(row.prediction_id) == ARRIVAL_MS
    assert row.created_at == created_at(row.prediction_id) == "2026-11-21T07:43:20.123Z"
    assert row.source == "stream"
    elsewhere = score("predictions", "shard-4", [one], runner).rows
    assert elsewhere[0].prediction_id != row.prediction_id


def test_the_key_of_an_answer_is_the_customer_or_nobody(runner: ChurnRunner) -> None:
    customer = random_customers(1)[0]
    named = msgspec.json.encode(msgspec.structs.replace(customer, customer_id="kate"))
    nameless = msgspec.json.encode(msgspec.structs.replace(customer, customer_id=None))
    scored = score("predictions", "shard", [record(named, 1), record(nameless, 2)], runner)
    assert [message.key for message in scored.messages] == ["kate", scored.rows[1].prediction_id]
    assert "customer_id" not in msgspec.json.decode(scored.messages[1].data)


@pytest.mark.parametrize("data", [base64.b64decode(PREDECESSOR), PREDECESSOR.encode()])
def test_the_predecessors_record_from_either_version_of_the_aws_cli(data: bytes) -> None:
    customer = read_customer(data)
    assert customer == Customer(100, "F", 2, 2, "married", 2, "blue", 6, 3, 4000.0, 2500.0)


@pytest.mark.parametrize(
    ("data", "field", "problem"),
    [
        (b"", "body", "malformed JSON"),
        (b"\xff\xfe\x00", "body", "JSON"),
        (b"{", "body", "malformed JSON"),
        (b"[]", "body", "empty array"),
        (b'"text"', "body", "not an object"),
        (b"{" + b" " * MAX_BYTES + b"}", "body", f"{MAX_BYTES + 2} bytes"),
        (b"[" * 50_000, "body", "JSON"),
    ],
)
def test_what_is_no_customer_says_why(data: bytes, field: str, problem: str) -> None:
    with pytest.raises(CustomerError) as caught:
        read_customer(data)
    assert caught.value.detail[0].field == field
    assert problem in caught.value.detail[0].problem


def test_an_array_of_customers_is_no_record() -> None:
    with pytest.raises(CustomerError, match="an array"):
        read_customer(msgspec.json.encode(random_customers(2)))


def test_bad_records_leave_the_others_alone(runner: ChurnRunner) -> None:
    good = customer_records(4)
    old = msgspec.json.decode(good[1].data) | {"customer_age": 200}
    bad = [record(b"rubbish", 10, "k"), record(msgspec.json.encode(old), 11)]
    scored = score("predictions", "shard", [bad[0], *good[:2], bad[1], *good[2:]], runner)
    alone = score("predictions", "shard", good, runner)
    assert scored.rows == alone.rows
    assert [letter.data for letter in scored.dead] == [one.data for one in bad]
    assert [letter.sequence for letter in scored.dead] == [one.sequence for one in bad]
    assert scored.dead[0].key == "k"
    assert scored.dead[1].reason[0].field == "customer_age"


def test_a_batch_of_rubbish_is_only_dead_letters(runner: ChurnRunner) -> None:
    scored = score("predictions", "shard", [record(b"x", n) for n in range(5)], runner)
    assert (scored.rows, scored.messages, len(scored.dead)) == ([], [], 5)
