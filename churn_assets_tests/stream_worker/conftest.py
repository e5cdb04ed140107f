"""A small champion, clients of the emulator, and records made from customers."""

from pathlib import Path

import msgspec
import pytest

from bento.runner import ChurnRunner
from churn_assets_tests.champions import make_champion, random_customers
from stream_worker.aws import Clients
from stream_worker.shards import Record

ARRIVAL_MS = 1_795_247_000_123


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion folder."""
    folder = tmp_path_factory.mktemp("champions") / "one"
    make_champion(folder)
    return folder


@pytest.fixture(scope="session")
def runner(champion: Path) -> ChurnRunner:
    """That champion, loaded."""
    return ChurnRunner(champion)


@pytest.fixture
def clients(emulator: str) -> Clients:
    """Clients of the emulator."""
    return Clients()


def record(data: bytes, number: int = 1, key: str = "1") -> Record:
    """A record at position `number` of a shard."""
    return Record(f"{number:056d}", key, data, ARRIVAL_MS)


def customer_records(count: int) -> list[Record]:
    """Records of random customers of both tiers."""
    return [
        record(msgspec.json.encode(customer), number)
        for number, customer in enumerate(random_customers(count), 1)
    ]
