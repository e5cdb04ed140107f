from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from bento.ids import stream_id
from bento.settings import Settings, get_settings
from churn_assets.defs.monitoring.windows import (
    cron,
    newest_complete,
    report_windows,
    window_at,
    window_of,
    window_of_key,
    windows_between,
)

NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_a_window_is_half_open_and_in_utc() -> None:
    first = window_at(NINE)
    assert (first.start, first.end) == (NINE, NINE + timedelta(hours=3))
    assert window_at(first.end - timedelta(microseconds=1)) == first
    assert window_at(first.end).start == first.end
    assert window_at(NINE.astimezone(timezone(timedelta(hours=5, minutes=30)))) == first


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        window_at(datetime(2026, 11, 21, 9))


def test_key_stem_and_ids_are_those_of_the_start() -> None:
    window = window_at(NINE)
    assert window.key == "2026-11-21-09:00"
    assert window.stem == "2026-11-21_09-00"
    assert window_of_key(window.key) == window
    first, last = window.ids
    ms = int(NINE.timestamp() * 1000)
    inside = stream_id("s", "0", "1", ms + 3 * 3_600_000 - 1)
    outside = stream_id("s", "0", "1", ms + 3 * 3_600_000)
    assert first <= stream_id("s", "0", "1", ms) < inside < last <= outside
    assert window_of(inside) == window
    assert window_of(outside) != window


def test_newest_complete_window_has_ended() -> None:
    assert newest_complete(NINE).end == NINE
    assert newest_complete(NINE - timedelta(seconds=1)).end == NINE - timedelta(hours=3)


def test_windows_between_end_before_the_moment() -> None:
    found = list(windows_between(window_at(NINE), NINE + timedelta(hours=8)))
    assert [window.start.hour for window in found] == [9, 12]


def test_dagster_cuts_time_where_windows_do() -> None:
    keys = report_windows.get_partition_keys(current_time=NINE + timedelta(hours=4))
    assert keys[-2:] == ["2026-11-21-09:00", "2026-11-21-12:00"]  # the open window is there too
    dagster_window = report_windows.time_window_for_partition_key(keys[-2])
    ours = window_of_key(keys[-2])
    assert (dagster_window.start, dagster_window.end) == (ours.start, ours.end)


@pytest.mark.parametrize(
    ("minutes", "expected"), [(5, "*/5 * * * *"), (60, "0 */1 * * *"), (1440, "0 0 * * *")]
)
def test_cron_fires_at_the_end_of_windows(
    monkeypatch: pytest.MonkeyPatch, minutes: int, expected: str
) -> None:
    monkeypatch.setenv("REPORT_TIME_WINDOW_MINUTES", str(minutes))
    get_settings.cache_clear()
    assert cron() == expected


@pytest.mark.parametrize("minutes", [0, 7, 90, 300, 1500])
def test_windows_that_do_not_tile_the_day_are_refused(
    monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    monkeypatch.setenv("REPORT_TIME_WINDOW_MINUTES", str(minutes))
    with pytest.raises(ValidationError, match="report_time_window_minutes"):
        Settings()
