"""Live drift, scores and the pipeline's state for Prometheus: `python -m churn_assets.exporter`.

Reads the prediction store beside the servers, never in a request's way, and serves
/metrics on EXPORTER_PORT.
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bento.depot import open_depot
from bento.logs import log_json
from bento.settings import Settings, get_settings
from bento.store import PredictionStore, StoreError, open_store
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.drift import Columns, Limits
from churn_assets.defs.monitoring.live import LiveWindow
from churn_assets.defs.monitoring.pipeline_state import PipelineState, look

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

POLL_S = 5.0
PIPELINE_EVERY_S = 30.0
ASK_AGAIN_S = 60.0
"""Between two looks for the reference of a model that has none yet."""

log = logging.getLogger(__name__)


class ReferenceCache:
    """The reference of the newest model, loaded once; the one before is let go."""

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._model_run_id = ""
        self._table: pa.Table | None = None
        self._asked = 0.0

    def __call__(self, model_run_id: str, tier: str) -> Columns | None:
        """The reference of a model and tier, None while there is none to be had."""
        stale = self._table is None and time.monotonic() - self._asked > ASK_AGAIN_S
        if model_run_id != self._model_run_id or stale:
            self._model_run_id, self._asked = model_run_id, time.monotonic()
            self._table = self._load(model_run_id)
        return None if self._table is None else reference.columns(self._table, tier)

    def _load(self, model_run_id: str) -> pa.Table | None:
        try:
            found = reference.load(self._s3, self._bucket, model_run_id)
        except (BotoCoreError, ClientError) as error:
            log.warning("reference of %s not read: %s", model_run_id, error)
            return None
        if found is None:
            log.warning("model %s has no reference: materialize drift_reference", model_run_id)
        return found


class Exporter(Collector):
    """Keeps the sliding window and the pipeline's state, and shows them to Prometheus."""

    def __init__(self, settings: Settings) -> None:
        span = timedelta(minutes=settings.live_window_minutes)
        self.window = LiveWindow(settings.live_window_rows, span)
        self.pipeline = PipelineState()
        self.errors = 0
        self.last_read = 0.0
        self._settings = settings
        self._limits = Limits.from_settings()
        self._s3 = boto3.client("s3")
        self._depot = open_depot(settings)
        self._references = ReferenceCache(self._s3, settings.churn_bucket)
        self._store: PredictionStore | None = None
        self._looked = -PIPELINE_EVERY_S

    def step(self, now: datetime) -> None:
        """Read what is new; an outage of the store is counted, and the next step tries again."""
        try:
            self._store = self._store or open_store(self._settings)
            self.window.read(self._store, now)
            self.last_read = now.timestamp()
        except StoreError as error:
            self.errors += 1
            log.warning("prediction store not read: %s", error)
        self.window.evaluate(self._references, self._limits)
        if time.monotonic() - self._looked >= PIPELINE_EVERY_S:
            self.pipeline = look(self._settings, self._s3, self._depot)
            self._looked = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """The window and the pipeline as metrics; a model's series vanish with it."""
        yield from self._window_metrics()
        yield from self._drift_metrics()
        yield from self.pipeline.collect()

    def _window_metrics(self) -> Iterator[Metric]:
        seen = CounterMetricFamily(
            "churn_live_predictions", "Predictions read from the store.", labels=["tier", "source"]
        )
        for labels, count in self.window.seen.copy().items():
            seen.add_metric(labels, count)
        yield seen
        yield CounterMetricFamily(
            "churn_live_store_errors", "Reads that the store refused.", value=self.errors
        )
        yield GaugeMetricFamily(
            "churn_live_last_read_timestamp_seconds",
            "When the store last answered.",
            value=self.last_read,
        )
        model = GaugeMetricFamily(
            "churn_live_model_info",
            "1, labelled with the model that answered last.",
            labels=["model_version", "model_run_id"],
        )
        rows = GaugeMetricFamily(
            "churn_live_rows", "Predictions of that model in the window.", labels=["tier"]
        )
        score = GaugeMetricFamily(
            "churn_live_score", "Quantiles of P(leave).", labels=["tier", "quantile"]
        )
        state = self.window.state
        if state.model_run_id:
            model.add_metric([state.model_version, state.model_run_id], 1)
        for tier, found in state.tiers.items():
            rows.add_metric([tier], found.rows)
            for quantile, value in found.quantiles.items():
                score.add_metric([tier, str(quantile)], value)
        yield from (model, rows, score)

    def _drift_metrics(self) -> Iterator[Metric]:
        labels = ["tier", "column"]
        psi = GaugeMetricFamily("churn_drift_psi", "Population stability index.", labels=labels)
        p_value = GaugeMetricFamily(
            "churn_drift_p_value", "Chi-square test, not corrected.", labels=labels
        )
        detected = GaugeMetricFamily(
            "churn_drift_detected", "1 when large and not chance.", labels=labels
        )
        share = GaugeMetricFamily(
            "churn_drift_share", "Share of columns that have drifted.", labels=["tier"]
        )
        for tier, found in self.window.state.tiers.items():
            for column in found.columns:
                psi.add_metric([tier, column.column], column.psi)
                p_value.add_metric([tier, column.column], column.p_value)
                detected.add_metric([tier, column.column], column.drifted)
            if found.columns:
                drifted = sum(column.drifted for column in found.columns)
                share.add_metric([tier], drifted / len(found.columns))
        yield from (psi, p_value, detected, share)


def main() -> None:
    """Serve until told to stop."""
    log_json()
    settings = get_settings()
    exporter = Exporter(settings)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    REGISTRY.register(exporter)
    start_http_server(settings.exporter_port, addr=settings.host)
    log.info("serving /metrics on %s:%s", settings.host, settings.exporter_port)
    while not stopped.is_set():
        exporter.step(datetime.now(UTC))
        stopped.wait(POLL_S)


if __name__ == "__main__":
    main()
