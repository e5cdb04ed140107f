"""Windows of time: what the prediction log and its reports are cut into.

A window is half open, [start, end), in UTC; windows tile the day, so its length
divides the day. Partition keys are the start as `%Y-%m-%d-%H:%M`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from bento.ids import bounds, milliseconds
from bento.settings import get_settings

KEY_FORMAT = "%Y-%m-%d-%H:%M"
STEM_FORMAT = "%Y-%m-%d_%H-%M"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""No prediction is older than the platform; Dagster lists partitions from here."""


@dataclass(frozen=True)
class Window:
    """One span of time, `start` and `end` in UTC."""

    start: datetime
    end: datetime

    @property
    def key(self) -> str:
        """Dagster's partition key."""
        return f"{self.start:{KEY_FORMAT}}"

    @property
    def stem(self) -> str:
        """Name for files: `2026-11-21_09-00`."""
        return f"{self.start:{STEM_FORMAT}}"

    @property
    def ids(self) -> tuple[str, str]:
        """The range `first <= prediction_id < last` of its predictions."""
        return bounds(self.start, self.end)

    @property
    def isoformat(self) -> list[str]:
        """`[start, end]` as ISO-8601 texts."""
        return [self.start.isoformat(), self.end.isoformat()]


def length() -> timedelta:
    """How long a window is: `REPORT_TIME_WINDOW_MINUTES`."""
    return timedelta(minutes=get_settings().report_time_window_minutes)


def window_at(moment: datetime) -> Window:
    """The window that holds a moment; raises `TypeError` for one without a time zone."""
    start = moment.astimezone(UTC) - (moment - EPOCH) % length()
    return Window(start, start + length())


def window_of(prediction_id: str) -> Window:
    """The window of a prediction."""
    return window_at(EPOCH + timedelta(milliseconds=milliseconds(prediction_id)))


def window_of_key(key: str) -> Window:
    """The window of a partition key."""
    return window_at(datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC))


def newest_complete(now: datetime) -> Window:
    """The last window that has ended."""
    return window_at(now - length())


def windows_between(first: Window, end: datetime) -> Iterator[Window]:
    """`first` and those after it that have ended at `end`."""
    while first.end <= end:
        yield first
        first = window_at(first.end)


def cron() -> str:
    """Fires when a window ends."""
    minutes = get_settings().report_time_window_minutes
    if minutes < 60:
        return f"*/{minutes} * * * *"
    return f"0 */{minutes // 60} * * *" if minutes < 24 * 60 else "0 0 * * *"


report_windows = dg.TimeWindowPartitionsDefinition(
    start=FIRST_DAY,
    fmt=KEY_FORMAT,
    cron_schedule=cron(),
    timezone="UTC",
    # The window that is still open can be looked at too: its log says that it is not complete.
    end_offset=1,
)
