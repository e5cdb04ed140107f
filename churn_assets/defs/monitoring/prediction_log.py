"""One window of the prediction store as Parquet in the object store, and what the store may forget.

The file's columns are the fields of `bento.store.PredictionRow`, its rows are in
order of `prediction_id`. The same rows give the same bytes: nothing in the file
depends on when it was written (only on the version of pyarrow, which the lock fixes).
"""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import astuple, fields
from numpy.typing import NDArray

from bento.ids import bounds
from bento.store import FIRST_ID, PredictionRow, PredictionStore
from churn_assets.defs.ingest import feature_store
from churn_assets.defs.monitoring.windows import Window, window_of, windows_between

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "predictions/"
PAGE = 20_000
"""Rows in memory at a time, and in a row group of the file."""
SCORE_BINS = 20


def _arrow_type(name: str, hint: Any) -> pa.DataType:
    kinds = set(get_args(hint)) or {hint}
    if name == "created_at":
        return pa.timestamp("ms", tz="UTC")
    if float in kinds:
        return pa.float64()
    if bool in kinds:
        return pa.bool_()
    # a customer_id is a number or a text: kept as text
    return pa.int64() if int in kinds and str not in kinds else pa.string()


SCHEMA = pa.schema(
    [
        pa.field(f.name, _arrow_type(f.name, f.type), nullable=f.name != "prediction_id")
        for f in fields(PredictionRow)
    ]
)


class ForgottenError(RuntimeError):
    """The store no longer holds what a window's export holds: writing it again would lose rows."""


class Summary:
    """What is counted while a window streams by."""

    def __init__(self) -> None:
        self.rows = 0
        self.models: Counter[str] = Counter()
        self.tiers: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.left = 0
        self.total = 0.0
        self.bins: NDArray[np.int64] = np.zeros(SCORE_BINS, dtype=np.int64)

    def add(self, rows: list[PredictionRow]) -> None:
        """Count some more rows."""
        scores = np.array([row.prediction for row in rows])
        self.rows += len(rows)
        self.models.update(row.model_run_id for row in rows)
        self.tiers.update(row.tier for row in rows)
        self.sources.update(row.source for row in rows)
        self.left += sum(row.churn for row in rows)
        self.total += float(scores.sum())
        self.bins += np.histogram(scores, SCORE_BINS, (0, 1))[0]

    def as_json(self) -> dict[str, Any]:
        """Counts in an order that does not depend on the order of the rows."""
        return {
            "rows": self.rows,
            "models": dict(sorted(self.models.items())),
            "tiers": dict(sorted(self.tiers.items())),
            "sources": dict(sorted(self.sources.items())),
            "predicted_to_leave": self.left,
            "mean_score": round(self.total / self.rows, 6) if self.rows else None,
            "score_histogram": self.bins.tolist(),
        }


def key_of(window: Window) -> str:
    """The object that holds a window: `predictions/2026-11-21_09-00.parquet`."""
    return f"{PREFIX}{window.stem}.parquet"


def export_window(
    store: PredictionStore, s3: "S3Client", bucket: str, window: Window
) -> dict[str, Any]:
    """Write one window's rows to S3, a page at a time, in place of an older export.

    Returns key, sha256, rows, window, until (its end, or when the reading began if that was
    earlier), complete (it had ended by then) and counts by model, tier and source. Rows that
    arrive later are in the next export.
    Raises `ForgottenError` when the store has deleted what was exported.
    """
    rows, kept = store.count(*window.ids), exported_rows(s3, bucket, window) or 0
    if rows < kept:
        raise ForgottenError(
            f"window {window.key}: the store holds {rows:,} of {kept:,} exported predictions, so"
            f" {key_of(window)} stays as it is; its reports can be made again without it"
        )
    until = min(datetime.now(UTC), window.end)
    with _temporary() as path:
        summary = write_parquet(path, pages(store, window))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        note = {"rows": str(summary.rows), "sha256": digest, "end": window.end.isoformat()}
        s3.upload_file(str(path), bucket, key_of(window), ExtraArgs={"Metadata": note})
    return {
        "key": key_of(window),
        "sha256": digest,
        "window": window.isoformat,
        "until": until.isoformat(),
        "complete": until == window.end,
        **summary.as_json(),
    }


def pages(store: PredictionStore, window: Window) -> Iterator[list[PredictionRow]]:
    """A window's rows in order of id."""
    first, last = window.ids
    after: str | None = None
    while page := store.read(first, last, after, PAGE):
        yield page
        after = page[-1].prediction_id


def write_parquet(path: Path, batches: Iterator[list[PredictionRow]]) -> Summary:
    """Write rows with fixed settings, one row group a batch."""
    summary = Summary()
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", version="2.6") as writer:
        for rows in batches:
            writer.write_batch(to_arrow(rows))
            summary.add(rows)
    return summary


def to_arrow(rows: list[PredictionRow]) -> pa.RecordBatch:
    """Rows as columns."""
    columns = zip(*map(astuple, rows), strict=True)
    return pa.record_batch(
        [_array(values, field) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA
    )


def _array(values: tuple[Any, ...], field: pa.Field) -> pa.Array:
    if field.name == "customer_id":
        values = tuple(None if value is None else str(value) for value in values)
    if field.name == "created_at":
        return pa.array(values, pa.string()).cast(field.type)
    return pa.array(values, field.type)


@contextmanager
def open_log(s3: "S3Client", bucket: str, key: str) -> Iterator[pq.ParquetFile]:
    """An exported window on local disk, to be read by row group; gone afterwards."""
    with _temporary() as path:
        s3.download_file(bucket, key, str(path))
        with pq.ParquetFile(path) as file:
            yield file


def exported_rows(s3: "S3Client", bucket: str, window: Window) -> int | None:
    """Rows in the last export of a window, None when there is none of that length."""
    note = feature_store.metadata(s3, bucket, key_of(window)) or {}
    return int(note["rows"]) if note.get("end") == window.end.isoformat() else None


def is_stale(store: PredictionStore, s3: "S3Client", bucket: str, window: Window) -> bool:
    """Whether the store holds other rows of a window than its export."""
    return store.count(*window.ids) != (exported_rows(s3, bucket, window) or 0)


def retire(
    store: PredictionStore, s3: "S3Client", bucket: str, before: datetime
) -> tuple[int, Window | None]:
    """Delete the windows that ended at `before` from the store, oldest first.

    A window goes only when its export holds as many rows as the store. The first
    that does not stays, with all after it, and is returned to be exported again.
    """
    deleted = 0
    for window in _oldest_windows(store, before):
        if is_stale(store, s3, bucket, window):
            return deleted, window
        deleted += store.delete_before(window.ids[1])
    return deleted, None


def blocked(store: PredictionStore, s3: "S3Client", bucket: str, before: datetime) -> Window | None:
    """The window at which `retire` would stop."""
    stale = (w for w in _oldest_windows(store, before) if is_stale(store, s3, bucket, w))
    return next(stale, None)


def _oldest_windows(store: PredictionStore, before: datetime) -> Iterator[Window]:
    rows = store.read(FIRST_ID, bounds(before, before)[1], limit=1)
    return windows_between(window_of(rows[0].prediction_id), before) if rows else iter(())


@contextmanager
def _temporary() -> Iterator[Path]:
    handle, name = tempfile.mkstemp(suffix=".parquet")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink()
