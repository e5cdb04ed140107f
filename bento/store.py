"""The prediction log: one row type, one small interface, SQLite or MongoDB behind it.

Rows are found by their id alone. Ids are time-ordered, so a time window is a range
of ids (`bento.ids.bounds`) and neither database needs a second index or date arithmetic.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from msgspec.structs import astuple
from typing_extensions import override

from bento.champion import Champion
from bento.customer import FEATURES, Customer, Tier, tier
from bento.ids import created_at
from bento.settings import Settings

FIRST_ID = ""
LAST_ID = "g"
"""Greater than any id, which is hexadecimal."""

TIMEOUT_MS = 3_000
"""How long a store may take to answer before a write counts as failed (and is tried again)."""

Report = dict[str, Any]
Source = Literal["http", "stream"]


class StoreError(RuntimeError):
    """The store did not do what was asked; the same call may succeed later."""


class PredictionRow(
    msgspec.Struct, frozen=True, gc=False, kw_only=False, rename={"prediction_id": "_id"}
):
    """One answered prediction: `_id`, who answered what and when, and the inputs, flat."""

    prediction_id: str
    created_at: str
    """ISO-8601, UTC, milliseconds; the time inside the id."""
    model_run_id: str
    model_version: str
    prediction: float
    """P(leave)."""
    churn: bool
    tier: Tier
    source: Source
    customer_age: int
    gender: str
    dependent_count: int
    education_level: int | None
    marital_status: str | None
    income_category: int | None
    card_category: str
    months_on_book: int
    total_relationship_count: int
    credit_limit: float
    total_revolving_bal: float
    months_inactive_12_mon: int | None = None
    contacts_count_12_mon: int | None = None
    avg_open_to_buy: float | None = None
    total_amt_chng_q4_q1: float | None = None
    total_trans_amt: float | None = None
    total_trans_ct: int | None = None
    total_ct_chng_q4_q1: float | None = None
    avg_utilization_ratio: float | None = None
    customer_id: int | str | None = None


if PredictionRow.__struct_fields__[8:] != Customer.__struct_fields__:
    raise TypeError(f"PredictionRow must end with the customer's fields: {FEATURES}, customer_id")


def prediction_row(
    customer: Customer, prediction_id: str, chance: float, champion: Champion, source: Source
) -> PredictionRow:
    """The row to remember of one answer."""
    return PredictionRow(
        prediction_id,
        created_at(prediction_id),
        champion.model_run_id,
        champion.model_version,
        chance,
        chance >= champion.threshold,
        tier(customer),
        source,
        *astuple(customer),
    )


class PredictionStore(Protocol):
    """Where predictions and reports are kept; every method may raise `StoreError`."""

    def write(self, rows: Sequence[PredictionRow]) -> None:
        """Keep the rows; a row whose id is already there is left as it is."""

    def write_json(self, rows: bytes) -> None:
        """`write` for rows that are a JSON array already, as the outbox keeps them."""

    def read(
        self, start_id: str, end_id: str, after: str | None = None, limit: int = 10_000
    ) -> list[PredictionRow]:
        """Up to `limit` rows with start_id <= id < end_id, and id > after, in order of id."""

    def count(self, start_id: str = FIRST_ID, end_id: str = LAST_ID) -> int:
        """How many rows have start_id <= id < end_id."""

    def delete_before(self, end_id: str) -> int:
        """Delete all rows with id < end_id; how many there were."""

    def save_report(self, report: Mapping[str, Any]) -> None:
        """Keep a report under its `_id` (text), in place of an older one of that id."""

    def reports(self) -> list[Report]:
        """All reports in order of id."""

    def close(self) -> None:
        """Let go of files and connections."""


@contextmanager
def as_store_errors(name: str, kind: type[Exception]) -> Iterator[None]:
    """Turn a driver's errors into `StoreError`."""
    try:
        yield
    except kind as error:
        raise StoreError(f"{name}: {type(error).__name__}: {str(error)[:200]}") from error


def open_store(settings: Settings) -> PredictionStore:
    """MongoDB when `MONGODB_URI` is set, else SQLite under `churn_home`."""
    if settings.mongodb_uri:
        from bento.mongo import MongoStore
        from bento.secret import reveal

        return MongoStore(reveal(settings.mongodb_uri.get_secret_value()))
    return SqliteStore(settings.churn_home / "predictions.db")


_row_decoder = msgspec.json.Decoder(PredictionRow)
_rows_encoder = msgspec.json.Encoder()


class SqliteStore(PredictionStore):
    """The log in one SQLite file: a table of JSON documents, many readers beside the writer."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._guard():
            self._db = sqlite3.connect(
                path, timeout=TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            for table in ("data", "report"):
                self._db.execute(
                    f"CREATE TABLE IF NOT EXISTS {table}"
                    " (_id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID"
                )

    @override
    def write(self, rows: Sequence[PredictionRow]) -> None:
        self.write_json(_rows_encoder.encode(rows))

    @override
    def write_json(self, rows: bytes) -> None:
        # One statement: SQLite takes the array apart, and Python's lock is free meanwhile.
        with self._guard():
            self._db.execute(
                "INSERT OR IGNORE INTO data SELECT value ->> '_id', value FROM json_each(?)",
                (rows.decode(),),
            )

    @override
    def read(
        self, start_id: str, end_id: str, after: str | None = None, limit: int = 10_000
    ) -> list[PredictionRow]:
        with self._guard():
            found = self._db.execute(
                "SELECT document FROM data WHERE _id >= ? AND _id < ? AND _id > ?"
                " ORDER BY _id LIMIT ?",
                (start_id, end_id, after or FIRST_ID, limit),
            ).fetchall()
        return [_row_decoder.decode(document) for (document,) in found]

    @override
    def count(self, start_id: str = FIRST_ID, end_id: str = LAST_ID) -> int:
        with self._guard():
            query = "SELECT count(*) FROM data WHERE _id >= ? AND _id < ?"
            return int(self._db.execute(query, (start_id, end_id)).fetchone()[0])

    @override
    def delete_before(self, end_id: str) -> int:
        with self._guard():
            return self._db.execute("DELETE FROM data WHERE _id < ?", (end_id,)).rowcount

    @override
    def save_report(self, report: Mapping[str, Any]) -> None:
        with self._guard():
            self._db.execute(
                "INSERT OR REPLACE INTO report VALUES (?, ?)",
                (report["_id"], msgspec.json.encode(report).decode()),
            )

    @override
    def reports(self) -> list[Report]:
        with self._guard():
            found = self._db.execute("SELECT document FROM report ORDER BY _id").fetchall()
        return [msgspec.json.decode(document) for (document,) in found]

    @override
    def close(self) -> None:
        self._db.close()

    def _guard(self) -> AbstractContextManager[None]:
        return as_store_errors(f"SQLite {self._path}", sqlite3.Error)
