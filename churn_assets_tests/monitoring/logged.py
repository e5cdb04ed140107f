"""Predictions in a store, for the tests of this room."""

from datetime import datetime

from bento.champion import Champion
from bento.ids import stream_id
from bento.store import PredictionRow, PredictionStore, prediction_row
from churn_assets_tests.champions import random_customers

CHAMPION = Champion(
    model_name="best_model-churn",
    model_version="1",
    model_run_id="a" * 32,
    threshold=0.4,
    tiers={"full": {"roc_auc": 0.9}, "core": {"roc_auc": 0.7}},
    schema_hash="0" * 64,
    sha256="0" * 64,
    onnx_sha256="0" * 64,
    data_sha256="0" * 64,
    created_at="2026-11-21T00:00:00Z",
    synthetic=True,
)


def rows_at(moment: datetime, count: int, seed: int = 0, spread_ms: int = 1) -> list[PredictionRow]:
    """`count` predictions from `moment` on, one every `spread_ms`."""
    start = int(moment.timestamp() * 1000)
    return [
        prediction_row(
            customer,
            stream_id("test", str(seed), str(number), start + number * spread_ms),
            (number * 7919 % 1000) / 1000,
            CHAMPION,
            "stream" if number % 3 else "http",
        )
        for number, customer in enumerate(random_customers(count, seed))
    ]


def log_rows(store: PredictionStore, rows: list[PredictionRow]) -> None:
    """Write rows in another order than that of their ids."""
    store.write(rows[::-1])
