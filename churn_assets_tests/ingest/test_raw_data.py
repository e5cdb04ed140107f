"""raw_s3_data: the newest file, byte for byte, whatever else lies there."""

import hashlib
import time
from typing import Any

import boto3
import dagster as dg
import pytest

from churn_assets.defs.ingest.assets import OBJECT_TAG, raw_s3_data
from churn_assets_tests.stores import resources

CSV = b'"CLIENTNUM","Customer_Age"\n1,45\n2,50\n'


def put(bucket: str, key: str, body: bytes, **more: Any) -> None:
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=body, **more)


def materialize(
    instance: dg.DagsterInstance, key: str = "", *, fails: bool = False
) -> dg.ExecuteInProcessResult:
    config = {"ops": {"raw_s3_data": {"config": {"key": key}}}}
    return dg.materialize(
        [raw_s3_data],
        instance=instance,
        resources=resources(),
        run_config=config,
        raise_on_error=not fails,
    )


def test_the_newest_file_is_kept_byte_for_byte_and_hashed(bucket: str) -> None:
    put(bucket, "ID1/z.csv", b"old,file\n1,2\n")
    time.sleep(1.1)  # S3 tells the time in seconds
    put(bucket, "ID1/a.csv", CSV)
    put(bucket, "ID1/notes.txt", b"not customers")
    digest = hashlib.sha256(CSV).hexdigest()
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(instance)
        value = result.output_for_node("raw_s3_data")
        event = result.asset_materializations_for_node("raw_s3_data")[0]
        run = instance.get_run_by_id(result.run_id)
    assert value == {
        "key": "ID1/a.csv",
        "raw_key": f"raw/{digest}.csv",
        "sha256": digest,
        "etag": hashlib.md5(CSV, usedforsecurity=False).hexdigest(),
        "size": len(CSV),
        "format": "csv",
        "synthetic": False,
    }
    kept = boto3.client("s3").get_object(Bucket=bucket, Key=f"raw/{digest}.csv")["Body"].read()
    assert kept == CSV
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == digest
    assert event.metadata["dagster/row_count"].value == 2
    assert event.metadata["ignored_objects"].value == "ID1/notes.txt"
    assert "| CLIENTNUM | 1 | 2 |" in str(event.metadata["preview"].value)
    assert run is not None
    assert run.tags[OBJECT_TAG] == f"ID1/a.csv@{value['etag']}"


def test_more_files_than_a_page_of_s3_holds(bucket: str) -> None:
    client = boto3.client("s3")
    for number in range(1_001):
        client.put_object(Bucket=bucket, Key=f"ID1/{number:04}.csv", Body=b"a\n1\n")
    time.sleep(1.1)
    put(bucket, "ID1/0000-newest.csv", CSV)
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialize(instance).output_for_node("raw_s3_data")["key"] == "ID1/0000-newest.csv"


def test_one_may_ask_for_a_file(bucket: str) -> None:
    put(bucket, "ID1/old.csv", CSV, Metadata={"synthetic": "true"})
    put(bucket, "ID1/old.csv.parquet", b"newer, and its key begins alike")
    with dg.DagsterInstance.ephemeral() as instance:
        value = materialize(instance, "ID1/old.csv").output_for_node("raw_s3_data")
    assert value["key"] == "ID1/old.csv"
    assert value["synthetic"] is True


@pytest.mark.parametrize("key", ["", "ID1/missing.csv"])
def test_an_empty_feature_store_says_what_to_do(bucket: str, key: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(instance, key, fails=True)
    failure = result.failure_data_for_node("raw_s3_data")
    assert failure is not None
    assert failure.error is not None
    assert f"no CSV or Parquet file at s3://{bucket}/{key or 'ID1/'}" in str(failure.error)
