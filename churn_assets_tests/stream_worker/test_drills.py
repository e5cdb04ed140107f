"""The drills of `benchmarks.stream_drills`, smaller: kills, a reshard, an outage."""

from pathlib import Path

import pytest

from benchmarks.stream_drills import kills, outage, scene
from churn_assets_tests.streaming import kinesalite_missing

pytestmark = pytest.mark.skipif(
    bool(kinesalite_missing()), reason=kinesalite_missing() or "kinesalite is there"
)


def test_killed_workers_and_a_split_shard_lose_and_double_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        verdict, resharded = kills(place, records=1_200, kill_count=2)
    assert resharded > 100, "the split came too late to matter"
    assert (verdict.missing, verdict.duplicate, verdict.order_broken) == (0, 0, 0)


def test_an_outage_is_waited_for_and_said(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        verdict, red = outage(place, records=1_000, seconds=2)
    assert red
    assert (verdict.missing, verdict.duplicate, verdict.order_broken) == (0, 0, 0)
