"""Who reads which shard, and how far: one DynamoDB table shared by all workers.

Why not a kept library. `async-kinesis` 3.0.1 hands its reader the payload without the
record's position, from which the prediction id is made; it drops records when its
reader stalls for 30 seconds; it keeps in memory which parent shards are finished, so
that one worker may start a child while another still reads its parent; a worker that
lost its lease clears the new owner's and rewinds the checkpoint; it never gives a late
worker any shard; and it needs an older botocore than boto3 does. `native-aws-kcl-py` is
one release old, `amazon-kclpy` needs a Java daemon. This is the Kinesis Client
Library's lease protocol on conditional writes: a lease is held by renewing its counter,
and is free for all once a worker has watched the counter stand still for the lease
time by its own clock, so that clocks never need to agree.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARD_END = "SHARD_END"
"""The checkpoint of a closed shard that has been read to its end."""

_MINE = "lease_owner = :me"
_BEAT = "lease_counter = lease_counter + :one"


class LeaseLostError(Exception):
    """Another worker holds the shard now; what this one has not checkpointed is read again."""


class Lease(msgspec.Struct, frozen=True):
    """One shard's row."""

    shard: str
    owner: str | None
    counter: int
    """Grows with every renewal, checkpoint and change of owner."""
    checkpoint: str | None
    """Sequence number of the last record done, `SHARD_END`, or None before the first."""

    @property
    def finished(self) -> bool:
        """Whether the shard is closed and read to its end."""
        return self.checkpoint == SHARD_END


class Leases:
    """The leases of one stream as one worker (`owner`) sees and takes them.

    All methods raise boto3's errors when DynamoDB cannot be reached.
    """

    def __init__(self, client: "DynamoDBClient", table: str, stream: str, owner: str) -> None:
        self.owner = owner
        self.stream = stream
        self._client = client
        self._table = table

    def create_table(self) -> None:
        """Create the table when it is missing and wait until it is usable."""
        try:
            # Asked first, so that a worker without the right to create tables can use this one.
            self._client.describe_table(TableName=self._table)
        except self._client.exceptions.ResourceNotFoundException:
            self._create_table()

    def _create_table(self) -> None:
        with suppress(self._client.exceptions.ResourceInUseException):  # another worker was faster
            self._client.create_table(
                TableName=self._table,
                KeySchema=[
                    {"AttributeName": "stream_name", "KeyType": "HASH"},
                    {"AttributeName": "shard_id", "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "stream_name", "AttributeType": "S"},
                    {"AttributeName": "shard_id", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        self._client.get_waiter("table_exists").wait(
            TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def read(self) -> list[Lease]:
        """All leases of the stream, as consistent as DynamoDB reads get."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="stream_name = :stream",
            ExpressionAttributeValues={":stream": {"S": self.stream}},
            ConsistentRead=True,
        )
        return [_lease(item) for page in pages for item in page["Items"]]

    def add(self, shard: str) -> None:
        """Enter a shard that nobody has read yet; no effect when it is there already."""
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.put_item(
                TableName=self._table,
                Item={**self._key(shard), "lease_counter": {"N": "0"}},
                ConditionExpression="attribute_not_exists(shard_id)",
            )

    def take(self, lease: Lease) -> bool:
        """Become the owner, unless anybody has touched the lease since it was read."""
        seen = "lease_owner = :seen" if lease.owner else "attribute_not_exists(lease_owner)"
        values: dict[str, Any] = {":counter": {"N": str(lease.counter)}, ":one": {"N": "1"}}
        if lease.owner:
            values[":seen"] = {"S": lease.owner}
        try:
            self._update(
                lease.shard,
                f"SET lease_owner = :me, {_BEAT}",
                f"{seen} AND lease_counter = :counter",
                {":me": {"S": self.owner}, **values},
            )
        except LeaseLostError:
            return False
        return True

    def renew(self, shard: str) -> None:
        """Show that the owner lives; raises `LeaseLostError`."""
        self._update(shard, f"SET {_BEAT}", _MINE, self._me())

    def checkpoint(self, shard: str, sequence: str) -> None:
        """Remember that everything up to `sequence` is done; raises `LeaseLostError`."""
        values = {**self._me(), ":sequence": {"S": sequence}}
        self._update(shard, f"SET last_sequence = :sequence, {_BEAT}", _MINE, values)

    def release(self, shard: str) -> None:
        """Leave the shard to whoever wants it; raises `LeaseLostError`."""
        self._update(shard, f"SET {_BEAT} REMOVE lease_owner", _MINE, self._me())

    def forget(self, shard: str) -> None:
        """Delete the row of a shard that the stream no longer has."""
        self._client.delete_item(TableName=self._table, Key=self._key(shard))

    def _me(self) -> dict[str, Any]:
        return {":me": {"S": self.owner}, ":one": {"N": "1"}}

    def _key(self, shard: str) -> dict[str, Any]:
        return {"stream_name": {"S": self.stream}, "shard_id": {"S": shard}}

    def _update(self, shard: str, change: str, condition: str, values: Mapping[str, Any]) -> None:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=self._key(shard),
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise LeaseLostError(shard) from None
            raise


def _lease(item: Mapping[str, Any]) -> Lease:
    return Lease(
        shard=item["shard_id"]["S"],
        owner=item.get("lease_owner", {}).get("S"),
        counter=int(item["lease_counter"]["N"]),
        checkpoint=item.get("last_sequence", {}).get("S"),
    )
