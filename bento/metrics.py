"""The service's metrics, in Prometheus' conventions, right with one worker process or many.

Counters and histograms live in files that the workers share
(`PROMETHEUS_MULTIPROC_DIR`, which `bentoml serve` sets before a worker starts); what is
a state and not a sum (live model, outbox) is read when Prometheus asks, from the worker
that answers. Every label has few values, all known here.
"""

import os
from collections.abc import Iterator
from functools import cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from bento.customer import Tier
from bento.outbox import OutboxStatus
from bento.runner import ChampionFollower

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()

REQUESTS = Counter("churn_http_requests", "Requests, by our path and status.", ["path", "status"])
ERRORS = Counter("churn_http_errors", "Requests refused or failed, by kind.", ["kind"])
DURATION = Histogram(
    "churn_http_request_duration_seconds",
    "Time from a request's headers to the end of its answer, by our path.",
    ["path"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SCORE = Histogram(
    "churn_prediction_score",
    "Predicted probability that the customer leaves.",
    ["tier"],
    buckets=tuple(step / 10 for step in range(1, 10)),
)
UNLOGGED = Counter(
    "churn_predictions_unlogged", "Predictions answered that the outbox could not keep."
)

# Looking a label up costs more than counting: keep each labelled metric.
_requests = cache(lambda path, status: REQUESTS.labels(path, str(status)))
_duration = cache(DURATION.labels)
_score = cache(SCORE.labels)


def answered(path: str, status: int, seconds: float) -> None:
    """Count an answer; `path` is one of ours or `other`."""
    _requests(path, status).inc()
    _duration(path).observe(seconds)


def failed(kind: str) -> None:
    """Count a refusal; `kind` is a word of `bento.errors`."""
    ERRORS.labels(kind).inc()


def predicted(tier: Tier, score: float) -> None:
    """Count a prediction."""
    _score(tier).observe(score)


class _StateCollector:
    """Gauges of this process, made when asked for, so that an old model's series disappears."""

    def __init__(self, follower: ChampionFollower, outbox: OutboxStatus) -> None:
        self._follower = follower
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        model = GaugeMetricFamily(
            "churn_model_info",
            "1, labelled with the live model.",
            labels=["model_name", "model_version", "model_run_id"],
        )
        if runner := self._follower.runner:
            champion = runner.champion
            model.add_metric(
                [champion.model_name, champion.model_version, champion.model_run_id], 1
            )
        yield model
        yield CounterMetricFamily(
            "churn_model_swaps", "Times another champion went live.", value=self._follower.swaps
        )
        yield CounterMetricFamily(
            "churn_model_failures",
            "Times a champion could not be loaded.",
            value=self._follower.failures,
        )
        for name, value, text in (
            ("rows", self._outbox.depth, "Predictions not yet in the store."),
            ("bytes", self._outbox.bytes, "Size of those predictions in the outbox."),
            ("age_seconds", self._outbox.oldest_s, "Age of the oldest of them."),
            ("full", self._outbox.full, "1 while predictions cannot be kept."),
            ("store_down", self._outbox.store_error is not None, "1 while the store refuses."),
        ):
            yield GaugeMetricFamily(f"churn_outbox_{name}", text, value=float(value))


def exposition(follower: ChampionFollower, outbox: OutboxStatus) -> bytes:
    """All metrics in Prometheus' text format."""
    state = CollectorRegistry()
    state.register(_StateCollector(follower, outbox))
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(state)
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared) + generate_latest(state)
