"""One running service for the tests that leave it as it was."""

from collections.abc import Iterator

import httpx
import pytest

from churn_assets_tests.serving import Server, churn_service, live_champion


@pytest.fixture(scope="session")
def service(
    shield: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The service with a small champion, as `bentoml serve` runs it."""
    home = tmp_path_factory.mktemp("service")
    live_champion(home)
    with churn_service(home) as server:
        yield server


@pytest.fixture
def client(service: Server) -> Iterator[httpx.Client]:
    """A client of that service."""
    with httpx.Client(base_url=service.url, timeout=30) as found:
        yield found
