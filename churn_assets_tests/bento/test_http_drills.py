"""The drills of `benchmarks.http_drills` at a size for every day, and an API tester."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from benchmarks import http_drills as drills
from churn_assets_tests.serving import Server


def test_swaps_lose_and_mix_nothing(tmp_path: Path) -> None:
    found = drills.swap(tmp_path, cycles=2)
    assert found["swap_requests"] > 300
    assert (found["swap_failed"], found["swap_torn"]) == (0, 0)


def test_kills_lose_no_answered_prediction(tmp_path: Path) -> None:
    found = drills.kill(tmp_path, kills=2)
    assert found["kill_requests"] > 500
    assert (found["kill_missing"], found["kill_duplicate"]) == (0, 0)


def test_store_away_fails_no_request(tmp_path: Path) -> None:
    found = drills.outage(tmp_path, seconds=2)
    assert found["outage_requests"] > 1_000
    assert found["outage_failed"] == 0
    assert (found["outage_missing"], found["outage_duplicate"]) == (0, 0)


def test_bad_bodies_never_blame_the_server(tmp_path: Path) -> None:
    found = drills.fuzz(tmp_path, count=2_000)
    assert found["fuzz_requests"] >= 2_000
    assert (found["fuzz_5xx"], found["fuzz_lost"]) == (0, 0)
    assert found["fuzz_ready_after"]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_service_keeps_its_openapi_document(service: Server, mode: GenerationMode) -> None:
    """Valid requests are answered as documented, invalid ones refused as documented."""
    schema = schemathesis.openapi.from_url(f"{service.url}/docs.json")
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert {operation.path for operation in operations} >= {"/predict", "/readyz", "/metrics"}

    @given(case=one_of(*(found.as_strategy(generation_mode=mode) for found in operations)))
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate()

    ask()
