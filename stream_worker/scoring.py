"""From bytes to answers, log rows and dead letters: no network, no disk, the same on every call."""

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bento.answer import Answer
from bento.customer import Customer
from bento.decoding import CustomerError, Problem, decode
from bento.ids import stream_id
from bento.runner import ChurnRunner
from bento.store import PredictionRow, prediction_row
from stream_worker.publisher import Message
from stream_worker.shards import Record

MAX_BYTES = 64 * 1024
"""Longest record that may be a customer; the longest valid one has less than 2,000 bytes."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that is no customer: where it was, why it is refused, and what it was."""

    stream: str
    shard: str
    sequence: str
    key: str
    """Partition key."""
    arrival_ms: int
    reason: list[Problem]
    data: bytes
    """The original bytes (base64 in JSON)."""


class Scored(NamedTuple):
    """What a batch of records comes to; `rows` and `messages` belong together, one by one."""

    rows: list[PredictionRow]
    messages: list[Message]
    dead: list[DeadLetter]


_decoder = msgspec.json.Decoder(Customer)
_encoder = msgspec.json.Encoder()


def score(stream: str, shard: str, records: Sequence[Record], runner: ChurnRunner) -> Scored:
    """Score all records of one shard with one model; the order of the records is kept."""
    customers: list[Customer] = []
    sources: list[Record] = []
    dead: list[DeadLetter] = []
    for record in records:
        try:
            customer = read_customer(record.data)
        except CustomerError as error:
            dead.append(DeadLetter(stream, shard, *_position(record), error.detail, record.data))
        else:
            customers.append(customer)
            sources.append(record)
    if not customers:
        return Scored([], [], dead)
    rows, messages = [], []
    chances = runner.score(customers).tolist()
    for customer, record, chance in zip(customers, sources, chances, strict=True):
        prediction_id = stream_id(stream, shard, record.sequence, record.arrival_ms)
        row = prediction_row(customer, prediction_id, chance, runner.champion, "stream")
        rows.append(row)
        messages.append(_message(row))
    return Scored(rows, messages, dead)


def read_customer(data: bytes) -> Customer:
    """The one customer in a record's bytes; raises `CustomerError`.

    JSON in base64 is accepted too: version 1 of the AWS CLI encodes `--data` itself, so
    that the predecessor's base64 argument arrives encoded.
    """
    if len(data) > MAX_BYTES:
        raise CustomerError([Problem("body", f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")])
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _read_slowly(data)


def _read_slowly(data: bytes) -> Customer:
    try:
        text = base64.b64decode(data, validate=True)
    except binascii.Error:
        text = data
    found = decode(text if text.lstrip()[:1] == b"{" else data)
    if isinstance(found, list):
        raise CustomerError([Problem("body", "an array", "one customer a record")])
    return found


def _position(record: Record) -> tuple[str, str, int]:
    return record.sequence, record.key, record.arrival_ms


def _message(row: PredictionRow) -> Message:
    """The HTTP answer. Its key is the customer; without one there is no order to keep."""
    answer = Answer(
        churn_chance=row.prediction,
        model_run_id=row.model_run_id,
        model_version=row.model_version,
        prediction_id=row.prediction_id,
        tier=row.tier,
        churn=row.churn,
    )
    if row.customer_id is None:
        return Message(row.prediction_id, _encoder.encode(answer))
    answer.customer_id = row.customer_id
    return Message(str(row.customer_id), _encoder.encode(answer))
