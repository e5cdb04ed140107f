"""Prediction ids: time-ordered UUIDs (RFC 9562, version 7); a time window is an id range."""

import os
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from time import time_ns

_VARIANT_MASK = (1 << 62) - 1


def uuid7() -> str:
    """A new id of the current millisecond with 74 random bits."""
    return _layout(time_ns() // 1_000_000, os.urandom(10))


def stream_id(stream: str, shard: str, sequence: str, arrival_ms: int) -> str:
    """The id of one stream record: the same position gives the same id, however often it is read.

    `arrival_ms` is the record's arrival time in milliseconds since 1970, which the
    stream keeps with the record.
    """
    position = "\0".join((stream, shard, sequence)).encode()
    return _layout(arrival_ms, blake2b(position, digest_size=10).digest())


def bounds(start: datetime, end: datetime) -> tuple[str, str]:
    """The id range `first <= id < last` of predictions made in `start <= time < end`.

    Both times need a time zone; raises ValueError without one.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("start and end need a time zone")
    return _floor(start), _floor(end)


def milliseconds(prediction_id: str) -> int:
    """Milliseconds since 1970 at which the prediction was asked for."""
    return int(prediction_id[:8] + prediction_id[9:13], 16)


def created_at(prediction_id: str) -> str:
    """The time inside an id as ISO-8601 in UTC with milliseconds: `2026-11-21T07:48:39.123Z`."""
    seconds, ms = divmod(milliseconds(prediction_id), 1000)
    return f"{_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _layout(ms: int, tail: bytes) -> str:
    bits = int.from_bytes(tail, "big")
    value = (
        (ms & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (bits >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | (bits & _VARIANT_MASK)
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _floor(moment: datetime) -> str:
    ms = f"{int(moment.timestamp() * 1000):012x}"
    return f"{ms[:8]}-{ms[8:]}-0000-0000-000000000000"
