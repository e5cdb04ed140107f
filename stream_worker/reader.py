"""Reading one leased shard to its end, or until the lease is lost or the worker stops."""

import logging
import threading
import time
from collections.abc import Callable

from bento.runner import ChampionFollower
from stream_worker import metrics
from stream_worker.health import Health
from stream_worker.leases import SHARD_END, LeaseLostError, Leases
from stream_worker.patience import GaveUpError, Patience
from stream_worker.processing import Processor
from stream_worker.shards import Cursor

log = logging.getLogger(__name__)

NO_MODEL_PAUSE_S = 0.1


class ShardReader(threading.Thread):
    """The thread of one shard; its waits on the network leave the core to the others."""

    def __init__(
        self,
        shard: str,
        cursor: Cursor,
        leases: Leases,
        processor: Processor,
        follower: ChampionFollower,
        health: Health,
        limit: int,
        poll_seconds: float,
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name=shard, daemon=True)
        self.stopping = threading.Event()
        self._shard = shard
        self._cursor = cursor
        self._leases = leases
        self._processor = processor
        self._follower = follower
        self._health = health
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._ended = ended
        self._patience = Patience(health, shard, self.stopping)

    def run(self) -> None:
        """Read until the end; whatever ends it, the worker is told."""
        try:
            self._read()
        except GaveUpError:
            log.info("stopped while waiting", extra={"fields": {"shard": self._shard}})
        except LeaseLostError:
            metrics.LEASE_CHANGES.labels("lost").inc()
            log.warning("lease lost", extra={"fields": {"shard": self._shard}})
        finally:
            metrics.BEHIND.remove(self._shard)
            self._health.forget(self._shard)
            self._ended()

    def _read(self) -> None:
        metrics.BEHIND.labels(self._shard).set(0)
        while not self.stopping.is_set():
            started = time.monotonic()
            runner = self._follower.runner
            if runner is None:  # nothing is read, so nothing has to be thrown away
                self.stopping.wait(NO_MODEL_PAUSE_S)
                continue
            page = self._patience.insist("reading", lambda: self._cursor.read(self._limit))
            metrics.BEHIND.labels(self._shard).set(page.millis_behind)
            if page.records:
                self._processor.process(self._shard, page.records, runner, self._patience)
                self._checkpoint(page.records[-1].sequence)
            if page.closed:
                self._checkpoint(SHARD_END)
                metrics.LEASE_CHANGES.labels("finished").inc()
                log.info("shard finished", extra={"fields": {"shard": self._shard}})
                return
            self.stopping.wait(max(0.0, started + self._poll_seconds - time.monotonic()))

    def _checkpoint(self, sequence: str) -> None:
        self._patience.insist("checkpoint", lambda: self._leases.checkpoint(self._shard, sequence))
