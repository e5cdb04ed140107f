"""What becomes of simulated customers: label files that arrive some time after the question."""

import csv
import io
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import boto3
import msgspec
import pandas as pd

from bento.customer import Customer
from bento.settings import get_settings
from churn_assets.defs.features.cleaning import TARGET, clean, to_customers
from churn_assets.defs.ingest.reading import read_customers
from churn_assets.simulator.source import BATCH
from churn_assets.synthetic.generator import FIRST_ID, Drift
from churn_assets.synthetic.generator import customers as draw

LABELS = "labels/"
FILE_ROWS = 500
FILE_EVERY_S = 60.0
"""A file is written when so many outcomes are due, or the first has been for so long."""

Fate = tuple[Customer, bool]
"""A customer, and whether the customer leaves."""


class Asked(NamedTuple):
    """A customer that somebody has asked about."""

    at: float
    customer_id: str
    left: bool


def synthetic(drift: Drift, seed: int) -> Iterator[Fate]:
    """Made-up customers with what becomes of them."""
    first = FIRST_ID
    while True:
        yield from _fates(draw(BATCH, seed, drift, first))
        seed += 1
        first += BATCH


def recorded(path: Path) -> Iterator[Fate]:
    """The customers of a file with what became of them, again and again."""
    found = list(_fates(read_customers(path)))
    while True:
        yield from found


def _fates(frame: pd.DataFrame) -> Iterator[Fate]:
    customers = clean(frame).customers
    yield from zip(to_customers(customers), customers[TARGET].astype(bool).tolist(), strict=True)


class Truth:
    """Hands customers out and tells, `delay_s` seconds later, who of them has left.

    Each gets a `customer_id` of its own, so that no outcome is mistaken for that of
    another simulation.
    """

    def __init__(self, delay_s: float) -> None:
        self.told = 0
        self._delay_s = delay_s
        self._run = uuid4().hex[:8]
        self._files = 0
        self._asked: deque[Asked] = deque()

    def customers(self, fates: Iterator[Fate]) -> Iterator[Customer]:
        """The customers without their fate; label files are written in passing."""
        for number, (customer, left) in enumerate(fates):
            name = f"simulated-{self._run}-{number}"
            self._asked.append(Asked(time.monotonic(), name, left))
            yield msgspec.structs.replace(customer, customer_id=name)
            self._tell_when_due()

    def _tell_when_due(self) -> None:
        due = time.monotonic() - self._delay_s
        if self._asked and self._asked[0].at <= due:
            count = sum(asked.at <= due for asked in self._asked)
            if count >= FILE_ROWS or self._asked[0].at <= due - FILE_EVERY_S:
                self._write([self._asked.popleft() for _ in range(count)])

    def tell_the_rest(self) -> None:
        """Wait until the last outcome is due and write what is left."""
        if self._asked:
            time.sleep(max(0.0, self._asked[-1].at + self._delay_s - time.monotonic()))
            self._write(list(self._asked))
            self._asked.clear()

    def _write(self, outcomes: list[Asked]) -> None:
        observed = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        body = io.StringIO()
        writer = csv.writer(body)
        writer.writerow(["customer_id", "churned", "observed_at"])
        writer.writerows([asked.customer_id, int(asked.left), observed] for asked in outcomes)
        key = f"{LABELS}simulated-{self._run}-{self._files:05d}.csv"
        boto3.client("s3").put_object(
            Bucket=get_settings().churn_bucket, Key=key, Body=body.getvalue().encode()
        )
        self._files += 1
        self.told += len(outcomes)
