"""Labels meet predictions: a file of truth beside each window of the prediction log.

All label files are read each time, so the result depends on the files alone and not on
when they were seen. A window is joined again only when its log or a label file that may
speak of it is new; `truth/index.json` remembers from what each one was made.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from botocore.exceptions import ClientError

from bento.ids import milliseconds
from churn_assets.defs.ingest import feature_store
from churn_assets.defs.ingest.reading import FormatError
from churn_assets.defs.monitoring import prediction_log
from churn_assets.defs.monitoring.labels import (
    LabelFile,
    Resolved,
    read_labels,
    resolve,
    truth_of,
)
from churn_assets.defs.monitoring.prediction_log import open_log
from churn_assets.defs.monitoring.windows import EPOCH, STEM_FORMAT

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LABELS = "labels/"
PREFIX = "truth/"
INDEX = PREFIX + "index.json"
QUARANTINE = "quarantine/labels/"
LONGEST_WINDOW = timedelta(days=1)

Span = tuple[datetime, datetime]


class Object(NamedTuple):
    """One object of the bucket."""

    key: str
    etag: str
    landed: datetime


class Source(NamedTuple):
    """A label file that was read: of which predictions it may speak."""

    object: Object
    file: LabelFile
    span: Span


def list_objects(s3: "S3Client", bucket: str, prefix: str) -> list[Object]:
    """All objects under a prefix, oldest first."""
    found = [
        Object(item["Key"], item["ETag"].strip('"'), item["LastModified"])
        for item in feature_store.objects(s3, bucket, prefix)
        if not item["Key"].endswith("/")
    ]
    return sorted(found, key=lambda item: (item.landed, item.key))


def version_of(objects: list[Object]) -> str:
    """Changes when a file is added, replaced or removed."""
    names = "\n".join(f"{item.key}@{item.etag}" for item in objects)
    return hashlib.sha256(names.encode()).hexdigest()


def update(
    s3: "S3Client", bucket: str, horizon: timedelta, say: Callable[[str], None]
) -> dict[str, Any]:
    """Bring the truth of all windows up to date; returns counts and the windows that changed.

    `malformed` rows and files are kept under `quarantine/labels/` with the reason, and
    the files stay where they are. `unknown` rows speak of predictions or customers
    that no window in question has; they count as soon as one has.
    """
    index = load_index(s3, bucket)
    objects = list_objects(s3, bucket, LABELS)
    seen = version_of(objects)
    sources, refused = _read_all(s3, bucket, objects, horizon, say)
    labels = resolve([source.file.labels for source in sources])
    joiner = _Joiner(s3, bucket, labels, horizon)
    windows: dict[str, dict[str, Any]] = {}
    changed = []
    for log in sorted(list_objects(s3, bucket, prediction_log.PREFIX)):
        stem = Path(log.key).stem
        speaking = [s for s in sources if _overlap(s.span, _span_of_log(stem))]
        before = index["windows"].get(stem)
        inputs = _fingerprint(log, speaking, horizon)
        if before and before["inputs"] == inputs:
            windows[stem] = before
            continue
        if speaking or before:
            joined = joiner.join(log.key, stem)
            windows[stem] = {"inputs": inputs, **joined}
            if joined["sha256"] != (before or {"sha256": _NOTHING})["sha256"]:
                changed.append(stem)
                say(f"{stem}: {joined['rows']:,} predictions have their truth")
    files = {s.object.key: _file_entry(s, index["files"], joiner.known) for s in sources}
    found = {"labels": seen, "files": files, "windows": windows}
    body = json.dumps(found, indent=2).encode()
    s3.put_object(Bucket=bucket, Key=INDEX, Body=body)
    return {
        "files": len(files),
        "refused_files": refused,
        **{name: sum(f[name] for f in files.values()) for name in _COUNTED},
        "duplicated": labels.duplicated,
        "corrected": labels.corrected,
        "labelled_predictions": sum(w["rows"] for w in windows.values()),
        "changed_windows": changed,
        "index": INDEX,
    }


_COUNTED = ("rows", "malformed", "late", "unknown")
_NOTHING = hashlib.sha256(b"").hexdigest()


def load_index(s3: "S3Client", bucket: str) -> dict[str, Any]:
    """`labels` (version), `files` by key and `windows` by stem: {"inputs", "rows", "sha256"}."""
    try:
        body = s3.get_object(Bucket=bucket, Key=INDEX)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return {"labels": version_of([]), "files": {}, "windows": {}}
        raise
    found: dict[str, Any] = json.loads(body)
    return found


def load_truth(s3: "S3Client", bucket: str, stem: str) -> pd.DataFrame:
    """The truth of a window, as `labels.truth_of` gives it; no rows when none has arrived."""
    try:
        body = s3.get_object(Bucket=bucket, Key=f"{PREFIX}{stem}.parquet")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return pd.DataFrame({"prediction_id": [], "churned": [], "observed_at": []})
        raise
    return pd.read_parquet(io.BytesIO(body))


def _read_all(
    s3: "S3Client",
    bucket: str,
    objects: list[Object],
    horizon: timedelta,
    say: Callable[[str], None],
) -> tuple[list[Source], dict[str, str]]:
    sources = []
    refused = {}
    for item in objects:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(item.key).name
            s3.download_file(bucket, item.key, str(path))
            try:
                file = read_labels(path, item.landed)
            except FormatError as error:
                refused[item.key] = str(error)
                say(f"refused: {error}")
                continue
        if len(file.rejected):
            _quarantine(s3, bucket, item, file.rejected)
            say(f"{item.key}: {len(file.rejected):,} rows refused")
        sources.append(Source(item, file, _span_of_labels(file.labels, horizon)))
    return sources, refused


def _quarantine(s3: "S3Client", bucket: str, item: Object, rejected: pd.DataFrame) -> None:
    body = rejected.rename_axis("record").reset_index().to_parquet(index=False)
    s3.put_object(Bucket=bucket, Key=f"{QUARANTINE}{item.etag}.parquet", Body=body)


def _span_of_labels(labels: pd.DataFrame, horizon: timedelta) -> Span:
    """When the predictions were made of which a file may speak."""
    named = labels["prediction_id"].dropna()
    observed = labels.loc[labels["prediction_id"].isna(), "observed_at"]
    moments: list[datetime] = [
        EPOCH + timedelta(milliseconds=milliseconds(end))
        for end in ([named.min(), named.max()] if len(named) else [])
    ]
    if len(observed):
        moments += [observed.min() - horizon, observed.max()]
    return (min(moments), max(moments)) if moments else (EPOCH, EPOCH)


def _span_of_log(stem: str) -> Span:
    start = datetime.strptime(stem, STEM_FORMAT).replace(tzinfo=UTC)
    return start, start + LONGEST_WINDOW


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] <= one[1]


def _fingerprint(log: Object, speaking: list[Source], horizon: timedelta) -> str:
    parts = [log.etag, str(horizon), *(source.object.etag for source in speaking)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _Joiner:
    """Writes the truth of windows; `known` is what of the labels' subjects they hold."""

    def __init__(self, s3: "S3Client", bucket: str, labels: Resolved, horizon: timedelta) -> None:
        self.known: set[str] = set()
        self._s3 = s3
        self._bucket = bucket
        self._labels = labels
        self._horizon = horizon
        self._subjects = set(labels.by_prediction["prediction_id"])
        self._subjects |= set(labels.by_customer["customer_id"])

    def join(self, log_key: str, stem: str) -> dict[str, Any]:
        """Write one window's truth, or delete it when there is none any more."""
        found = []
        for predictions in self._predictions(log_key):
            found.append(truth_of(predictions, self._labels, self._horizon))
            for column in ("prediction_id", "customer_id"):
                self.known |= self._subjects.intersection(predictions[column])
        truth = pd.concat(found) if found else pd.DataFrame()
        key = f"{PREFIX}{stem}.parquet"
        if truth.empty:
            self._s3.delete_object(Bucket=self._bucket, Key=key)
            return {"rows": 0, "sha256": _NOTHING}
        body = truth.to_parquet(index=False)
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
        return {"rows": len(truth), "sha256": hashlib.sha256(body).hexdigest()}

    def _predictions(self, key: str) -> Iterator[pd.DataFrame]:
        with open_log(self._s3, self._bucket, key) as file:
            for batch in file.iter_batches(columns=["prediction_id", "customer_id", "created_at"]):
                yield batch.to_pandas()


def _file_entry(
    source: Source, before: dict[str, dict[str, Any]], known: set[str]
) -> dict[str, Any]:
    """A file's counts; `unknown` is from the run that first saw it and joined all its windows."""
    old = before.get(source.object.key)
    if old and old["etag"] == source.object.etag:
        return old
    labels = source.file.labels
    subjects = labels["prediction_id"].fillna(labels["customer_id"])
    return {
        "etag": source.object.etag,
        "rows": len(labels) + len(source.file.rejected),
        "malformed": len(source.file.rejected),
        "late": source.file.late,
        "unknown": int((~subjects.isin(known)).sum()),
    }
