"""Bulk writes that keep order and lose nothing, against answers as Kinesis gives them."""

import random
import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, cast

import pytest

from stream_worker.health import Health
from stream_worker.patience import GaveUpError, Patience
from stream_worker.publisher import MAX_BYTES, Message, next_call, publish

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


class FullStream:
    """A stream that is over its rate: it refuses a random part of every call."""

    def __init__(self, share: float) -> None:
        self.taken: list[Message] = []
        self.calls: list[int] = []
        self._share = share
        self._random = random.Random(1)

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.calls.append(len(Records))
        results: list[dict[str, str]] = []
        for record in Records:
            if self._random.random() < self._share:
                results.append({"ErrorCode": "ProvisionedThroughputExceededException"})
            else:
                self.taken.append(Message(record["PartitionKey"], record["Data"]))
                results.append({"SequenceNumber": str(len(self.taken))})
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedRecordCount": failed, "Records": results}


def send_all(stream: FullStream, messages: list[Message], health: Health | None = None) -> None:
    patience = Patience(health or Health(), "test", threading.Event(), seconds=20)
    publish(cast("KinesisClient", stream), "results", messages, patience)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_each_key_arrives_complete_and_in_order_whatever_is_refused(share: float) -> None:
    messages = [Message(f"k{n % 40}", str(n).encode()) for n in range(400)]
    stream = FullStream(share)
    send_all(stream, messages)
    assert sorted(stream.taken) == sorted(messages)
    by_key: dict[str, list[int]] = defaultdict(list)
    for message in stream.taken:
        by_key[message.key].append(int(message.data))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_different_keys_travel_500_a_call() -> None:
    stream = FullStream(0)
    send_all(stream, [Message(str(n), b"x") for n in range(1_200)])
    assert stream.calls == [500, 500, 200]


def test_a_call_stays_within_five_megabytes() -> None:
    big = [Message(str(n), b"x" * 2**20) for n in range(7)]
    pending = deque(big)
    calls = []
    while pending:
        calls.append(next_call(pending))
    assert [len(call) for call in calls] == [4, 3]
    assert [message for call in calls for message in call] == big
    assert all(sum(len(m.data) + len(m.key) for m in call) <= MAX_BYTES for call in calls)


def test_health_says_that_the_stream_refuses_and_then_that_it_does_not() -> None:
    health = Health()
    stream = FullStream(1)
    patience = Patience(health, "shard", threading.Event(), seconds=0.5)
    with pytest.raises(GaveUpError, match="ProvisionedThroughputExceeded"):
        publish(cast("KinesisClient", stream), "results", [Message("k", b"x")], patience)
    assert list(health.troubles()) == ["shard: writing to results"]
    stream._share = 0
    patience = Patience(health, "shard", threading.Event())
    publish(cast("KinesisClient", stream), "results", [Message("k", b"x")], patience)
    assert health.troubles() == {}


def test_a_stop_ends_the_waiting() -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    patience = Patience(Health(), "shard", stop)
    with pytest.raises(GaveUpError):
        publish(cast("KinesisClient", FullStream(1)), "results", [Message("k", b"x")], patience)
