import json
import tracemalloc
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bento.runner import ChurnRunner
from bento.settings import Settings, get_settings
from bento.store import SqliteStore, open_store
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.drift import Limits
from churn_assets.defs.monitoring.live import SETTLE, LiveWindow
from churn_assets.defs.monitoring.pipeline_state import dagster_runs
from churn_assets.exporter import Exporter
from churn_assets_tests.champions import make_champion, point, random_customers
from churn_assets_tests.monitoring.samples import NOON, aged, answered, cleaned, poorer

SPAN = timedelta(minutes=15)
NOW = NOON + timedelta(seconds=60) + SETTLE

Series = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("champion")
    make_champion(folder, seed=12)
    return folder


@pytest.fixture(scope="module")
def runner(folder: Path) -> ChurnRunner:
    return ChurnRunner(folder)


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "store.db")


def shown(exporter: Exporter) -> Series:
    registry = CollectorRegistry()
    registry.register(exporter)
    return {
        name: {
            tuple(v for _, v in sorted(sample.labels.items())): sample.value for sample in samples
        }
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for name, samples in {s.name: family.samples for s in family.samples}.items()
    }


def test_the_window_is_bounded_and_counts_every_row_once(
    store: SqliteStore, runner: ChurnRunner
) -> None:
    window = LiveWindow(100, SPAN)
    rows = answered(random_customers(250, seed=40), runner)
    store.write(rows[:150])
    assert window.read(store, NOW) == 150
    assert window.read(store, NOW) == 0
    store.write(rows[150:])
    assert window.read(store, NOW) == 100
    assert len(window) == 100
    assert window.seen.total() == 250


def test_rows_grow_old_and_new_ones_settle_first(store: SqliteStore, runner: ChurnRunner) -> None:
    window = LiveWindow(1_000, SPAN)
    store.write(answered(random_customers(60, seed=41), runner))  # one a second
    assert window.read(store, NOON + timedelta(seconds=30)) == 25
    assert window.read(store, NOW) == 35
    window.read(store, NOON + SPAN + timedelta(seconds=20))
    assert len(window) == 40
    window.read(store, NOON + timedelta(hours=1))
    assert len(window) == 0
    assert window.evaluate(lambda *_: None, Limits()).tiers == {}


def test_only_the_newest_model_is_compared(
    store: SqliteStore, runner: ChurnRunner, tmp_path: Path
) -> None:
    make_champion(tmp_path / "next", seed=13)
    successor = ChurnRunner(tmp_path / "next")
    before = answered(random_customers(300, seed=42), runner)
    store.write(aged(before, timedelta(minutes=5)))
    store.write(answered(random_customers(90, seed=43, core_share=0), successor))
    window = LiveWindow(1_000, SPAN)
    window.read(store, NOW)
    state = window.evaluate(lambda *_: None, Limits())
    assert state.model_run_id == successor.champion.model_run_id
    assert {tier: found.rows for tier, found in state.tiers.items()} == {"full": 90}


def test_memory_stays_flat_over_an_hour_of_traffic(store: SqliteStore, runner: ChurnRunner) -> None:
    hour = timedelta(hours=1)
    store.write(answered(random_customers(20_000, seed=44), runner, seconds=3_600))
    window = LiveWindow(1_000, SPAN)
    marks = []
    tracemalloc.start()
    for minute in range(1, 61):
        window.read(store, NOON + minute * hour / 60)
        window.evaluate(lambda *_: None, Limits())
        if minute in (20, 60):
            marks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert window.seen.total() > 19_000
    assert marks[1] < marks[0] * 1.1


def test_drift_is_shown_by_column_and_quiet_traffic_is_quiet(
    emulator: str, folder: Path, runner: ChurnRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_PORT", "1")
    get_settings.cache_clear()
    settings = get_settings()
    point(settings.live_pointer, folder, runner.champion)
    table = reference.build(cleaned(random_customers(4_000, seed=45, core_share=0)), runner)
    run = runner.champion.model_run_id
    reference.save(boto3.client("s3"), settings.churn_bucket, run, table)
    store = open_store(settings)
    exporter = Exporter(settings)

    store.write(answered(random_customers(1_000, seed=46), runner))
    exporter.step(NOW)
    quiet = shown(exporter)
    assert set(quiet["churn_drift_share"]) == {("full",), ("core",)}
    assert set(quiet["churn_drift_share"].values()) == {0.0}
    assert sum(quiet["churn_live_rows"].values()) == 1_000
    assert (
        0
        <= quiet["churn_live_score"]["0.05", "full"]
        < quiet["churn_live_score"]["0.95", "full"]
        <= 1
    )

    later = answered(poorer(random_customers(1_000, seed=47)), runner, NOON + timedelta(minutes=1))
    store.write(later)
    exporter.step(NOW + timedelta(minutes=1))
    loud = shown(exporter)
    assert loud["churn_drift_detected"]["credit_limit", "core"] == 1
    assert loud["churn_drift_detected"]["total_trans_ct", "full"] == 1
    assert loud["churn_drift_detected"]["months_on_book", "full"] == 0
    assert loud["churn_drift_share"]["full",] > 0
    assert loud["churn_drift_psi"]["credit_limit", "core"] > 0.1
    assert sum(loud["churn_live_predictions_total"].values()) == 2_000
    assert loud["churn_champion_quality"]["roc_auc", "full"] == 0.9
    assert loud["churn_dagster_up"][()] == 0
    store.close()


def test_a_store_that_is_down_is_counted_and_survived(
    emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(mongodb_uri="mongodb://127.0.0.1:1/")
    exporter = Exporter(settings)
    exporter.step(NOW)
    assert shown(exporter)["churn_live_store_errors_total"][()] == 1


def test_runs_come_from_dagsters_api() -> None:
    runs = [{"jobName": "training", "status": "SUCCESS", "endTime": 5.0}]

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert "runsOrError" in asked["query"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"runsOrError": {"results": runs}}}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.handle_request, daemon=True).start()
    assert dagster_runs(f"http://127.0.0.1:{server.server_port}/graphql") == runs
    server.server_close()
    assert dagster_runs("http://127.0.0.1:1/graphql") is None
