"""Listing dead letters, and scoring them again after a fix."""

import threading
from collections.abc import Callable

from bento.decoding import CustomerError
from bento.outbox import Outbox
from bento.runner import ChampionFollower, ChurnRunner
from bento.settings import Settings
from stream_worker.aws import Clients
from stream_worker.dead_letters import DeadLetters
from stream_worker.health import Health
from stream_worker.patience import Patience
from stream_worker.processing import Processor
from stream_worker.scoring import DeadLetter, read_customer
from stream_worker.shards import Record

PATIENCE_S = 30.0


def dead_letters(settings: Settings, clients: Clients) -> DeadLetters:
    """Where the settings keep the dead letters."""
    return DeadLetters(clients.s3, settings.churn_bucket, settings.dead_letter_prefix)


def replay(settings: Settings, clients: Clients, tell: Callable[[DeadLetter, bool], None]) -> None:
    """Score every dead letter that is a customer by now, at its original position.

    Its prediction id is the one it would have had, so a replay that is broken off and
    started again has the effect of one. `tell` hears of each letter whether it went
    through. Raises RuntimeError without a live champion, `GaveUpError` when AWS is away.
    """
    follower = ChampionFollower(settings)
    follower.refresh()
    if follower.runner is None:
        raise RuntimeError(f"cannot replay without a model: {follower.error or 'none is live'}")
    outbox = Outbox(settings.churn_home / "outbox" / "stream", settings)
    try:
        _replay(settings, clients, outbox, follower.runner, tell)
    finally:
        outbox.close()


def _replay(
    settings: Settings,
    clients: Clients,
    outbox: Outbox,
    runner: ChurnRunner,
    tell: Callable[[DeadLetter, bool], None],
) -> None:
    letters = dead_letters(settings, clients)
    patience = Patience(Health(), "replay", threading.Event(), PATIENCE_S)
    for letter in list(letters.read()):
        good = _is_customer(letter.data)
        if good:
            processor = Processor(
                letter.stream, clients, settings.stream_out, outbox.append, letters
            )
            record = Record(letter.sequence, letter.key, letter.data, letter.arrival_ms)
            processor.process(letter.shard, [record], runner, patience)
            letters.remove(letter)
        tell(letter, good)


def _is_customer(data: bytes) -> bool:
    try:
        read_customer(data)
    except CustomerError:
        return False
    return True
