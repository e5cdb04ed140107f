"""Every refusal, by its status, and what the log says of it: nothing."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from bento.openapi import EXAMPLE
from churn_assets_tests.bento.test_http_contract import metric
from churn_assets_tests.serving import Server, churn_service, live_champion


def refused(client: httpx.Client, content: bytes | str, **headers: str) -> tuple[int, Any]:
    answer = client.post(
        "/predict", content=content, headers={"content-type": "application/json"} | headers
    )
    assert set(answer.json()) == {"error", "detail"}
    return answer.status_code, answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "field", "problem", "allowed"),
    [
        ({"customer_age": "45"}, "customer_age", '"45" is not', "whole number 18 to 120"),
        ({"customer_age": 17}, "customer_age", "17 is not", "whole number 18 to 120"),
        ({"gender": "X"}, "gender", '"X" is not', "one of F, M"),
        ({"card_category": None}, "card_category", "null is not", "one of blue, gold"),
        ({"custmer_id": 1}, "custmer_id", "unknown field", "did you mean customer_id?"),
        ({"credit_limit": float("nan")}, "credit_limit", "nan is not a finite", "finite number"),
        ({"credit_limit": float("inf")}, "credit_limit", "inf is not a finite", "finite number"),
        ({"credit_limit": -0.01}, "credit_limit", "-0.01 is not", "finite number 0 to"),
    ],
)
def test_400_names_field_problem_and_allowed(
    client: httpx.Client, change: dict[str, Any], field: str, problem: str, allowed: str
) -> None:
    status, detail = refused(client, json.dumps(EXAMPLE | change))
    assert status == 400
    assert [fault["field"] for fault in detail] == [field]
    assert detail[0]["problem"].startswith(problem)
    assert detail[0]["allowed"].startswith(allowed)


def test_400_for_missing_field_and_bad_shapes(client: httpx.Client) -> None:
    short = {name: value for name, value in EXAMPLE.items() if name != "gender"}
    assert refused(client, json.dumps(short))[1][0]["field"] == "gender"
    many = [EXAMPLE, EXAMPLE | {"gender": "?"}]
    assert refused(client, json.dumps(many))[1][0]["field"] == "[1].gender"
    for body in ("", "{", "[]", "7", "null", b"\xff\xfe", "[" * 90_000, '{"gender": "M"} x'):
        status, detail = refused(client, body)
        assert (status, detail[0]["field"]) == (400, "body")
    assert refused(client, json.dumps([EXAMPLE] * 1_001))[1][0]["problem"].startswith(
        "array of 1001"
    )


def test_400_for_queries(client: httpx.Client) -> None:
    for query in ("explain=yes", "explain=true&explain=true", "explian=true", "explain", "&"):
        answer = client.post(f"/predict?{query}", json=EXAMPLE)
        assert answer.status_code == 400, query
        assert answer.json()["detail"]


def test_404_405_415(client: httpx.Client) -> None:
    assert client.get("/no-such-path").status_code == 404
    assert client.get("/static_content/../../etc/passwd").status_code == 404
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"):
        answer = client.request(method, "/predict")
        assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert client.options("/predict").status_code == 204
    assert client.head("/readyz").status_code == 200
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": content_type}
        answer = client.post("/predict", content=json.dumps(EXAMPLE), headers=headers)
        assert answer.status_code == 415
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    answer = client.post("/predict", content=json.dumps(EXAMPLE), headers=headers)
    assert answer.status_code == 200


def test_413_by_length_without_reading(service: Server) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        raw.sendall(b"Content-Length: 9999999999\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 413"


def test_413_by_counting_chunks(service: Server, client: httpx.Client) -> None:
    client.post("/predict?explain=true", json=EXAMPLE)  # what loads late is loaded now
    before = service.memory()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        raw.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        answer = b""
        sent = 0
        raw.settimeout(0.05)
        while not answer and sent < 200 * 2**20:
            try:
                raw.sendall(chunk)
                sent += len(chunk)
                answer = raw.recv(12)
            except TimeoutError:
                continue
            except OSError:
                break
    assert sent < 10 * 2**20
    assert service.memory() - before < 20 * 2**20


def test_client_that_leaves_harms_nobody(service: Server, client: httpx.Client) -> None:
    for part in (
        b"POST /predict HTTP/1.1\r\nHo",
        b"POST /predict HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
    ):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", service.port)) as raw:
                raw.sendall(part)
    assert client.post("/predict", json=EXAMPLE).status_code == 200


@pytest.fixture(scope="module")
def small(
    shield: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of a service with small limits, and of an outbox that is always full."""
    home = tmp_path_factory.mktemp("small")
    live_champion(home)
    limits = {"HTTP_MAX_REQUESTS": "2", "HTTP_BODY_TIMEOUT": "1.5", "OUTBOX_MAX_BYTES": "1"}
    with churn_service(home, **limits) as server, httpx.Client(base_url=server.url) as client:
        yield client


def test_429_beyond_the_limit_and_408_for_slow_bodies(small: httpx.Client) -> None:
    address = ("127.0.0.1", small.base_url.port)
    slow = [socket.create_connection(address, timeout=10) for _ in range(2)]
    for raw in slow:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
        raw.sendall(b"Content-Type: application/json\r\n\r\n{")
    time.sleep(0.3)
    answer = small.post("/predict", json=EXAMPLE)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert small.get("/livez").status_code == 200
    for raw in slow:
        assert raw.recv(12) == b"HTTP/1.1 408"
        raw.close()
    assert small.post("/predict", json=EXAMPLE).status_code == 200


def test_full_outbox_answers_and_says_so(small: httpx.Client) -> None:
    unlogged = "churn_predictions_unlogged_total "
    before = metric(small.get("/metrics").text, unlogged)
    assert small.post("/predict", json=EXAMPLE).status_code == 200
    assert small.post("/predict", json=[EXAMPLE] * 3).status_code == 200
    ready = small.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["outbox"]["full"]
    assert "of 1 bytes" in ready.json()["outbox"]["error"]
    text = small.get("/metrics").text
    assert metric(text, unlogged) - before == 4
    assert metric(text, "churn_outbox_full ") == 1


def test_503_without_a_model_until_there_is_one(tmp_path: Path) -> None:
    with churn_service(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "no model")
        assert "live.json is missing" in ready.json()["champion_error"]
        answer = client.post("/predict", json=EXAMPLE)
        assert (answer.status_code, answer.json()["error"]) == (503, "no model is live yet")
        live_champion(tmp_path)
        deadline = time.monotonic() + 20
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.post("/predict", json=EXAMPLE).status_code == 200


def test_api_keys_and_several_workers(tmp_path: Path) -> None:
    live_champion(tmp_path)
    keys = {"CHURN_API_KEYS": "old-key, new-key"}  # pragma: allowlist secret
    with (
        churn_service(tmp_path, HTTP_WORKERS="2", **keys) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        for path in ("/livez", "/readyz"):
            assert client.get(path).status_code == 200
        for path in ("/metrics", "/docs", "/docs.json", "/schema.json", "/nope"):
            assert client.get(path).status_code == 401
        for key, status in (("old-key", 200), ("new-key", 200), ("old", 401), ("no", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            answer = client.post("/predict", json=EXAMPLE, headers=headers)
            assert answer.status_code == status
        assert answer.headers["www-authenticate"] == "Bearer"

        client.headers["Authorization"] = "Bearer new-key"

        def ask(_: int) -> int:
            return client.post("/predict", json=EXAMPLE).status_code

        with ThreadPoolExecutor(8) as pool:  # as many connections, over both workers
            assert set(pool.map(ask, range(80))) == {200}
        text = client.get("/metrics").text
        assert 'churn_http_requests_total{path="/predict",status="200"} 82.0' in text
        assert "key" not in server.log.read_text()


def test_log_holds_no_values_and_no_trace(service: Server, client: httpx.Client) -> None:
    secret = "ZX-981-unlikely"  # pragma: allowlist secret
    for body in (
        EXAMPLE | {"gender": secret},
        EXAMPLE | {secret: 1},
        EXAMPLE | {"customer_id": secret},
    ):
        client.post("/predict", json=body)
    client.post("/predict?explain=" + secret, json=EXAMPLE)
    client.post("/predict", content='{"' + secret)
    log = service.log.read_text()
    assert secret not in log
    assert "Traceback" not in log
