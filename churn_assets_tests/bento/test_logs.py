"""What the HTTP service logs: JSON lines, BentoML's own too."""

from pathlib import Path

import httpx
import msgspec

from churn_assets_tests.champions import random_customers
from churn_assets_tests.serving import churn_service, live_champion


def test_every_line_is_json_and_a_prediction_is_found_by_its_id(tmp_path: Path) -> None:
    live_champion(tmp_path)
    customers = msgspec.to_builtins(random_customers(3, seed=6))
    with churn_service(tmp_path, LOG_PREDICTIONS="true", HTTP_WORKERS="2") as server:
        one = httpx.post(f"{server.url}/predict", json=customers[0]).json()
        two = httpx.post(f"{server.url}/predict", json=customers[1:]).json()
    lines = [msgspec.json.decode(line) for line in server.log.read_bytes().splitlines()]
    assert {"bentoml.serve", "bento.runner", "bento.logs"} <= {line["logger"] for line in lines}
    logged = [line for line in lines if line["event"] == "prediction"]
    assert [line["prediction_id"] for line in logged] == [
        answer["prediction_id"] for answer in (one, *two)
    ]
    fields = {"prediction_id", "tier", "model_run_id", "source"}
    assert set(logged[0]) == {"time", "level", "logger", "event"} | fields
    assert logged[0]["source"] == "http"
    assert logged[0]["model_run_id"] == one["model_run_id"]


def test_predictions_are_not_logged_unless_asked_for(tmp_path: Path) -> None:
    live_champion(tmp_path)
    with churn_service(tmp_path) as server:
        customer = msgspec.to_builtins(random_customers(1, seed=6)[0])
        answer = httpx.post(f"{server.url}/predict", json=customer).json()
    assert answer["prediction_id"] not in server.log.read_text()
