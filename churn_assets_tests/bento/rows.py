"""Log rows of made-up customers."""

from collections.abc import Sequence

from bento.champion import Champion
from bento.ids import uuid7
from bento.store import PredictionRow, prediction_row
from churn_assets_tests.customers import random_customers

CHAMPION = Champion(
    model_name="best_model-churn",
    model_version="7",
    model_run_id="a" * 32,
    threshold=0.4,
    tiers={},
    schema_hash="",
    sha256="",
    onnx_sha256="",
    data_sha256="",
    created_at="",
    synthetic=True,
)


def make_rows(count: int, ids: Sequence[str] | None = None) -> list[PredictionRow]:
    """Rows in order of their ids."""
    ids = ids or sorted(uuid7() for _ in range(count))
    customers = random_customers(count)
    return [
        prediction_row(customer, row_id, (number + 0.1) / count, CHAMPION, "http")
        for number, (customer, row_id) in enumerate(zip(customers, ids, strict=True))
    ]
