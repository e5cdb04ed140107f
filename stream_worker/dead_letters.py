"""Records that are no customer: kept in S3 by their position, listed, and replayed after a fix.

S3 because it takes any size (DynamoDB stops at 400 KB, and a stream cannot hold its own
longest record in base64), keeps them until somebody looks, and a position read twice is
one object. A replay scores a letter at its original position, so that its prediction id
is the one it would have had.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from stream_worker.scoring import DeadLetter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRITERS = 16
"""Letters written at the same time: a producer that sends only rubbish slows its shard less."""


class DeadLetters:
    """The dead letters in one bucket, under `prefix`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters; all are durable when this returns."""
        if not letters:
            return
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self._write, letters))

    def read(self) -> Iterator[DeadLetter]:
        """All letters, by stream and shard, in the order of the shard."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        for page in pages:
            for entry in page.get("Contents", []):
                body = self._client.get_object(Bucket=self._bucket, Key=entry["Key"])["Body"].read()
                yield msgspec.json.decode(body, type=DeadLetter)

    def remove(self, letter: DeadLetter) -> None:
        """Forget a letter that has been replayed."""
        self._client.delete_object(Bucket=self._bucket, Key=self._key(letter))

    def _write(self, letter: DeadLetter) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=self._key(letter),
            Body=msgspec.json.encode(letter),
            ContentType="application/json",
        )

    def _key(self, letter: DeadLetter) -> str:
        # Sequence numbers differ in length; padded, S3's order is the shard's.
        return f"{self._prefix}{letter.stream}/{letter.shard}/{letter.sequence:0>60}.json"
