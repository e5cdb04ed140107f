"""Writing to a stream in bulk, in order, whatever part of a call is refused."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

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


class PartlyRefusedError(TransientError):
    """Kinesis refused some records of a call, as a rule because a shard's rate is used up."""


def publish(
    client: "KinesisClient", stream: str, messages: Iterable[Message], patience: Patience
) -> None:
    """Write all messages; returns when Kinesis has acknowledged every one.

    Only what a call refused is sent again, after a pause. A call never holds two
    messages of one key: were the first refused and the second not, sending the first
    again would put it behind the second.
    """
    pending = deque(messages)

    def send_some() -> None:
        call = next_call(pending)
        try:
            answer = client.put_records(
                StreamName=stream,
                Records=[{"Data": m.data, "PartitionKey": m.key} for m in call],
            )
        except BaseException:
            pending.extendleft(reversed(call))
            raise
        if answer.get("FailedRecordCount"):
            results = zip(call, answer["Records"], strict=True)
            refused = [(m, result["ErrorCode"]) for m, result in results if "ErrorCode" in result]
            pending.extendleft(m for m, _ in reversed(refused))
            kinds = ", ".join(sorted({code for _, code in refused}))
            raise PartlyRefusedError(f"{len(refused)} of {len(call)} records refused: {kinds}")

    while pending:
        patience.insist(f"writing to {stream}", send_some)


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
