"""SIGTERM, as a container is stopped: what was answered is in the store when the process ends."""

from pathlib import Path

import httpx
import msgspec

from bento.settings import Settings
from bento.store import open_store
from churn_assets_tests.champions import random_customers
from churn_assets_tests.serving import churn_service, live_champion


def test_a_stopped_service_leaves_no_prediction_behind(tmp_path: Path) -> None:
    live_champion(tmp_path)
    customers = msgspec.to_builtins(random_customers(1_000, seed=7))
    with churn_service(tmp_path, OUTBOX_SHIP_SECONDS="3600", HTTP_WORKERS="2") as server:
        answered = [
            answer["prediction_id"]
            for _ in range(5)
            for answer in httpx.post(f"{server.url}/predict", json=customers, timeout=30).json()
        ]
    store = open_store(Settings(churn_home=tmp_path))
    stored = store.count()
    store.close()
    assert stored == len(set(answered)) == 5_000
