"""What was answered is in the log once, whatever is killed, full or away."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bento import outbox as outbox_module
from bento.outbox import Outbox, OutboxFullError
from bento.settings import Settings
from bento.store import FIRST_ID, LAST_ID, PredictionRow, SqliteStore
from churn_assets_tests.bento.rows import make_rows
from churn_assets_tests.conftest import ROOT

WRITER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from bento.outbox import Outbox
    from bento.settings import Settings
    from churn_assets_tests.bento.rows import make_rows

    home = Path(sys.argv[1])
    outbox = Outbox(home / "outbox", Settings(churn_home=home, outbox_ship_seconds=0.01))

    async def answer():
        while True:
            rows = make_rows(2)
            if await outbox.submit(rows):
                sys.stdout.write("".join(row.prediction_id + "\\n" for row in rows))
                sys.stdout.flush()

    async def main():
        await asyncio.gather(*(answer() for _ in range(8)))

    asyncio.run(main())
    """
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def opened(home: Path, **settings: object) -> Iterator[Outbox]:
    values = {"churn_home": home, "outbox_ship_seconds": 0.01, **settings}
    with closing(Outbox(home / "outbox", Settings.model_validate(values))) as outbox:
        yield outbox


def logged(home: Path) -> list[str]:
    with closing(SqliteStore(home / "predictions.db")) as store:
        return [row.prediction_id for row in store.read(FIRST_ID, LAST_ID, limit=1_000_000)]


@contextmanager
def store_locked(home: Path) -> Iterator[None]:
    """The store refuses writes, as one does that is away."""
    SqliteStore(home / "predictions.db").close()
    with closing(sqlite3.connect(home / "predictions.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def test_rows_reach_the_store_as_they_were(home: Path) -> None:
    rows = make_rows(300)
    with opened(home) as outbox:
        outbox.append(rows[:100])
        outbox.append([])
        outbox.append(rows[:100])
        asyncio.run(_submit(outbox, [rows[100:200], rows[200:]]))
        assert outbox.flush(10)
        status = outbox.status()
    assert (status.depth, status.bytes, status.oldest_s, status.full) == (0, 0, 0.0, False)
    assert status.shipped == 400
    with closing(SqliteStore(home / "predictions.db")) as store:
        assert store.read(FIRST_ID, LAST_ID) == rows


async def _submit(outbox: Outbox, batches: list[list[PredictionRow]]) -> None:
    assert all(await asyncio.gather(*(outbox.submit(batch) for batch in batches)))


def test_a_killed_process_loses_nothing_it_acknowledged(home: Path) -> None:
    acknowledged: list[str] = []
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(200)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        assert writer.wait() == -signal.SIGKILL
        acknowledged += [line.strip() for line in lines if len(line) == 37]
    with opened(home) as outbox:
        assert outbox.flush(20)
    found = logged(home)
    assert len(acknowledged) >= 600
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= set(found)
    assert len(set(found)) == len(found)


def test_the_file_of_a_dead_process_is_adopted_by_a_living_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "ADOPT_EVERY_S", 0.1)
    with opened(home) as first:  # holds the first file, so that the writer gets the second
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        with store_locked(home):
            lines = [writer.stdout.readline() for _ in range(50)]
            writer.kill()
            lines += writer.stdout.readlines()
            writer.wait()
        acknowledged = {line.strip() for line in lines if len(line) == 37}
        assert sorted(p.name for p in (home / "outbox").glob("*.db")) == [
            "outbox-0.db",
            "outbox-1.db",
        ]
        deadline = time.monotonic() + 30
        while not acknowledged <= set(logged(home)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert acknowledged <= set(logged(home))
        assert first.status().shipped >= len(acknowledged)


def test_a_store_that_is_away_stops_nothing_and_gets_everything_later(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bento.store.TIMEOUT_MS", 50)
    rows = make_rows(200)
    with opened(home) as outbox:
        with store_locked(home):
            for start in range(0, 200, 20):
                outbox.append(rows[start : start + 20])
            deadline = time.monotonic() + 10
            while outbox.status().store_error is None and time.monotonic() < deadline:
                time.sleep(0.01)
            status = outbox.status()
            assert status.depth == 200
            assert status.oldest_s > 0
            assert "locked" in str(status.store_error)
            assert status.full is False
        assert outbox.flush(20)
        assert outbox.status().store_error is None
    assert logged(home) == [row.prediction_id for row in rows]


def test_a_full_outbox_says_so_keeps_answering_and_recovers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bento.store.TIMEOUT_MS", 50)
    rows = make_rows(100)
    with opened(home, outbox_max_bytes=20_000) as outbox:
        with store_locked(home):
            kept = asyncio.run(_one_by_one(outbox, rows))
            status = outbox.status()
            assert 0 < status.depth < 100
            assert status.bytes <= 20_000
            assert (status.full, status.dropped) == (True, 100 - status.depth)
            assert status.error == f"the outbox holds {status.bytes:,} of 20,000 bytes"
            with pytest.raises(OutboxFullError, match="20,000 bytes"):
                outbox.append(rows[-1:])
        assert outbox.flush(20)
        outbox.append(rows[-1:])
        assert outbox.status().full is False
    assert logged(home) == sorted([*kept, rows[-1].prediction_id])


async def _one_by_one(outbox: Outbox, rows: list[PredictionRow]) -> list[str]:
    return [row.prediction_id for row in rows if await outbox.submit([row])]


def test_a_full_disk_is_survived(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses to let any file grow, as it does on a full disk."""
    monkeypatch.setattr("bento.store.TIMEOUT_MS", 50)
    rows = make_rows(400)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with opened(home) as outbox:
        with store_locked(home):
            resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, before[1]))
            try:
                kept = asyncio.run(_one_by_one(outbox, rows))
                assert outbox.status().full is True
                assert 0 < len(kept) < len(rows)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
                signal.signal(signal.SIGXFSZ, handler)
        outbox.append(rows[-1:])
        assert outbox.status().full is False
        assert outbox.flush(20)
    assert set(logged(home)) == {*kept, rows[-1].prediction_id}


def test_two_processes_share_a_folder(home: Path) -> None:
    rows = make_rows(40)
    with opened(home) as first, opened(home) as second:
        threads = [
            threading.Thread(target=box.append, args=([row],))
            for number, row in enumerate(rows)
            for box in [first if number % 2 else second]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert first.flush(10)
        assert second.flush(10)
    assert logged(home) == [row.prediction_id for row in rows]


def test_closing_ships_what_is_left(home: Path) -> None:
    rows = make_rows(30)
    with opened(home, outbox_ship_seconds=60) as outbox:
        time.sleep(0.1)
        outbox.append(rows)
        assert outbox.status().depth == 30
    assert logged(home) == [row.prediction_id for row in rows]


@pytest.mark.parametrize(("sync", "level"), [("normal", 1), ("full", 2)])
def test_the_setting_decides_what_a_commit_survives(home: Path, sync: str, level: int) -> None:
    with opened(home, outbox_sync=sync) as outbox:
        found = outbox._journal._writer.execute("PRAGMA synchronous").fetchone()
    assert found == (level,)
