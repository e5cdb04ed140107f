"""One suite for every store: SQLite, a MongoDB wire server, a real MongoDB if there is one."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pymongo
import pytest
from pydantic import SecretStr

from bento import ids
from bento.mongo import MongoStore
from bento.settings import Settings
from bento.store import (
    FIRST_ID,
    LAST_ID,
    PredictionRow,
    PredictionStore,
    SqliteStore,
    StoreError,
    open_store,
    prediction_row,
)
from churn_assets_tests.bento.rows import CHAMPION, make_rows
from churn_assets_tests.conftest import free_port
from churn_assets_tests.customers import random_customers
from churn_assets_tests.serving import mongo_server

MONGODB = os.environ.get("CHURN_TEST_MONGODB_URI")


@pytest.fixture(scope="module")
def wire_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = mongo_server(tmp_path_factory.mktemp("mongo"), free_port())
    with server:
        yield f"mongodb://127.0.0.1:{server.port}"


@pytest.fixture(params=["sqlite", "wire", "mongodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PredictionStore]:
    if request.param == "sqlite":
        opened: PredictionStore = SqliteStore(tmp_path / "predictions.db")
    elif request.param == "wire":
        opened = MongoStore(request.getfixturevalue("wire_server"))
    elif MONGODB:
        opened = MongoStore(MONGODB)
    else:
        pytest.skip("no real MongoDB: set CHURN_TEST_MONGODB_URI to a server for tests")
    with closing(opened):
        opened.delete_before(LAST_ID)
        yield opened


def test_rows_come_back_as_they_were(store: PredictionStore) -> None:
    rows = make_rows(50)
    odd = msgspec.structs.replace(
        rows[0],
        prediction_id=ids.uuid7(),
        customer_id="é'\"$ {x}",
        prediction=1e-30,
        credit_limit=0.1,
    )
    large = msgspec.structs.replace(rows[1], prediction_id=ids.uuid7(), customer_id=-(2**63))
    written = sorted([*rows, odd, large], key=lambda row: row.prediction_id)
    store.write([*rows, odd, large])
    assert store.read(FIRST_ID, LAST_ID) == written


def test_writing_again_changes_nothing(store: PredictionStore) -> None:
    rows = make_rows(20)
    store.write(rows[:10])
    changed = [msgspec.structs.replace(row, prediction=0.123) for row in rows]
    store.write(changed)
    store.write([rows[3], rows[3]])
    assert store.count() == 20
    assert store.read(FIRST_ID, LAST_ID) == rows[:10] + changed[10:]
    store.write([])


def test_rows_that_are_json_already_are_rows_like_others(store: PredictionStore) -> None:
    rows = make_rows(5)
    store.write(rows[3:])
    store.write_json(msgspec.json.encode(rows))
    store.write_json(b"[]")
    assert store.read(FIRST_ID, LAST_ID) == rows


def test_a_window_is_a_range_of_ids(store: PredictionStore) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    moments = [start + timedelta(milliseconds=ms) for ms in (-1, 0, 1, 59_999, 60_000)]
    rows = []
    for number, moment in enumerate(moments):
        arrival = round(moment.timestamp() * 1000)
        row_id = ids.stream_id("predictions", "shard-0", str(number), arrival)
        rows.append(make_rows(1, ids=[row_id])[0])
    store.write(rows)
    first, last = ids.bounds(start, start + timedelta(minutes=1))
    assert store.read(first, last) == rows[1:4]
    assert store.count(first, last) == 3
    assert rows[1].created_at == "2026-03-01T12:00:00.000Z"
    assert rows[3].created_at == "2026-03-01T12:00:59.999Z"


def test_pages_follow_each_other_without_gap_or_overlap(store: PredictionStore) -> None:
    rows = make_rows(25)
    store.write(list(reversed(rows)))
    pages: list[PredictionRow] = []
    after = None
    while page := store.read(FIRST_ID, LAST_ID, after, limit=10):
        assert len(page) <= 10
        pages += page
        after = page[-1].prediction_id
    assert pages == rows


def test_old_rows_go(store: PredictionStore) -> None:
    rows = make_rows(10)
    store.write(rows)
    assert store.delete_before(rows[4].prediction_id) == 4
    assert store.read(FIRST_ID, LAST_ID) == rows[4:]


def test_a_report_is_replaced_by_its_id(store: PredictionStore) -> None:
    store.save_report({"_id": "2026-b", "drift": 0.5, "columns": ["a"]})
    store.save_report({"_id": "2026-a", "drift": 0.1, "columns": []})
    store.save_report({"_id": "2026-b", "drift": 0.7, "columns": ["a", "b"]})
    found = [report for report in store.reports() if report["_id"] in ("2026-a", "2026-b")]
    assert found == [
        {"_id": "2026-a", "drift": 0.1, "columns": []},
        {"_id": "2026-b", "drift": 0.7, "columns": ["a", "b"]},
    ]


def test_the_settings_choose_the_store(tmp_path: Path, wire_server: str) -> None:
    with closing(open_store(Settings(churn_home=tmp_path))) as embedded:
        assert isinstance(embedded, SqliteStore)
        assert (tmp_path / "predictions.db").exists()
    with closing(open_store(Settings(mongodb_uri=SecretStr(wire_server)))) as mongo:
        assert isinstance(mongo, MongoStore)


def test_mongodb_has_the_predecessors_database_and_fields(wire_server: str) -> None:
    row = make_rows(1)[0]
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(wire_server)
    with closing(MongoStore(wire_server)) as store, client:
        store.write([row])
        document = client["prediction_service"]["data"].find_one({"_id": row.prediction_id})
    assert document is not None
    assert document["prediction"] == row.prediction
    assert document["model_run_id"] == row.model_run_id
    assert document["created_at"] == row.created_at
    assert document["customer_age"] == row.customer_age


def test_a_server_that_is_away_is_a_store_error_without_the_customers_values() -> None:
    with closing(MongoStore(f"mongodb://user:secret@127.0.0.1:{free_port()}")) as store:
        with pytest.raises(StoreError) as caught:
            store.write(make_rows(1))
        assert "secret" not in str(caught.value)
        assert "customer_age" not in str(caught.value)


def test_a_row_says_who_answered_what() -> None:
    customer = random_customers(1, core_share=1)[0]
    prediction_id = ids.uuid7()
    row = prediction_row(customer, prediction_id, CHAMPION.threshold, CHAMPION, "stream")
    assert row.churn is True, "at the threshold is a churner"
    assert (row.tier, row.source, row.customer_id) == ("core", "stream", customer.customer_id)
    assert row.created_at == ids.created_at(prediction_id)
    below = prediction_row(customer, prediction_id, CHAMPION.threshold - 1e-9, CHAMPION, "http")
    assert below.churn is False


def test_ids_are_ordered_unique_and_repeatable() -> None:
    found = [ids.uuid7() for _ in range(10_000)]
    assert len(set(found)) == len(found)
    assert [i[:13] for i in found] == sorted(i[:13] for i in found)
    import uuid

    assert all(uuid.UUID(i).version == 7 and uuid.UUID(i).variant == uuid.RFC_4122 for i in found)
    one = ids.stream_id("s", "shard-1", "42", 1_700_000_000_123)
    assert one == ids.stream_id("s", "shard-1", "42", 1_700_000_000_123)
    assert ids.milliseconds(one) == 1_700_000_000_123
    assert uuid.UUID(one).version == 7
    others = {
        ("s", "shard-1", "43"),
        ("s", "shard-2", "42"),
        ("t", "shard-1", "42"),
        ("s\0", "hard-1", "42"),
    }
    assert one not in {ids.stream_id(*other, 1_700_000_000_123) for other in others}
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="time zone"):
        ids.bounds(naive, naive)
