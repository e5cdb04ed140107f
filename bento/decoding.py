"""From JSON to customers: fast when they are right, and every fault named when they are not."""

import difflib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from bento.customer import CORE_FIELDS, Customer

MAX_CUSTOMERS = 1_000
"""Most customers that one JSON array may hold."""


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
