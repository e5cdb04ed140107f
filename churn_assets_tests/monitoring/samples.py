"""Prediction rows of made-up customers, for the tests of the drift report and the exporter."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pandas as pd

from bento.customer import Customer
from bento.ids import created_at, stream_id
from bento.runner import ChurnRunner
from bento.store import PredictionRow, prediction_row
from churn_assets.defs.features.cleaning import DTYPES

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def answered(
    customers: Sequence[Customer], runner: ChurnRunner, start: datetime = NOON, seconds: float = 60
) -> list[PredictionRow]:
    """What is logged when the customers are scored one after the other from `start`."""
    first = int(start.timestamp() * 1000)
    step = seconds * 1000 / len(customers)
    return [
        prediction_row(
            customer,
            stream_id("tests", "0", str(number), first + int(number * step)),
            float(score),
            runner.champion,
            "stream",
        )
        for number, (customer, score) in enumerate(
            zip(customers, runner.score(customers), strict=True)
        )
    ]


def aged(rows: Sequence[PredictionRow], by: timedelta) -> list[PredictionRow]:
    """The same rows, asked for earlier."""
    shift = int(by.total_seconds() * 1000)
    moved = []
    for row in rows:
        ms = int(row.prediction_id[:8] + row.prediction_id[9:13], 16) - shift
        new = f"{ms:012x}"
        identifier = f"{new[:8]}-{new[8:]}{row.prediction_id[13:]}"
        moved.append(
            msgspec.structs.replace(
                row, prediction_id=identifier, created_at=created_at(identifier)
            )
        )
    return moved


def poorer(customers: Sequence[Customer]) -> list[Customer]:
    """The same customers with two fifths less credit and fewer transactions."""
    return [
        msgspec.structs.replace(
            c,
            credit_limit=c.credit_limit * 0.6,
            total_trans_ct=None if c.total_trans_ct is None else c.total_trans_ct // 2,
        )
        for c in customers
    ]


def cleaned(customers: Sequence[Customer], seed: int = 0) -> pd.DataFrame:
    """The customers as `cleaned_features` would hold them, with made-up outcomes."""
    frame = pd.DataFrame([msgspec.structs.asdict(c) for c in customers])
    frame["churned"] = np.random.default_rng(seed).integers(0, 2, len(frame))
    return frame.astype(DTYPES)
