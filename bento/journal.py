"""One process's part of the outbox on disk: a SQLite file, claimed by a lock."""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Literal, NamedTuple

Sync = Literal["normal", "full"]

COMMIT_BYTES = 3 * 4096
"""What a commit adds to the write-ahead log beside its batch: the pages it touches."""


class Batch(NamedTuple):
    """Rows that were kept together."""

    seq: int
    rows: int
    body: bytes


class Journal:
    """Batches of rows in the order of their arrival; one thread adds and removes, another reads.

    A batch is one row of the table, because its only use is to be shipped whole. All
    methods may raise `sqlite3.Error`, for example when the disk is full.
    """

    def __init__(self, path: Path, lock: IO[bytes], sync: Sync) -> None:
        self.path = path
        self._lock = lock
        self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute(f"PRAGMA synchronous = {sync}")
        # A checkpoint waits for the disk: `checkpoint` does that beside the adding thread.
        self._writer.execute("PRAGMA wal_autocheckpoint = 0")
        # AUTOINCREMENT: a number never comes back, also when all batches are removed.
        self._writer.execute(
            "CREATE TABLE IF NOT EXISTS batch"
            " (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, rows INTEGER, body BLOB)"
        )
        self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._logged = self._checkpointed = 0

    def add(self, rows: int, body: bytes) -> int:
        """Keep a batch; its sequence number. It survives a killed process once this returns."""
        insert = "INSERT INTO batch (at, rows, body) VALUES (?, ?, ?)"
        self._logged += len(body) + COMMIT_BYTES
        return self._writer.execute(insert, (time.time(), rows, body)).lastrowid or 0

    def remove(self, last: int) -> None:
        """Forget all batches up to and including `last`."""
        self._writer.execute("DELETE FROM batch WHERE seq <= ?", (last,))

    def read(self, after: int, most: int) -> list[Batch]:
        """The oldest batches after `after`, up to the one that makes it `most` rows or more."""
        query = "SELECT seq, rows, body FROM batch WHERE seq > ? ORDER BY seq"
        found: list[Batch] = []
        count = 0
        with closing(self._reader.execute(query, (after,))) as batches:
            for batch in map(Batch._make, batches):
                found.append(batch)
                count += batch.rows
                if count >= most:
                    break
        return found

    def pending(self) -> tuple[int, int, float | None]:
        """(rows, bytes, time of the oldest) that are kept."""
        query = "SELECT coalesce(sum(rows), 0), coalesce(sum(length(body)), 0), min(at) FROM batch"
        rows, size, oldest = self._writer.execute(query).fetchone()
        return rows, size, oldest

    def oldest(self) -> float | None:
        """Time of the oldest batch, None when empty."""
        found = self._writer.execute("SELECT at FROM batch ORDER BY seq LIMIT 1").fetchone()
        return float(found[0]) if found else None

    def checkpoint(self, size: int) -> None:
        """Move the write-ahead log into the file once it holds about `size` bytes.

        Then it is written again from its beginning. Emptying it instead would have the
        file system allocate it anew, and each allocation waits for the disk.
        """
        logged = self._logged
        if logged - self._checkpointed >= size:
            for mode in ("PASSIVE", "RESTART"):  # most of the work before taking the lock
                self._reader.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            self._checkpointed = logged

    def close(self) -> None:
        """Close the file and give up the claim."""
        self._reader.close()
        self._writer.close()
        self._lock.close()


def claim(folder: Path, sync: Sync) -> Journal:
    """The first journal of the folder that no living process has, with what it still holds."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while (lock := _try_lock(folder / f"outbox-{number}.lock")) is None:
        number += 1
    return Journal(folder / f"outbox-{number}.db", lock, sync)


def orphans(folder: Path, sync: Sync) -> Iterator[Journal]:
    """Claim one after the other the journals whose processes are gone."""
    for path in sorted(folder.glob("outbox-*.db")):
        lock = _try_lock(path.with_suffix(".lock"))
        if lock:
            yield Journal(path, lock, sync)


def _try_lock(path: Path) -> IO[bytes] | None:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
