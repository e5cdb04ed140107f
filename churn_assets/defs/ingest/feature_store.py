"""The feature store: customer files under one prefix of the bucket, newest last."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from churn_assets.defs.ingest.reading import FORMATS


class StoredFile(NamedTuple):
    """A customer file in S3; `version` changes whenever its bytes do."""

    key: str
    etag: str
    size: int
    modified: datetime

    @property
    def version(self) -> str:
        """What a training run is about: key and ETag."""
        return f"{self.key}@{self.etag}"


def is_customer_file(key: str) -> bool:
    """Whether a key's suffix names a format that can be read."""
    return PurePosixPath(key).suffix.lower() in FORMATS


def customer_files(client: Any, bucket: str, prefix: str) -> list[StoredFile]:
    """All customer files under the prefix, the newest last."""
    found = (
        StoredFile(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
        for item in objects(client, bucket, prefix)
        if is_customer_file(item["Key"])
    )
    return sorted(found, key=lambda file: (file.modified, file.key))


def objects(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every object under the prefix, whatever their number."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", ())


def metadata(client: Any, bucket: str, key: str) -> dict[str, str] | None:
    """User metadata of an object, None when there is no such object."""
    try:
        found: dict[str, str] = client.head_object(Bucket=bucket, Key=key)["Metadata"]
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return None
        raise
    return found


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
