"""The customer contract: fields, category codes, feature order and the one `encode`.

Training, the HTTP service and the stream worker all import this module, so the
matrix a model was fitted on and the one it is asked about cannot differ.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

Gender = Literal["M", "F"]
MaritalStatus = Literal["single", "married", "divorced"]
CardCategory = Literal["blue", "silver", "gold", "platinum"]

EDUCATION_LEVELS = (
    "uneducated",
    "high school",
    "graduate",
    "college",
    "post-graduate",
    "doctorate",
)
"""Education by its integer code; the order is the predecessor's (graduate 2 before college 3)."""

INCOME_CATEGORIES = (
    "less than $40k",
    "$40k - $60k",
    "$60k - $80k",
    "$80k - $120k",
    "$120k +",
)
"""Yearly income in US dollars by its integer code."""

Count = Annotated[int, Meta(ge=0, le=100_000)]
Money = Annotated[float, Meta(ge=0, le=1e9)]
Ratio = Annotated[float, Meta(ge=0, le=1e6)]


class Customer(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One customer as every door accepts it; money is in US dollars, durations in months.

    The first eleven fields are required (three of them may be null), the eight
    behavioural fields and `customer_id` may be left out.
    """

    customer_age: Annotated[int, Meta(ge=18, le=120)]
    gender: Gender
    dependent_count: Annotated[int, Meta(ge=0, le=50)]
    education_level: Annotated[int, Meta(ge=0, le=5)] | None
    marital_status: MaritalStatus | None
    income_category: Annotated[int, Meta(ge=0, le=4)] | None
    card_category: CardCategory
    months_on_book: Annotated[int, Meta(ge=0, le=1_200)]
    total_relationship_count: Annotated[int, Meta(ge=0, le=100)]
    credit_limit: Money
    total_revolving_bal: Money
    months_inactive_12_mon: Annotated[int, Meta(ge=0, le=12)] | None = None
    contacts_count_12_mon: Count | None = None
    avg_open_to_buy: Money | None = None
    total_amt_chng_q4_q1: Ratio | None = None
    total_trans_amt: Money | None = None
    total_trans_ct: Count | None = None
    total_ct_chng_q4_q1: Ratio | None = None
    avg_utilization_ratio: Annotated[float, Meta(ge=0, le=10)] | None = None
    customer_id: (
        Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
        | Annotated[str, Meta(min_length=1, max_length=64)]
        | None
    ) = None


FEATURES: tuple[str, ...] = tuple(f for f in Customer.__struct_fields__ if f != "customer_id")
"""The model's input columns, in order: eleven core fields, then eight behavioural ones."""

CORE_FIELDS = FEATURES[:11]
BEHAVIOUR_FIELDS = FEATURES[11:]

CODES: dict[str, dict[str, int]] = {
    "gender": {value: code for code, value in enumerate(get_args(Gender))},
    "marital_status": {value: code for code, value in enumerate(get_args(MaritalStatus))},
    "card_category": {value: code for code, value in enumerate(get_args(CardCategory))},
}
"""Integer code of each category that travels as text."""

Tier = Literal["full", "core"]

_GENDER: dict[str, float] = {k: float(v) for k, v in CODES["gender"].items()}
_MARITAL: dict[str | None, float] = {
    None: math.nan,
    **{k: float(v) for k, v in CODES["marital_status"].items()},
}
_CARD: dict[str, float] = {k: float(v) for k, v in CODES["card_category"].items()}


def tier(customer: Customer) -> Tier:
    """`full` when all eight behavioural fields are known, else `core`.

    A partly known customer is still scored on what is known, but claims only the
    core tier's measured quality.
    """
    return (
        "core"
        if customer.months_inactive_12_mon is None
        or customer.contacts_count_12_mon is None
        or customer.avg_open_to_buy is None
        or customer.total_amt_chng_q4_q1 is None
        or customer.total_trans_amt is None
        or customer.total_trans_ct is None
        or customer.total_ct_chng_q4_q1 is None
        or customer.avg_utilization_ratio is None
        else "full"
    )


def encode(customers: Iterable[Customer]) -> NDArray[np.float32]:
    """Feature matrix of shape (customers, 19), columns in `FEATURES` order, unknown values NaN."""
    rows = [
        (
            c.customer_age,
            _GENDER[c.gender],
            c.dependent_count,
            c.education_level,
            _MARITAL[c.marital_status],
            c.income_category,
            _CARD[c.card_category],
            c.months_on_book,
            c.total_relationship_count,
            c.credit_limit,
            c.total_revolving_bal,
            c.months_inactive_12_mon,
            c.contacts_count_12_mon,
            c.avg_open_to_buy,
            c.total_amt_chng_q4_q1,
            c.total_trans_amt,
            c.total_trans_ct,
            c.total_ct_chng_q4_q1,
            c.avg_utilization_ratio,
        )
        for c in customers
    ]
    return np.array(rows, dtype=np.float32).reshape(len(rows), len(FEATURES))


def schema_hash() -> str:
    """SHA-256 (hex) of feature order and category codes: models and scorers must agree on it."""
    schema = {"features": FEATURES, "codes": CODES}
    return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()
