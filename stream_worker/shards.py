"""Reading a stream: its identity, the family tree of its shards, the records of one shard."""

from typing import TYPE_CHECKING, Any, NamedTuple

from stream_worker.aws import seconds

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


class Record(NamedTuple):
    """One record of a shard."""

    sequence: str
    key: str
    """Partition key."""
    data: bytes
    arrival_ms: int
    """When the stream took the record, in milliseconds since 1970; the same on every read."""


class Page(NamedTuple):
    """What one read of a shard gave."""

    records: list[Record]
    millis_behind: int
    """How far this page is behind the newest record of the shard, in milliseconds."""
    closed: bool
    """True when the shard is closed and has been read to its end."""


def identity(client: "KinesisClient", stream: str) -> str:
    """`name:created`: a stream deleted and made again is another one, with other positions."""
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    return f"{stream}:{int(seconds(summary['StreamCreationTimestamp']))}"


def family_tree(client: "KinesisClient", stream: str) -> dict[str, list[str]]:
    """Every shard that can be read, with its parents: one after a split, two after a merge."""
    found: dict[str, list[str]] = {}
    request: dict[str, Any] = {"StreamName": stream}
    while request:
        answer = client.list_shards(**request)
        for shard in answer["Shards"]:
            parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
            found[shard["ShardId"]] = [parent for parent in parents if parent]
        token = answer.get("NextToken")
        # A token says which stream it is of; AWS refuses it together with the name.
        request = {"NextToken": token} if token else {}
    return found


class Cursor:
    """A place in one shard; `read` moves it on.

    After a failed read the next one starts anew behind the last record that was read,
    so that expired iterators, and iterators of a restarted emulator, need no care.
    """

    def __init__(
        self, client: "KinesisClient", stream: str, shard: str, checkpoint: str | None
    ) -> None:
        self._client = client
        self._stream = stream
        self._shard = shard
        self._last = checkpoint
        self._iterator: str | None = None

    def read(self, limit: int) -> Page:
        """At most `limit` records after the last one read, from the oldest when there is none."""
        iterator = self._iterator or self._open()
        self._iterator = None
        answer = self._client.get_records(ShardIterator=iterator, Limit=limit)
        records = [
            Record(
                record["SequenceNumber"],
                record["PartitionKey"],
                record["Data"],
                round(seconds(record["ApproximateArrivalTimestamp"]) * 1000),
            )
            for record in answer["Records"]
        ]
        if records:
            self._last = records[-1].sequence
        self._iterator = answer.get("NextShardIterator")
        return Page(records, answer.get("MillisBehindLatest", 0), not self._iterator)

    def _open(self) -> str:
        place: dict[str, Any] = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._last}
            if self._last
            else {"ShardIteratorType": "TRIM_HORIZON"}
        )
        return self._client.get_shard_iterator(
            StreamName=self._stream, ShardId=self._shard, **place
        )["ShardIterator"]
