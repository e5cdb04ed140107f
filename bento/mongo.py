"""The prediction log in MongoDB."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from pymongo import MongoClient
from pymongo.errors import BulkWriteError, PyMongoError
from typing_extensions import override

from bento.store import (
    FIRST_ID,
    LAST_ID,
    TIMEOUT_MS,
    PredictionRow,
    PredictionStore,
    Report,
    StoreError,
    as_store_errors,
)

DUPLICATE_KEY = 11000


class MongoStore(PredictionStore):
    """The log in MongoDB, in the predecessor's database and collections.

    It keeps to insert, update by `_id`, range, sort and limit on a text `_id`: what every
    server of the wire protocol does alike.
    """

    def __init__(self, uri: str) -> None:
        with self._guard():
            self._client: MongoClient[dict[str, Any]] = MongoClient(
                uri,
                timeoutMS=TIMEOUT_MS,
                serverSelectionTimeoutMS=TIMEOUT_MS,
                connectTimeoutMS=TIMEOUT_MS,
                appname="churn",
            )
        self._data = self._client["prediction_service"]["data"]
        self._report = self._client["prediction_service"]["report"]

    @override
    def write(self, rows: Sequence[PredictionRow]) -> None:
        self._insert(msgspec.to_builtins(rows))

    @override
    def write_json(self, rows: bytes) -> None:
        self._insert(msgspec.json.decode(rows))

    def _insert(self, documents: list[dict[str, Any]]) -> None:
        if not documents:
            return
        with self._guard():
            try:
                self._data.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                details = error.details or {}
                others = [e for e in details.get("writeErrors", []) if e["code"] != DUPLICATE_KEY]
                if others or details.get("writeConcernErrors"):
                    raise StoreError(f"MongoDB refused {len(others)} rows") from error

    @override
    def read(
        self, start_id: str, end_id: str, after: str | None = None, limit: int = 10_000
    ) -> list[PredictionRow]:
        span = {"$gte": start_id, "$lt": end_id}
        if after:
            span |= {"$gte": max(start_id, after)}
        with self._guard():
            found = self._data.find({"_id": span}).sort("_id", 1).limit(limit + 1)
            rows = [msgspec.convert(document, PredictionRow) for document in found]
        return [row for row in rows if row.prediction_id != after][:limit]

    @override
    def count(self, start_id: str = FIRST_ID, end_id: str = LAST_ID) -> int:
        with self._guard():
            return self._data.count_documents({"_id": {"$gte": start_id, "$lt": end_id}})

    @override
    def delete_before(self, end_id: str) -> int:
        with self._guard():
            return self._data.delete_many({"_id": {"$lt": end_id}}).deleted_count

    @override
    def save_report(self, report: Mapping[str, Any]) -> None:
        content = {name: value for name, value in report.items() if name != "_id"}
        with self._guard():
            self._report.update_one({"_id": report["_id"]}, {"$set": content}, upsert=True)

    @override
    def reports(self) -> list[Report]:
        with self._guard():
            return list(self._report.find({}).sort("_id", 1))

    @override
    def close(self) -> None:
        self._client.close()

    def _guard(self) -> AbstractContextManager[None]:
        return as_store_errors("MongoDB", PyMongoError)
