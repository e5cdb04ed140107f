"""Writing to a stream in bulk, in order, whatever part of a call is refused."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from stream_worker import metrics
from stream_worker.patience import Patience, TransientError

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MAX_RECORDS = 500
"""Most records that AWS takes in one `PutRecords`."""

MAX_BYTES = 5 * 2**20
"""Most bytes of data and keys that AWS takes in one `PutRecords`."""


class Message(NamedTuple):
    """One record to write."""

    key: str
    """Partition key: messages of one key arrive in order."""
    data: bytes


class RefusedError(TransientError):
    """Kinesis refused every record of a call, as a rule because the shards' rate is used up."""


def publish(
    client: "KinesisClient", stream: str, messages: Iterable[Message], patience: Patience
) -> None:
    """Write all messages; returns when Kinesis has acknowledged every one.

    Only what a call refused is sent again, after a pause. A call never holds two
    messages of one key: were the first refused and the second not, sending the first
    again would put it behind the second.
    """
    pending = deque(messages)
    while pending:
        if patience.insist(f"writing to {stream}", lambda: _send_some(client, stream, pending)):
            patience.pause()


def _send_some(client: "KinesisClient", stream: str, pending: deque[Message]) -> int:
    """One call; what it did not take is back in `pending`. Returns how many were refused."""
    call = next_call(pending)
    unsent = call
    try:
        answer = client.put_records(
            StreamName=stream,
            Records=[{"Data": message.data, "PartitionKey": message.key} for message in call],
        )
        results = zip(call, answer["Records"], strict=True)
        unsent = [message for message, result in results if result.get("ErrorCode")]
    finally:
        pending.extendleft(reversed(unsent))
    metrics.REFUSED.inc(len(unsent))
    if len(unsent) == len(call):
        codes = {result["ErrorCode"] for result in answer["Records"]}
        raise RefusedError(f"{len(call)} records refused: {', '.join(sorted(codes))}")
    return len(unsent)


def next_call(pending: deque[Message]) -> list[Message]:
    """Take from `pending` what one call may hold: 500 records, 5 MB, each key once.

    What is left in `pending` keeps its order.
    """
    call: list[Message] = []
    passed: list[Message] = []
    keys: set[str] = set()
    room = MAX_BYTES
    while pending and len(call) < MAX_RECORDS:
        message = pending.popleft()
        size = len(message.data) + len(message.key.encode())
        if message.key in keys:
            passed.append(message)
            continue
        if size > room and call:
            passed.append(message)
            break
        keys.add(message.key)
        call.append(message)
        room -= size
    pending.extendleft(reversed(passed))
    return call
