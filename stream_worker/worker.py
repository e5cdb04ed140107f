"""The main loop of one worker: hold leases, start and stop shard readers, leave in order."""

import logging
import threading
import uuid
from socket import gethostname

from bento.outbox import Outbox
from bento.runner import ChampionFollower
from bento.settings import Settings
from stream_worker import metrics
from stream_worker.aws import Clients
from stream_worker.balance import Watch, readable, wanted
from stream_worker.dead_letters import DeadLetters
from stream_worker.health import Health
from stream_worker.leases import Lease, LeaseLostError, Leases
from stream_worker.patience import AWAY
from stream_worker.processing import Processor
from stream_worker.reader import ShardReader
from stream_worker.shards import Cursor, family_tree, identity

log = logging.getLogger(__name__)

TICKS_A_LEASE = 4
"""A lease is renewed this often within its time, so that three slow answers lose nothing."""


class Worker:
    """One of any number of workers on a stream; `run` returns when `stop` has been called.

    A dead worker's shards are taken over after at most the lease time and a tick.
    """

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        follower: ChampionFollower,
        outbox: Outbox,
        health: Health,
    ) -> None:
        self.name = f"{gethostname()}-{uuid.uuid4().hex[:12]}"
        self._settings = settings
        self._clients = clients
        self._follower = follower
        self._health = health
        self._stopping = False
        self._wake = threading.Event()
        self._attached = False
        self._leases: Leases | None = None
        self._processor = Processor(
            settings.stream_in,
            clients,
            settings.stream_out,
            outbox.append,
            DeadLetters(clients.s3, settings.churn_bucket, settings.dead_letter_prefix),
            settings.log_predictions,
        )
        self._watch = Watch(settings.stream_lease_seconds)
        self._readers: dict[str, ShardReader] = {}

    def stop(self) -> None:
        """Finish the batches under way, checkpoint, leave the leases; safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Work until stopped; outside systems that are away are waited for."""
        tick_s = self._settings.stream_lease_seconds / TICKS_A_LEASE
        while not self._stopping:
            self._wake.clear()
            try:
                self._tick()
                self._health.well("worker: leases")
            except AWAY as error:
                self._health.trouble("worker: leases", error)
                # Nobody could renew meanwhile: standing counters prove nothing.
                self._watch = Watch(self._settings.stream_lease_seconds)
                self._attached = False
            self._health.beat()
            if not self._stopping:
                self._wake.wait(tick_s)
        self._leave()

    def _tick(self) -> None:
        leases = self._attach()
        family = family_tree(self._clients.kinesis, self._settings.stream_in)
        rows = leases.read()
        if new := family.keys() - {row.shard for row in rows}:
            for shard in new:
                leases.add(shard)
            rows = leases.read()
        for row in rows:
            if row.shard not in family:  # past the retention: nothing left to read
                leases.forget(row.shard)
        self._readers = {s: reader for s, reader in self._readers.items() if reader.is_alive()}
        unfinished = readable(rows, family)
        self._hold(leases, unfinished)
        for row in wanted(unfinished, self._watch.expired(rows), self.name):
            if leases.take(row):
                change = "stolen" if row.owner else "taken"
                metrics.LEASE_CHANGES.labels(change).inc()
                log.info("lease taken", extra={"fields": {"shard": row.shard, "how": change}})
                self._start(leases, row)
        metrics.SHARDS.set(len(self._readers))

    def _attach(self) -> Leases:
        """Find the stream and the lease table: at the start, and after either was away.

        Either may have been made anew meanwhile.
        """
        if self._attached and self._leases:
            return self._leases
        settings, clients = self._settings, self._clients
        stream = identity(clients.kinesis, settings.stream_in)
        leases = Leases(clients.dynamodb, settings.stream_lease_table, stream, self.name)
        leases.create_table()
        if self._leases and self._leases.stream != stream:
            self._leave()
        self._leases = leases
        self._attached = True
        return leases

    def _hold(self, leases: Leases, unfinished: list[Lease]) -> None:
        """Renew what this worker reads, read what it owns, stop reading what it has lost."""
        mine = {row.shard: row for row in unfinished if row.owner == self.name}
        for shard, row in mine.items():
            if shard not in self._readers:
                self._start(leases, row)
                continue
            try:
                leases.renew(shard)
            except LeaseLostError:
                self._readers[shard].stopping.set()
        for shard, reader in self._readers.items():
            if shard not in mine:
                reader.stopping.set()

    def _start(self, leases: Leases, row: Lease) -> None:
        settings = self._settings
        cursor = Cursor(self._clients.kinesis, settings.stream_in, row.shard, row.checkpoint)
        reader = ShardReader(
            row.shard,
            cursor,
            leases,
            self._processor,
            self._follower,
            self._health,
            settings.stream_batch,
            settings.stream_poll_seconds,
            self._wake.set,
        )
        self._readers[row.shard] = reader
        reader.start()

    def _leave(self) -> None:
        """Stop all readers after the batch they are at, then release their leases."""
        for reader in self._readers.values():
            reader.stopping.set()
        while self._readers and self._leases:
            shard, reader = self._readers.popitem()
            reader.join()
            try:
                self._leases.release(shard)
            except (LeaseLostError, *AWAY):  # somebody else's, or free when its time is over
                continue
            metrics.LEASE_CHANGES.labels("released").inc()
            log.info("lease released", extra={"fields": {"shard": shard}})
