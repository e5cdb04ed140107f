"""The lease protocol on the emulator's DynamoDB."""

import uuid
from collections.abc import Callable

import pytest

from stream_worker.aws import Clients
from stream_worker.leases import LeaseLostError, Leases

Join = Callable[..., Leases]


@pytest.fixture
def join(clients: Clients) -> Join:
    """Makes workers on one empty lease table."""
    table = f"leases-{uuid.uuid4().hex[:8]}"

    def worker(name: str, stream: str = "predictions:1") -> Leases:
        leases = Leases(clients.dynamodb, table, stream, name)
        leases.create_table()
        return leases

    return worker


def test_a_shard_is_entered_once_and_taken_by_one(join: Join) -> None:
    ann, bob = join("ann"), join("bob")
    ann.add("shard-0")
    [seen] = bob.read()
    assert (seen.owner, seen.checkpoint) == (None, None)
    assert ann.take(seen)
    assert not bob.take(seen), "bob saw it free, but ann was faster"
    bob.add("shard-0")
    assert [row.owner for row in bob.read()] == ["ann"]


def test_a_renewal_saves_a_lease_from_being_taken(join: Join) -> None:
    ann, bob = join("ann"), join("bob")
    ann.add("shard-0")
    ann.take(ann.read()[0])
    [seen] = bob.read()
    ann.renew("shard-0")
    assert not bob.take(seen)
    assert bob.take(bob.read()[0]), "nobody renewed between this read and the take"


def test_the_checkpoint_outlives_the_owner_who_cannot_move_it_any_more(join: Join) -> None:
    ann, bob = join("ann"), join("bob")
    ann.add("shard-0")
    ann.take(ann.read()[0])
    ann.checkpoint("shard-0", "41")
    bob.take(bob.read()[0])
    bob.checkpoint("shard-0", "42")
    changes: list[Callable[[], None]] = [
        lambda: ann.checkpoint("shard-0", "41"),
        lambda: ann.renew("shard-0"),
        lambda: ann.release("shard-0"),
    ]
    for change in changes:
        with pytest.raises(LeaseLostError):
            change()
    [row] = ann.read()
    assert (row.owner, row.checkpoint) == ("bob", "42")


def test_a_released_lease_keeps_its_place(join: Join) -> None:
    ann = join("ann")
    ann.add("shard-0")
    ann.take(ann.read()[0])
    ann.checkpoint("shard-0", "7")
    ann.release("shard-0")
    [row] = ann.read()
    assert (row.owner, row.checkpoint) == (None, "7")


def test_a_stream_made_anew_starts_without_leases(join: Join) -> None:
    ann = join("ann")
    ann.add("shard-0")
    assert join("ann", "predictions:2").read() == []
    ann.forget("shard-0")
    assert ann.read() == []
