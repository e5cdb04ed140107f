"""From customers to answers and log rows, with the champion that is live at that moment."""

import asyncio
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Literal

import msgspec

from bento import errors, metrics
from bento.answer import Answer
from bento.customer import Customer
from bento.ids import uuid7
from bento.logs import log_predictions
from bento.outbox import Outbox
from bento.runner import ChampionFollower, ChurnRunner
from bento.settings import Settings
from bento.store import PredictionRow, prediction_row


class OutboxState(msgspec.Struct, frozen=True):
    """The prediction log as `/readyz` shows it, of the worker process that answers."""

    rows: int
    """Predictions not yet in the store."""
    oldest_seconds: float
    full: bool
    """The last predictions were answered but could not be kept."""
    error: str | None
    store_error: str | None


class State(msgspec.Struct, frozen=True):
    """What `/readyz` says."""

    status: Literal["ready", "degraded", "no model"]
    """`degraded`: answers, but a newer champion does not load or the log is not kept."""
    model_name: str | None
    model_version: str | None
    model_run_id: str | None
    champion_error: str | None
    outbox: OutboxState


class Predictor:
    """The live champion and the outbox of this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.follower = ChampionFollower(settings)
        self.outbox: Outbox
        self._waiting: list[tuple[Customer, asyncio.Future[Answer]]] = []
        self._committing = False

    def start(self) -> None:
        """Open the outbox, load the champion if there is one, and follow it."""
        self.outbox = Outbox(self._settings.churn_home / "outbox" / "http", self._settings)
        self.follower.start()
        # Seconds that the first request for reasons would wait otherwise.
        threading.Thread(target=import_module, args=["xgboost"], daemon=True).start()

    def stop(self) -> None:
        """Stop following; write and ship what is still under way."""
        self.follower.stop()
        self.outbox.close()

    async def answer(self, customers: Sequence[Customer], explain: bool) -> list[Answer]:
        """Score the customers and log them; raises `RefusedError` without a model.

        All of one request are scored by one model. Single customers that come while a
        commit is under way share the next one: one call of the model, one commit and one
        wake-up for all, and no wait when there is no load. What takes longer leaves the
        event loop.
        """
        if len(customers) == 1 and not explain:
            return [await self._join(customers[0])]
        answers, rows = await asyncio.to_thread(score, self._runner(), customers, explain)
        self._logged(rows, await self.outbox.submit(rows))
        return answers

    def _join(self, customer: Customer) -> "asyncio.Future[Answer]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((customer, future))
        if not self._committing:
            self._committing = True
            loop.call_soon(self._commit)
        return future

    def _commit(self) -> None:
        """Score and log all who wait; when that is done, those who came meanwhile."""
        self._committing = bool(self._waiting)
        if not self._waiting:
            return
        customers, futures = zip(*self._waiting, strict=True)
        self._waiting = []
        try:
            answers, rows = score(self._runner(), customers, explain=False)
            kept = self.outbox.submit(rows)
        except Exception as error:
            self._committing = False
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return

        def release(kept: "asyncio.Future[bool]") -> None:
            for future, answer in zip(futures, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
            self._logged(rows, kept.result())
            kept.get_loop().call_soon(self._commit)

        kept.add_done_callback(release)

    def _runner(self) -> ChurnRunner:
        if self.follower.runner is None:
            raise errors.no_model()
        return self.follower.runner

    def _logged(self, rows: Sequence[PredictionRow], kept: bool) -> None:
        if not kept:
            metrics.UNLOGGED.inc(len(rows))
        for row in rows:
            metrics.predicted(row.tier, row.prediction)
        if self._settings.log_predictions:
            log_predictions(rows)

    def state(self) -> State:
        """The state of this process, read from memory."""
        runner, box = self.follower.runner, self.outbox.status()
        champion = runner.champion if runner else None
        healthy = not (box.full or self.follower.error)
        return State(
            status="no model" if champion is None else "ready" if healthy else "degraded",
            model_name=champion.model_name if champion else None,
            model_version=champion.model_version if champion else None,
            model_run_id=champion.model_run_id if champion else None,
            champion_error=self.follower.error,
            outbox=OutboxState(box.depth, box.oldest_s, box.full, box.error, box.store_error),
        )


def score(
    runner: ChurnRunner, customers: Sequence[Customer], explain: bool
) -> tuple[list[Answer], list[PredictionRow]]:
    """One answer and one log row for each customer."""
    answers, rows = [], []
    for customer, chance in zip(customers, runner.score(customers).tolist(), strict=True):
        row = prediction_row(customer, uuid7(), chance, runner.champion, "http")
        answer = Answer(
            churn_chance=chance,
            model_run_id=row.model_run_id,
            model_version=row.model_version,
            prediction_id=row.prediction_id,
            tier=row.tier,
            churn=row.churn,
        )
        if customer.customer_id is not None:
            answer.customer_id = customer.customer_id
        if explain:
            explanation = runner.explain(customer)
            answer.reasons = explanation.reasons
            answer.other = explanation.other
            answer.bias = explanation.bias
        answers.append(answer)
        rows.append(row)
    return answers, rows
