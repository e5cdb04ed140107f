"""The outbox: a prediction is on disk before its answer leaves, and reaches the store later.

One thread writes what has queued up since its last commit in one commit (group
commit). Another ships the batches to the store, oldest first, and forgets them once
the store has them; the store ignores ids that it has, so a batch shipped twice, as
after a crash between the two steps, is in the log once.
"""

import asyncio
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec

from bento.journal import Journal, claim, orphans
from bento.settings import Settings
from bento.store import PredictionRow, PredictionStore, StoreError, open_store

SHIP_ROWS = 2_000
"""Rows (about 1 MB) that are enough for one write to the store."""

MAX_BACKOFF_S = 30.0
ADOPT_EVERY_S = 5.0
CHECKPOINT_BYTES = 4 * 2**20
"""Checkpoints come often, so that each is too short to be felt by a request."""

log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()


class OutboxFullError(RuntimeError):
    """The rows could not be kept: the outbox has its size limit, or the disk is full."""


class OutboxStatus(msgspec.Struct, frozen=True):
    """What the outbox of this process holds and has done since it was opened."""

    depth: int
    """Rows not yet in the store."""
    bytes: int
    oldest_s: float
    """Age of the oldest of them in seconds, 0 when there is none."""
    shipped: int
    dropped: int
    """Rows answered but not kept, because the outbox was full."""
    full: bool
    """The last rows could not be kept; becomes False by itself when rows can be kept again."""
    error: str | None
    """Why the last rows could not be kept."""
    store_error: str | None
    """Why the last rows could not be shipped."""


class _Entry(NamedTuple):
    rows: Sequence[PredictionRow]
    future: "asyncio.Future[bool] | Future[bool]"


class _Shipped(NamedTuple):
    last: int
    rows: int
    bytes: int


class Outbox:
    """The outbox of this process, in a folder that several processes may share."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._folder = path
        self._settings = settings
        self._journal = claim(path, settings.outbox_sync)
        self._depth, self._bytes, self._oldest = self._journal.pending()
        self._shipped = self._dropped = 0
        self._error: str | None = None
        self._store_error: str | None = None
        self._store: PredictionStore | None = None
        self._queue: SimpleQueue[_Entry | _Shipped | None] = SimpleQueue()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._write_forever, name="outbox", daemon=True),
            threading.Thread(target=self._ship_forever, name="shipper", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, rows: Sequence[PredictionRow]) -> "asyncio.Future[bool]":
        """Hand rows over from a coroutine; await the result before answering.

        True: the rows are durable. False: they could not be kept (see `status`), which
        must not keep the customer waiting.
        """
        future = asyncio.get_running_loop().create_future()
        self._queue.put(_Entry(rows, future))
        return future

    def append(self, rows: Sequence[PredictionRow]) -> None:
        """Keep rows, durable when this returns; raises `OutboxFullError` when they are not."""
        future: Future[bool] = Future()
        self._queue.put(_Entry(rows, future))
        if not future.result():
            raise OutboxFullError(self._error)

    def status(self) -> OutboxStatus:
        """Read from memory: as cheap as it looks."""
        oldest = self._oldest
        return OutboxStatus(
            depth=self._depth,
            bytes=self._bytes,
            oldest_s=max(0.0, time.time() - oldest) if oldest else 0.0,
            shipped=self._shipped,
            dropped=self._dropped,
            full=self._error is not None,
            error=self._error,
            store_error=self._store_error,
        )

    def flush(self, timeout_s: float) -> bool:
        """Wait until the store has everything; False when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while self._depth and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self._depth

    def close(self) -> None:
        """Write what was handed over, try once more to ship, stop the threads."""
        writer, shipper = self._threads
        self._closing.set()
        shipper.join()
        self._queue.put(None)
        writer.join()
        self._journal.close()

    # The writing thread: the only one that changes the journal and the counters of it.

    def _write_forever(self) -> None:
        running = True
        while running:
            entries: list[_Entry] = []
            item = self._queue.get()
            while True:
                if item is None:
                    running = False
                elif isinstance(item, _Entry):
                    entries.append(item)
                else:
                    self._forget(item)
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            if entries:
                _resolve(entries, self._commit(entries))

    def _commit(self, entries: list[_Entry]) -> bool:
        rows = [row for entry in entries for row in entry.rows]
        body = _encoder.encode(rows)
        try:
            if self._bytes + len(body) > self._settings.outbox_max_bytes:
                raise OutboxFullError(
                    f"the outbox holds {self._bytes:,} of {self._settings.outbox_max_bytes:,} bytes"
                )
            self._journal.add(len(rows), body)
        except Exception as error:  # whatever it is, the waiting requests get an answer
            if self._error is None:
                log.error("predictions are not kept: %s", error)
            self._error = str(error)
            self._dropped += len(rows)
            return False
        self._error = None
        self._oldest = self._oldest or time.time()
        self._depth += len(rows)
        self._bytes += len(body)
        return True

    def _forget(self, shipped: _Shipped) -> None:
        self._shipped += shipped.rows
        self._depth -= shipped.rows
        self._bytes -= shipped.bytes
        try:
            self._journal.remove(shipped.last)
            self._oldest = self._journal.oldest()
        except sqlite3.Error as error:  # they go with the next ones; shipping twice does no harm
            log.warning("shipped predictions are not removed yet: %s", error)

    # The shipping thread: reads the journal, writes to the store.

    def _ship_forever(self) -> None:
        last = failures = 0
        pause = next_adoption = 0.0
        while not self._closing.wait(pause):
            try:
                if shipped := self._ship(self._journal, last):
                    last = shipped.last
                    self._queue.put(shipped)
                elif time.monotonic() >= next_adoption:
                    self._adopt()
                    next_adoption = time.monotonic() + ADOPT_EVERY_S
                self._journal.checkpoint(CHECKPOINT_BYTES)
                busy = shipped is not None and shipped.rows >= SHIP_ROWS
                pause = 0.0 if busy else self._settings.outbox_ship_seconds
                failures, self._store_error = 0, None
            except (StoreError, sqlite3.Error) as error:
                pause = min(MAX_BACKOFF_S, 0.25 * 2**failures) * random.uniform(0.5, 1)  # noqa: S311
                failures = min(failures + 1, 16)
                if self._store_error is None:
                    log.warning("the store does not take predictions: %s", error)
                self._store_error = str(error)
        with suppress(StoreError, sqlite3.Error):
            while shipped := self._ship(self._journal, last):
                last = shipped.last
                self._queue.put(shipped)
        if self._store:
            self._store.close()

    def _ship(self, journal: Journal, after: int) -> _Shipped | None:
        batches = journal.read(after, SHIP_ROWS)
        if not batches:
            return None
        bodies = [batch.body for batch in batches]
        self._store = self._store or open_store(self._settings)
        self._store.write_json(_joined(bodies))
        self._store_error = None
        rows = sum(batch.rows for batch in batches)
        return _Shipped(batches[-1].seq, rows, sum(map(len, bodies)))

    def _adopt(self) -> None:
        for journal in orphans(self._folder, self._settings.outbox_sync):
            with closing(journal):
                while shipped := self._ship(journal, 0):
                    journal.remove(shipped.last)
                    self._shipped += shipped.rows


def _joined(arrays: Sequence[bytes]) -> bytes:
    """One JSON array of all that the arrays hold."""
    return b"[" + b",".join(array[1:-1] for array in arrays if array != b"[]") + b"]"


def _resolve(entries: list[_Entry], kept: bool) -> None:
    waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[bool]]] = {}
    for entry in entries:
        if isinstance(entry.future, asyncio.Future):
            waiting.setdefault(entry.future.get_loop(), []).append(entry.future)
        else:
            entry.future.set_result(kept)
    for loop, futures in waiting.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_set_all, futures, kept)


def _set_all(futures: list["asyncio.Future[bool]"], kept: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(kept)
