"""Who takes which shard, decided on made-up lease tables."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stream_worker.balance import Watch, readable, wanted
from stream_worker.leases import SHARD_END, Lease


def lease(shard: str, owner: str | None = None, checkpoint: str | None = None) -> Lease:
    return Lease(shard, owner, 1, checkpoint)


def test_a_lone_worker_takes_every_free_shard() -> None:
    leases = [lease("a"), lease("b"), lease("c")]
    assert {row.shard for row in wanted(leases, set(), "me")} == {"a", "b", "c"}


def test_a_second_worker_leaves_the_first_its_share() -> None:
    leases = [lease("a", "you"), lease("b"), lease("c"), lease("d")]
    assert len(wanted(leases, set(), "me")) == 2


def test_a_dead_workers_shards_are_taken_and_a_living_ones_not() -> None:
    leases = [lease("a", "dead"), lease("b", "you"), lease("c", "me")]
    assert [row.shard for row in wanted(leases, {"a"}, "me")] == ["a"]
    assert wanted(leases, set(), "me") == []


def test_a_late_worker_steals_from_the_busiest_one_at_a_time() -> None:
    leases = [lease("a", "x"), lease("b", "y"), lease("c", "y"), lease("d", "y")]
    [stolen] = wanted(leases, set(), "me")
    assert stolen.owner == "y"


def test_nobody_steals_to_swap_an_imbalance_of_one() -> None:
    leases = [lease("a", "you"), lease("b", "you"), lease("c", "me")]
    assert wanted(leases, set(), "me") == []


@given(shards=st.integers(0, 20), workers=st.integers(1, 8), held=st.data())
def test_taking_in_turns_ends_fair_and_complete(
    shards: int, workers: int, held: st.DataObject
) -> None:
    names = [f"w{n}" for n in range(workers)]
    table = {
        f"s{n}": lease(f"s{n}", held.draw(st.sampled_from([None, "dead", *names])))
        for n in range(shards)
    }
    for _ in range(shards * workers + 1):
        for me in names:
            leases = list(table.values())
            dead = {row.shard for row in leases if row.owner == "dead"}
            for row in wanted(leases, dead, me):
                table[row.shard] = lease(row.shard, me)
    shares = Counter(row.owner for row in table.values())
    counts = [shares[name] for name in names]
    assert sum(counts) == shards
    assert max(counts) - min(counts) <= 1


def test_children_wait_for_all_parents() -> None:
    family = {"left": [], "right": [], "child": ["left", "right"], "orphan": ["long-gone"]}
    leases = [lease("left", None, SHARD_END), lease("right"), lease("child"), lease("orphan")]
    assert {row.shard for row in readable(leases, family)} == {"right", "orphan"}
    leases[1] = lease("right", None, SHARD_END)
    assert {row.shard for row in readable(leases, family)} == {"child", "orphan"}


def test_a_lease_of_a_shard_that_is_gone_is_not_read() -> None:
    assert readable([lease("gone")], {}) == []


def test_a_standing_counter_expires_by_this_watch_alone() -> None:
    now = 100.0
    watch = Watch(10, lambda: now)
    first = Lease("a", "you", 7, None)
    assert watch.expired([first]) == set()
    now = 109.9
    assert watch.expired([first]) == set()
    now = 110.0
    assert watch.expired([first]) == {"a"}
    assert watch.expired([Lease("a", "you", 8, None)]) == set()
    now = 125.0
    assert watch.expired([Lease("a", None, 8, None)]) == set(), "free is not expired"
