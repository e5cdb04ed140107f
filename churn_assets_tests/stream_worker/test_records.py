"""Records coded by msgspec are those that botocore codes; refusals stay botocore's."""

import uuid
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from churn_assets_tests.streaming import create_streams
from stream_worker.aws import Clients, seconds

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import PutRecordsRequestEntryTypeDef

RECORDS: "list[PutRecordsRequestEntryTypeDef]" = [
    {"Data": b"", "PartitionKey": "nothing"},
    {"Data": bytes(range(256)), "PartitionKey": "every byte"},
    {"Data": b'{"json": true}', "PartitionKey": 'ü "quoted" \\'},
]


def iterator(client: "KinesisClient", stream: str) -> str:
    return client.get_shard_iterator(
        StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]


def test_what_one_client_writes_the_other_reads(clients: Clients) -> None:
    ours, plain = clients.kinesis, boto3.client("kinesis")
    stream = f"records-{uuid.uuid4().hex[:8]}"
    create_streams(plain, 1, stream)
    for client in (plain, ours):
        answer = client.put_records(StreamName=stream, Records=RECORDS)
        assert [bool(one.get("ErrorCode")) for one in answer["Records"]] == [False] * 3
    expected = plain.get_records(ShardIterator=iterator(plain, stream))
    found = ours.get_records(ShardIterator=iterator(ours, stream), Limit=100)
    sent = [(one["PartitionKey"], one["Data"]) for one in RECORDS]
    assert [(one["PartitionKey"], one["Data"]) for one in found["Records"]] == sent + sent
    for one, other in zip(found["Records"], expected["Records"], strict=True):
        assert one["SequenceNumber"] == other["SequenceNumber"]
        arrival = other["ApproximateArrivalTimestamp"].timestamp()
        assert seconds(one["ApproximateArrivalTimestamp"]) == pytest.approx(arrival, abs=1e-4)
    assert found["MillisBehindLatest"] == expected["MillisBehindLatest"] == 0
    assert not ours.get_records(ShardIterator=found["NextShardIterator"])["Records"]


def test_a_refusal_is_botocores(clients: Clients) -> None:
    with pytest.raises(ClientError, match="ExpiredIteratorException"):
        clients.kinesis.get_records(ShardIterator="never given out")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        clients.kinesis.put_records(StreamName="no-such-stream", Records=RECORDS)
