"""The servers that other rooms' tests stand on speak the real protocols."""

import boto3
import mlflow

from bento.settings import get_settings


def test_model_artifacts_land_in_the_emulated_bucket(mlflow_server: str) -> None:
    bucket = get_settings().churn_bucket
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_experiment("servers")
    with mlflow.start_run() as run:
        mlflow.log_dict({"answer": 42}, "answer.json")
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="mlflow/")
    keys = [entry["Key"] for entry in listed["Contents"]]
    assert any(key.endswith(f"{run.info.run_id}/artifacts/answer.json") for key in keys), keys


def test_kinesis_keeps_a_record(emulator: str) -> None:
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName="servers", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="servers")
    shard = kinesis.put_record(StreamName="servers", Data=b"x", PartitionKey="1")["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName="servers", ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert [r["Data"] for r in kinesis.get_records(ShardIterator=iterator)["Records"]] == [b"x"]
