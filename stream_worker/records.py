"""`GetRecords` and `PutRecords` coded by msgspec: a fraction of botocore's CPU time a record.

botocore walks its model of the API for every field of every record. Its events let the
two calls that carry records leave that out; endpoints, signing, retries and errors stay
botocore's, and callers see the same dictionaries.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NotRequired

import msgspec
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


class _Record(TypedDict):
    SequenceNumber: str
    PartitionKey: str
    Data: bytes
    ApproximateArrivalTimestamp: float


class _Read(TypedDict):
    Records: list[_Record]
    NextShardIterator: NotRequired[str | None]
    MillisBehindLatest: NotRequired[int]


class _Refusal(TypedDict):
    ErrorCode: NotRequired[str | None]


class _Written(TypedDict):
    Records: list[_Refusal]


_ANSWERS: dict[str, msgspec.json.Decoder[Any]] = {
    "GetRecords": msgspec.json.Decoder(_Read),
    "PutRecords": msgspec.json.Decoder(_Written),
}
"""What the worker needs of each answer; the rest of its fields are skipped."""


def code_by_msgspec(client: "KinesisClient") -> None:
    """Let a client code records by msgspec; timestamps of records are seconds since 1970."""
    events = client.meta.events
    events.register("before-parameter-build.kinesis.PutRecords", _set_aside)
    events.register("before-call.kinesis.PutRecords", _encode)
    for operation in _ANSWERS:
        events.register(f"before-parse.kinesis.{operation}", _decode)


def _set_aside(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context["records"] = params["Records"]
    params["Records"] = []


def _encode(params: dict[str, Any], context: Mapping[str, Any], **_: object) -> None:
    request = msgspec.json.decode(params["body"])
    params["body"] = msgspec.json.encode({**request, "Records": context["records"]})


def _decode(
    operation_model: Any,
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    if response_dict["status_code"] != 200:
        return
    with suppress(msgspec.DecodeError):  # botocore says what is wrong with the body
        found = _ANSWERS[operation_model.name].decode(response_dict["body"])
        customized_response_dict.update(found)
        response_dict["body"] = b"{}"
