"""The customers as they landed."""

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg
import pandas as pd
from dagster_aws.s3 import S3Resource
from pydantic import ConfigDict

from bento.settings import get_settings
from churn_assets import markdown
from churn_assets.defs.ingest import feature_store
from churn_assets.defs.ingest.feature_store import StoredFile
from churn_assets.defs.ingest.reading import FORMATS, read_customers

OBJECT_TAG = "churn/object"
"""Run tag: the customer file (key and ETag) that a run is about."""


class RawDataConfig(dg.Config):
    """Which customer file to take."""

    model_config = ConfigDict(extra="forbid")

    key: str = ""
    """Key in the bucket; empty: the newest file of the feature store."""


@dg.asset(group_name="ingest", kinds={"s3", "python"}, owners=["team:data-science"])
def raw_s3_data(
    context: dg.AssetExecutionContext, config: RawDataConfig, s3: S3Resource
) -> dg.MaterializeResult[dict[str, Any]]:
    """The newest customer file of the feature store, exactly as it landed.

    Its bytes are kept under `raw/<SHA-256>`; that hash is the data version, so
    everything downstream can tell which file it came from, and the same file
    twice is the same data.
    """
    client, settings = s3.get_client(), get_settings()
    bucket, prefix = settings.churn_bucket, settings.feature_store_prefix
    stored = _choose(client, bucket, prefix, config.key)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(stored.key).name
        response = client.get_object(Bucket=bucket, Key=stored.key)
        etag = response["ETag"].strip('"')
        context.instance.add_run_tags(
            context.run.run_id, {OBJECT_TAG: stored._replace(etag=etag).version}
        )
        with path.open("wb") as file:
            for chunk in response["Body"].iter_chunks(1 << 20):
                file.write(chunk)
        digest = feature_store.sha256(path)
        raw_key = f"raw/{digest}{path.suffix.lower()}"
        if feature_store.metadata(client, bucket, raw_key) is None:
            client.upload_file(str(path), bucket, raw_key)
        frame = read_customers(path)
    synthetic = response["Metadata"].get("synthetic") == "true"
    if synthetic:
        context.log.warning("These customers are SYNTHETIC: %s", stored.key)
    value = {
        "key": stored.key,
        "raw_key": raw_key,
        "sha256": digest,
        "etag": etag,
        "size": response["ContentLength"],
        "format": FORMATS[path.suffix.lower()],
        "synthetic": synthetic,
    }
    ignored = [
        item["Key"]
        for item in feature_store.objects(client, bucket, prefix)
        if item["Size"] and not feature_store.is_customer_file(item["Key"])
    ]
    return dg.MaterializeResult(
        value=value,
        data_version=dg.DataVersion(digest),
        metadata={
            **value,
            "landed": dg.MetadataValue.timestamp(response["LastModified"]),
            "ignored_objects": ", ".join(ignored) or "none",
            "preview": _preview(frame),
            "dagster/row_count": len(frame),
            "dagster/column_schema": _schema(frame),
            "dagster/uri": f"s3://{bucket}/{raw_key}",
        },
    )


def _choose(client: Any, bucket: str, prefix: str, key: str) -> StoredFile:
    files = feature_store.customer_files(client, bucket, key or prefix)
    chosen = [file for file in files if not key or file.key == key]
    if not chosen:
        raise dg.Failure(
            f"no CSV or Parquet file at s3://{bucket}/{key or prefix}: put one there, or "
            "`make up` with CHURN_RAW_DATA set (unset: synthetic customers)",
            allow_retries=False,
        )
    return chosen[-1]


def _preview(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Three customers, a column a line: two dozen columns side by side cannot be read."""
    head = frame.head(3)
    return markdown.table(
        [
            {"column": str(name)[:40], **{f"row {row}": str(value) for row, value in items.items()}}
            for name, items in head.to_dict().items()
        ]
    )


def _schema(frame: pd.DataFrame) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]
    )
