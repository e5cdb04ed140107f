"""Log lines as JSON objects, one a line; what is logged holds no customer's values."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from bento.store import PredictionRow

log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "event", ...}` with what `extra={"fields": ...}` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_json(*libraries: str) -> None:
    """Send everything from INFO up to standard error as JSON lines.

    `libraries` are loggers that have handlers of their own, which they lose.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    for name in libraries:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def log_predictions(rows: Iterable[PredictionRow]) -> None:
    """One line a prediction, to find an answer by its id; nothing of the customer."""
    for row in rows:
        fields = {
            "prediction_id": row.prediction_id,
            "tier": row.tier,
            "model_run_id": row.model_run_id,
            "source": row.source,
        }
        log.info("prediction", extra={"fields": fields})
