"""Waiting for what is away: every step that leaves the process is retried here and nowhere else."""

import math
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from bento.outbox import OutboxFullError
from bento.store import StoreError
from stream_worker.health import Health

T = TypeVar("T")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class TransientError(Exception):
    """Something of ours that may succeed when it is tried again."""


class GaveUpError(Exception):
    """The step has not succeeded: the worker stops, or the time to try is over."""


AWAY = (TransientError, BotoCoreError, ClientError, OutboxFullError, StoreError, OSError)
"""What an outside system raises while it is away, refuses for now or is misconfigured."""


class Patience:
    """Tries steps until they succeed, with growing random pauses; health knows meanwhile.

    It gives up when `stop` is set or `seconds` have passed since it was made. Refusals
    that no waiting cures (a missing stream, missing rights) are waited for as well:
    somebody has to mend them, and then the worker goes on by itself.
    """

    def __init__(
        self, health: Health, who: str, stop: threading.Event, seconds: float = math.inf
    ) -> None:
        self._health = health
        self._who = who
        self._stop = stop
        self._until = time.monotonic() + seconds

    def insist(self, what: str, step: Callable[[], T]) -> T:
        """What `step` returns once it succeeds; raises `GaveUpError` and what is not in `AWAY`."""
        pause = FIRST_PAUSE_S
        step_name = f"{self._who}: {what}"
        while True:
            try:
                result = step()
            except AWAY as error:
                self._health.trouble(step_name, error)
                jittered = pause * random.uniform(0.5, 1)  # noqa: S311 (no secret is drawn)
                late = time.monotonic() + jittered > self._until
                if late or self._stop.wait(jittered):
                    raise GaveUpError(f"{step_name}: {error}") from error
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._health.well(step_name)
                return result

    def pause(self) -> None:
        """Wait a little after a step that got somewhere; a stop lets it go on to its end."""
        time.sleep(FIRST_PAUSE_S)
