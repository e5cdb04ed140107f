"""What the worker says about itself: alive, ready, and if not, why."""

import logging
import threading
import time

from stream_worker import metrics

log = logging.getLogger(__name__)


class Health:
    """Current troubles by name, and when the main loop last turned; safe between threads."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}
        self._lock = threading.Lock()
        self._beat = time.monotonic()

    def trouble(self, name: str, error: object) -> None:
        """Something does not work; logged when it starts, not at every try."""
        with self._lock:
            new = name not in self._troubles
            self._troubles[name] = f"{type(error).__name__}: {error}"
            metrics.TROUBLES.set(len(self._troubles))
        if new:
            log.warning("waiting", extra={"fields": {"step": name, "reason": str(error)}})

    def well(self, name: str) -> None:
        """It works (again)."""
        if name not in self._troubles:
            return
        with self._lock:
            self._troubles.pop(name, None)
            metrics.TROUBLES.set(len(self._troubles))
        log.info("recovered", extra={"fields": {"step": name}})

    def forget(self, who: str) -> None:
        """Drop the troubles of a reader that is no more."""
        with self._lock:
            self._troubles = {
                name: why for name, why in self._troubles.items() if not name.startswith(f"{who}: ")
            }
            metrics.TROUBLES.set(len(self._troubles))

    def troubles(self) -> dict[str, str]:
        """A copy of the current troubles: step -> reason."""
        with self._lock:
            return dict(self._troubles)

    def beat(self) -> None:
        """The main loop turns."""
        self._beat = time.monotonic()

    def seconds_since_beat(self) -> float:
        """How long the main loop has not turned."""
        return time.monotonic() - self._beat
