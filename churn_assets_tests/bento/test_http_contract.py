"""What a client of the running service gets: answers, reasons, pages, metrics."""

import json
import math
import os
import subprocess
from typing import Any

import httpx
import pytest

from bento.customer import Customer
from bento.decoding import convert
from bento.openapi import EXAMPLE, FULL_EXAMPLE
from bento.runner import ChurnRunner
from churn_assets_tests.champions import random_customers
from churn_assets_tests.serving import Server

CURL = [
    *("curl", "-s", "-X", "POST", "-H", "Content-Type: application/json", "-d"),
    '{"customer_age": 50, "gender": "M", "dependent_count": 2, "education_level": 3, '
    '"marital_status": "married", "income_category": 2, "card_category": "blue", '
    '"months_on_book": 3, "total_relationship_count": 3, "credit_limit": 4000.0, '
    '"total_revolving_bal": 2500}',
]


def test_predecessors_curl(service: Server) -> None:
    output = subprocess.run([*CURL, f"{service.url}/predict"], check=True, capture_output=True)
    answer = json.loads(output.stdout)
    assert list(answer)[:2] == ["churn chance", "model_run_id"]
    assert list(answer)[2:] == ["model_version", "prediction_id", "tier", "churn"]
    assert 0 < answer["churn chance"] < 1
    assert answer["model_run_id"] == "0" * 32
    assert answer["tier"] == "core"


def runner(service: Server) -> ChurnRunner:
    return ChurnRunner(service.log.parent / "champion" / "seed-0")


def test_score_has_the_bits_of_the_runner(service: Server, client: httpx.Client) -> None:
    customers = random_customers(40, seed=5)
    expected = runner(service).score(customers).tolist()
    bodies = [fields(customer) for customer in customers]
    single = [client.post("/predict", json=body).json() for body in bodies]
    batch = client.post("/predict", json=bodies).json()
    assert [answer["churn chance"] for answer in single] == expected
    assert [answer["churn chance"] for answer in batch] == expected
    assert [answer["churn"] for answer in batch] == [chance >= 0.5 for chance in expected]
    assert [answer["customer_id"] for answer in batch] == [c.customer_id for c in customers]
    assert {answer["tier"] for answer in batch} == {"full", "core"}


def fields(customer: Customer) -> dict[str, Any]:
    return {name: getattr(customer, name) for name in customer.__struct_fields__}


def test_prediction_ids_are_ordered_and_unique(client: httpx.Client) -> None:
    first = client.post("/predict", json=[EXAMPLE] * 1_000).json()
    second = client.post("/predict", json=EXAMPLE).json()
    ids = [answer["prediction_id"] for answer in first]
    assert len(set(ids)) == 1_000
    assert max(ids)[:13] <= second["prediction_id"][:13]


def test_reasons_add_up_to_the_score(client: httpx.Client) -> None:
    answer = client.post("/predict?explain=true", json=FULL_EXAMPLE).json()
    sizes = [abs(reason["contribution"]) for reason in answer["reasons"]]
    assert len(sizes) == 5
    assert sizes == sorted(sizes, reverse=True)
    assert all(r["value"] == FULL_EXAMPLE[r["feature"]] for r in answer["reasons"])
    total = sum(r["contribution"] for r in answer["reasons"]) + answer["other"] + answer["bias"]
    chance = answer["churn chance"]
    assert math.log(chance / (1 - chance)) == pytest.approx(total, abs=1e-5)
    assert "reasons" not in client.post("/predict?explain=false", json=FULL_EXAMPLE).json()


def test_probes_name_the_model(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert ready.json()["model_version"] == "1"
    assert ready.json()["model_run_id"] == "0" * 32
    assert ready.json()["outbox"]["full"] is False


def test_examples_of_the_document_work(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        assert client.post("/predict", json=example["value"]).status_code == 200


def test_documentation_page_calls_nobody(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in page.text.replace("<!DOCTYPE", "")
    for part in ("docs.js", "static_content/swagger-ui.css", "static_content/swagger-ui-bundle.js"):
        assert part in page.text
        assert client.get(f"/{part}").status_code == 200
    assert client.get("/").headers["location"] == "/docs"


def metric(text: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_metrics_count_and_stay_bounded(client: httpx.Client) -> None:
    before = client.get("/metrics").text
    client.post("/predict", json=[EXAMPLE] * 3)
    client.post("/predict", json={})
    scan(client, "first")
    after = client.get("/metrics").text
    answered = 'churn_http_requests_total{path="/predict",status="200"}'
    assert metric(after, answered) - metric(before, answered) == 1
    scored = "churn_prediction_score_count"
    assert metric(after, scored) - metric(before, scored) == 3
    invalid = 'churn_http_errors_total{kind="invalid"}'
    assert metric(after, invalid) - metric(before, invalid) == 1
    run = "0" * 32
    assert f'model_run_id="{run}",model_version="1"' in after
    assert "first" not in after.lower()
    scan(client, "second")
    assert len(client.get("/metrics").text.splitlines()) == len(after.splitlines())


def scan(client: httpx.Client, name: str) -> None:
    for number in range(50):
        assert client.get(f"/{name}/{number}").status_code == 404
        assert client.request(f"{name}{number}".upper(), "/predict").status_code in (400, 405)


def test_web_server_is_the_fast_one(service: Server) -> None:
    """Without uvloop and httptools, half of the throughput is gone and nothing says so."""
    files = {file.path for file in service.workers()[-1].memory_maps()}
    assert any("uvloop" in path for path in files)
    assert any("httptools" in path for path in files)


def test_in_process_api_answers_alike(monkeypatch: pytest.MonkeyPatch, service: Server) -> None:
    """BentoML's own method, which the schema comes from, is no stub."""
    monkeypatch.setenv("CHURN_HOME", str(service.log.parent))
    import asyncio

    from bento import service as module

    async def ask() -> dict[str, Any]:
        predictor = module.get_predictor()
        predictor.start()
        try:
            answer: dict[str, Any] = await module.ChurnService().predict(EXAMPLE)
        finally:
            await asyncio.to_thread(predictor.stop)
            module.get_predictor.cache_clear()
        return answer

    expected = runner(service).score([convert(EXAMPLE)]).tolist()[0]
    assert asyncio.run(ask())["churn chance"] == expected


def test_bentoml_still_has_what_we_override() -> None:
    """`service_class`, `inject_config` and `to_asgi` are undocumented; this pins them."""
    import bentoml

    from bento.service import ChurnService, FastService

    assert bentoml.__version__ == "1.4.39"
    assert type(ChurnService) is FastService
    assert {"to_asgi", "inject_config"} <= set(vars(bentoml.Service))
    assert "predict" in ChurnService.apis
    assert os.environ["OMP_NUM_THREADS"] == "1"
