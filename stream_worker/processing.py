"""One batch, all its effects: the reader's, the Lambda handler's and the replay's common road."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bento.logs import log_predictions
from bento.runner import ChurnRunner
from bento.store import PredictionRow
from stream_worker import metrics
from stream_worker.aws import Clients
from stream_worker.dead_letters import DeadLetters
from stream_worker.patience import Patience
from stream_worker.publisher import publish
from stream_worker.scoring import Scored, score
from stream_worker.shards import Record

log = logging.getLogger(__name__)


class Processor(NamedTuple):
    """Where the effects of a batch go."""

    stream: str
    """Name of the stream the records come from; part of the prediction ids."""
    clients: Clients
    results: str
    """Name of the stream that gets the answers."""
    remember: Callable[[Sequence[PredictionRow]], None]
    """Writes log rows; they are durable when it returns."""
    dead_letters: DeadLetters
    log_predictions: bool = False

    def process(
        self, shard: str, records: Sequence[Record], runner: ChurnRunner, patience: Patience
    ) -> Scored:
        """Score, remember, publish; all effects are durable when this returns.

        Raises `GaveUpError` when a step does not succeed in time: then the batch has to be
        processed again, which has the effect of once.
        """
        started = time.perf_counter()
        scored = score(self.stream, shard, records, runner)
        scoring_s = time.perf_counter() - started
        if scored.dead:
            patience.insist("dead letters", lambda: self.dead_letters.write(scored.dead))
        if scored.rows:
            patience.insist("prediction log", lambda: self.remember(scored.rows))
        publish(self.clients.kinesis, self.results, scored.messages, patience)
        if self.log_predictions:
            log_predictions(scored.rows)
        self._report(shard, records, scored, runner, scoring_s, time.perf_counter() - started)
        return scored

    def _report(
        self,
        shard: str,
        records: Sequence[Record],
        scored: Scored,
        runner: ChurnRunner,
        scoring_s: float,
        all_s: float,
    ) -> None:
        size = sum(len(record.data) for record in records)
        metrics.RECORDS.inc(len(records))
        metrics.BYTES.inc(size)
        metrics.DEAD_LETTERS.inc(len(scored.dead))
        metrics.BATCH.observe(len(records))
        metrics.SCORING.observe(scoring_s)
        metrics.LATENCY.observe(max(0.0, time.time() - records[0].arrival_ms / 1000))
        fields = {
            "shard": shard,
            "records": len(records),
            "bytes": size,
            "dead_letters": len(scored.dead),
            "first": records[0].sequence,
            "last": records[-1].sequence,
            "model_run_id": runner.champion.model_run_id,
            "score_ms": round(scoring_s * 1000, 2),
            "batch_ms": round(all_s * 1000, 2),
        }
        log.info("batch", extra={"fields": fields})
