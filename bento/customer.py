"""The customer contract: fields, category codes, feature order and the one `encode`.

Training, the HTTP service and the stream worker all import this module, so the
matrix a model was fitted on and the one it is asked about cannot differ.
"""

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, cast, get_args

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

MAX_CUSTOMERS = 1_000
"""Most customers that one JSON array may hold."""

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


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a customer: which field, what is wrong, what would be right."""

    field: str
    problem: str
    allowed: str


class CustomerError(ValueError):
    """The input is not a customer (or an array of them); `detail` names every fault found."""

    def __init__(self, detail: list[Problem]) -> None:
        self.detail = detail
        super().__init__(
            "; ".join(f"{p.field}: {p.problem} (allowed: {p.allowed})" for p in detail)
        )


_FIELD_TYPES: dict[str, msgspec.inspect.Type] = {
    field.name: field.type
    for field in cast(msgspec.inspect.StructType, msgspec.inspect.type_info(Customer)).fields
}
_HINTS: dict[str, Any] = Customer.__annotations__
_WHOLE_FIELDS = frozenset(
    name
    for name, kind in _FIELD_TYPES.items()
    if isinstance(kind, msgspec.inspect.IntType)
    or (
        isinstance(kind, msgspec.inspect.UnionType)
        and any(isinstance(k, msgspec.inspect.IntType) for k in kind.types)
    )
)

_customer_decoder = msgspec.json.Decoder(Customer)
_customers_decoder: msgspec.json.Decoder[list[Customer]] = msgspec.json.Decoder(
    Annotated[list[Customer], Meta(min_length=1, max_length=MAX_CUSTOMERS)]
)


def allowed(field: str) -> str:
    """What `field` accepts, in words: a range, a list of categories, null."""
    kind = _FIELD_TYPES[field]
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    return " or ".join(_words(k) for k in kinds)


def _words(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(map(str, values))
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"whole number {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"finite number {low:,.0f} to {high:,.0f}"
        case msgspec.inspect.StrType(min_length=low, max_length=high):
            return f"text of {low} to {high} characters"
        case _:
            return "null"


def decode(body: bytes | str) -> Customer | list[Customer]:
    """The customer in a JSON object, or the customers in a JSON array of 1 to 1,000.

    Raises `CustomerError`, which names every fault of every customer, also for
    malformed JSON, NaN and Infinity.
    """
    try:
        if body.lstrip()[:1] in (b"[", "["):
            return _customers_decoder.decode(body)
        return _customer_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _decode_leniently(body)


def convert(values: Mapping[str, Any]) -> Customer:
    """The customer in a mapping of fields to values; raises `CustomerError`."""
    whole = {
        name: int(value)
        if name in _WHOLE_FIELDS and isinstance(value, float) and value.is_integer()
        else value
        for name, value in values.items()
    }
    try:
        return msgspec.convert(whole, Customer)
    except msgspec.ValidationError:
        raise CustomerError(_customer_faults(whole)) from None


def _decode_leniently(body: bytes | str) -> Customer | list[Customer]:
    """The slow path, after the fast one has refused: whole numbers may be written as 46.0.

    JSON does not tell 46.0 from 46, and a table that has missing values writes all of
    a column's whole numbers so.
    """
    expected = f"a JSON object, or an array of 1 to {MAX_CUSTOMERS} of them"
    try:
        value = json.loads(body.decode() if isinstance(body, bytes) else body)
    except (ValueError, RecursionError) as error:
        position = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise CustomerError([Problem("body", "malformed JSON" + position, expected)]) from None
    match value:
        case dict():
            return convert(value)
        case list() if 0 < len(value) <= MAX_CUSTOMERS:
            return _convert_all(value)
        case list():
            problem = f"array of {len(value)} customers" if value else "empty array"
        case _:
            problem = "not an object or array"
    raise CustomerError([Problem("body", problem, expected)])


def _convert_all(items: list[Any]) -> list[Customer]:
    customers: list[Customer] = []
    detail: list[Problem] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            detail.append(Problem(f"[{index}]", "not a JSON object", "a customer"))
            continue
        try:
            customers.append(convert(item))
        except CustomerError as error:
            detail += [
                msgspec.structs.replace(p, field=f"[{index}].{p.field}") for p in error.detail
            ]
    if detail:
        raise CustomerError(detail)
    return customers


def _customer_faults(values: Mapping[str, Any]) -> list[Problem]:
    found = [
        Problem(field, "missing", allowed(field)) for field in CORE_FIELDS if field not in values
    ]
    for name, value in values.items():
        if name not in _HINTS:
            found.append(Problem(str(name)[:64], "unknown field", _nearest(str(name))))
        elif problem := _value_fault(name, value):
            found.append(Problem(name, problem, allowed(name)))
    return found


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name[:64].lower(), _HINTS, n=1)
    return f"did you mean {near[0]}?" if near else "one of " + ", ".join(_HINTS)


def _value_fault(field: str, value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    try:
        msgspec.convert(value, _HINTS[field])
    except msgspec.ValidationError:
        shown = json.dumps(value, ensure_ascii=False, default=str)
        return f"{shown[:64]} is not allowed"
    return None


def schema_hash() -> str:
    """SHA-256 (hex) of feature order and category codes: models and scorers must agree on it."""
    schema = {"features": FEATURES, "codes": CODES}
    return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()
