"""Fill the feature store: with the customers that CHURN_RAW_DATA names, or synthetic ones."""

import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
from rich import print as say

from bento.settings import Settings
from churn_assets.defs.ingest import feature_store
from churn_assets.defs.ingest.feature_store import is_customer_file

SYNTHETIC_KEY = "synthetic_customers.parquet"
SYNTHETIC_ROWS = 10_127
"""As many as the public data set has."""

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")


class SourceError(ValueError):
    """CHURN_RAW_DATA names nothing that can be used."""


def seed_feature_store(settings: Settings) -> str:
    """Upload customers under the feature-store prefix; the newest one's key.

    Files of a folder or S3 prefix go in oldest first. What is there already stays
    untouched, so it is safe to call at every start. Without CHURN_RAW_DATA an empty
    feature store gets synthetic customers. Raises `SourceError`.
    """
    client: Any = boto3.client("s3")
    bucket, prefix = settings.churn_bucket, settings.feature_store_prefix
    with tempfile.TemporaryDirectory() as folder:
        if settings.churn_raw_data:
            keys = [
                _put(client, bucket, prefix + _dated(path), path, synthetic=False)
                for path in _sources(client, settings.churn_raw_data, Path(folder))
            ]
            return keys[-1]
        present = feature_store.customer_files(client, bucket, prefix)
        if present:
            say(f"feature store: s3://{bucket}/{present[-1].key} is the newest file; left as it is")
            return present[-1].key
        return _put_synthetic(client, bucket, prefix, Path(folder))


def _put_synthetic(client: Any, bucket: str, prefix: str, folder: Path) -> str:
    from churn_assets.synthetic import write_parquet

    say(
        f"[bold yellow]SYNTHETIC customers[/]: CHURN_RAW_DATA is not set, so {SYNTHETIC_ROWS:,} "
        "made-up customers are used; no figure from them says anything about a real bank."
    )
    path = folder / SYNTHETIC_KEY
    write_parquet(path, SYNTHETIC_ROWS, seed=0)
    return _put(client, bucket, prefix + SYNTHETIC_KEY, path, synthetic=True)


def _put(client: Any, bucket: str, key: str, path: Path, *, synthetic: bool) -> str:
    digest = feature_store.sha256(path)
    present = feature_store.metadata(client, bucket, key)
    if present is not None and present.get("sha256") != digest:
        stem, suffix = key.rsplit(".", 1)
        key = f"{stem}-{digest[:8]}.{suffix}"
        present = feature_store.metadata(client, bucket, key)
    if present is None:
        tags = {"sha256": digest, "synthetic": str(synthetic).lower()}
        client.upload_file(str(path), bucket, key, ExtraArgs={"Metadata": tags})
        say(f"feature store: s3://{bucket}/{key} uploaded ({path.stat().st_size:,} bytes)")
    else:
        say(f"feature store: s3://{bucket}/{key} is there already")
    return key


def _dated(path: Path) -> str:
    """The name it lands under: with the day the file is from, unless it says one itself."""
    day = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    dated = _DATED.search(path.name) is not None
    return path.name if dated else f"{path.stem}_{day:%Y-%m-%d}{path.suffix}"


def _sources(client: Any, where: str, folder: Path) -> Iterator[Path]:
    """Local paths of the customer files, oldest first; there is at least one."""
    found = _fetched(client, where, folder) if where.startswith("s3://") else _local(Path(where))
    first = next(found, None)
    if first is None:
        raise SourceError(f"CHURN_RAW_DATA: no CSV or Parquet file in {where!r}")
    yield first
    yield from found


def _local(path: Path) -> Iterator[Path]:
    path = path.expanduser()
    paths = path.iterdir() if path.is_dir() else [path]
    files = [file for file in paths if file.is_file() and is_customer_file(file.name)]
    yield from sorted(files, key=lambda file: (file.stat().st_mtime, file.name))


def _fetched(client: Any, uri: str, folder: Path) -> Iterator[Path]:
    """Objects under an S3 URI, one on disk at a time."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    for file in feature_store.customer_files(client, bucket, prefix):
        path = folder / PurePosixPath(file.key).name
        client.download_file(bucket, file.key, str(path))
        os.utime(path, (file.modified.timestamp(),) * 2)
        yield path
        path.unlink()
