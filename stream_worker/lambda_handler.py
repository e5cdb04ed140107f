"""The worker's work as an AWS Lambda function behind a Kinesis event source.

Enable `ReportBatchItemFailures` on the event source mapping. Log rows go straight to the
prediction store, because a function's disk does not outlive it. With `TEST_RUN` set
nothing is written anywhere and the answers are returned instead.
"""

import base64
import threading
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from bento.logs import log_json
from bento.runner import ChampionFollower, ChurnRunner
from bento.settings import get_settings
from bento.store import open_store
from stream_worker.aws import Clients
from stream_worker.health import Health
from stream_worker.patience import GaveUpError, Patience
from stream_worker.processing import Processor
from stream_worker.replay import dead_letters
from stream_worker.scoring import score
from stream_worker.shards import Record

PATIENCE_S = 10.0
"""How long a step is retried inside one call; then Lambda calls again with the same records."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Answer the records of one event.

    Returns `{"batchItemFailures": [{"itemIdentifier": sequence number}]}`: from the
    first record of a shard that could not be dealt with Lambda tries again, which has
    the effect of once. A record that is no customer is a dead letter, not a failure.
    """
    shards: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for item in event["Records"]:
        stream = item["eventSourceARN"].split("/")[1]
        shards[stream, item["eventID"].partition(":")[0]].append(_record(item["kinesis"]))
    if get_settings().test_run:
        return _dry_run(shards)
    failures = []
    for (stream, shard), records in shards.items():
        patience = Patience(Health(), shard, threading.Event(), PATIENCE_S)
        try:
            _processor(stream).process(shard, records, _runner(), patience)
        except GaveUpError:
            failures.append({"itemIdentifier": records[0].sequence})
    return {"batchItemFailures": failures}


def _dry_run(shards: Mapping[tuple[str, str], list[Record]]) -> dict[str, Any]:
    messages = [
        message
        for (stream, shard), records in shards.items()
        for message in score(stream, shard, records, _runner()).messages
    ]
    answers = [msgspec.json.decode(message.data) for message in messages]
    return {"predictions": answers, "batchItemFailures": []}


def _record(kinesis: Mapping[str, Any]) -> Record:
    return Record(
        kinesis["sequenceNumber"],
        kinesis["partitionKey"],
        base64.b64decode(kinesis["data"]),
        round(float(kinesis["approximateArrivalTimestamp"]) * 1000),
    )


def _runner() -> ChurnRunner:
    """The live champion, or that of the run `RUN_ID` when it is set."""
    follower = _follower()
    follower.refresh()
    if follower.runner is None:
        raise RuntimeError(f"no model to serve: {follower.error or 'none is live'}")
    return follower.runner


@lru_cache(maxsize=1)
def _follower() -> ChampionFollower:
    log_json()  # at the cold start: Lambda's own logging leaves out what is no warning
    return ChampionFollower(get_settings())


@lru_cache(maxsize=1)
def _processor(stream: str) -> Processor:
    settings, clients = get_settings(), Clients()
    return Processor(
        stream,
        clients,
        settings.stream_out,
        open_store(settings).write,
        dead_letters(settings, clients),
        settings.log_predictions,
    )
