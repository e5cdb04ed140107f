"""A feature store of its own for each test."""

from collections.abc import Iterator

import pytest

from churn_assets_tests.stores import own_bucket


@pytest.fixture
def bucket(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with own_bucket(monkeypatch) as name:
        yield name
