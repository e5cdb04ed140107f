"""Send customers into the stream `predictions` and read their answers from `results`."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from threading import Event, Thread
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import msgspec
from rich.live import Live

from bento.customer import Customer
from bento.settings import get_settings
from churn_assets.simulator.progress import progress_line

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

TICK_S = 0.25
PATIENCE_S = 30.0
"""How long the last answers are waited for."""


class Reply(msgspec.Struct):
    """What the simulator looks at in an answer."""

    prediction_id: str
    churn: bool
    customer_id: int | str | None = None


class Mailbox:
    """What has been sent and what has come back; a thread per shard of the results reads.

    It reads from now on: answers of an earlier run are nobody's here.
    """

    def __init__(self, client: "KinesisClient", stream: str) -> None:
        self.sent: dict[str, float] = {}
        """When each customer was sent that has no answer yet."""
        self.waits: list[float] = []
        """Seconds from sending to reading the answer, one for each customer answered."""
        self.churn = 0
        self.repeated = 0
        self._client = client
        self._answered: set[str] = set()
        self._closed = Event()
        for shard in client.list_shards(StreamName=stream)["Shards"]:
            iterator = client.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
            )["ShardIterator"]
            Thread(target=self._read, args=(iterator,), daemon=True).start()

    def close(self) -> None:
        """Read no more: the stream may be gone soon."""
        self._closed.set()

    def _read(self, iterator: str | None) -> None:
        while iterator and not self._closed.wait(TICK_S):
            page = self._client.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                self._match(msgspec.json.decode(record["Data"], type=Reply))
            iterator = page.get("NextShardIterator")

    def _match(self, reply: Reply) -> None:
        if (started := self.sent.pop(str(reply.customer_id), None)) is not None:
            self._answered.add(reply.prediction_id)
            self.waits.append(time.monotonic() - started)
            self.churn += reply.churn
        elif reply.prediction_id in self._answered:
            self.repeated += 1

    def __str__(self) -> str:
        waits = sorted(self.waits)
        text = f"{len(waits) + len(self.sent):,} sent, {len(waits):,} answered"
        if not waits:
            return text
        p50, p99 = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
        return (
            f"{text}, {self.repeated:,} of them again, {self.churn / len(waits):.1%} will leave, "
            f"latency p50 {p50:,.0f} ms, p99 {p99:,.0f} ms"
        )


def send(customers: Iterator[Customer], every_s: float, count: int = 0) -> int:
    """Put one customer every `every_s` seconds, `count` of them or without end (0).

    Each gets a `customer_id` of its own, by which its answer is known. Returns how many
    were answered; the last ones are waited for.
    """
    settings = get_settings()
    client = boto3.client("kinesis")
    mailbox = Mailbox(client, settings.stream_out)
    run = uuid4().hex[:8]
    named: Iterator[Customer] = (
        msgspec.structs.replace(customer, customer_id=f"simulated-{run}-{number}")
        for number, customer in enumerate(customers)
    )
    if count:
        named = islice(named, count)
    started, sent = time.monotonic(), 0
    with progress_line() as line:
        while batch := list(islice(named, max(1, _due(started, every_s) - sent))):
            put(client, settings.stream_in, mailbox, batch)
            sent += len(batch)
            _watch(mailbox, line, until=started + sent * every_s, at_least_s=TICK_S)
        deadline = time.monotonic() + PATIENCE_S
        while mailbox.sent and time.monotonic() < deadline:
            _watch(mailbox, line, until=0, at_least_s=TICK_S)
        line.update(str(mailbox))
    mailbox.close()
    return len(mailbox.waits)


def put(client: "KinesisClient", stream: str, mailbox: Mailbox, batch: Sequence[Customer]) -> None:
    """Put customers; what Kinesis refuses for now is sent again."""
    pending = list(batch)
    while pending:
        call, later = pending[:500], pending[500:]
        now = time.monotonic()
        mailbox.sent.update({str(customer.customer_id): now for customer in call})
        answer = client.put_records(
            StreamName=stream,
            Records=[
                {"PartitionKey": str(c.customer_id), "Data": msgspec.json.encode(c)} for c in call
            ],
        )
        results = zip(call, answer["Records"], strict=True)
        refused = [customer for customer, result in results if result.get("ErrorCode")]
        if refused:
            time.sleep(TICK_S)
        pending = refused + later


def _due(started: float, every_s: float) -> int:
    """How many customers should have been sent by now; the first one at once."""
    return 1 + int((time.monotonic() - started) / every_s)


def _watch(mailbox: Mailbox, line: Live, until: float, at_least_s: float) -> None:
    until = max(until, time.monotonic() + at_least_s)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, TICK_S))
        line.update(str(mailbox))
