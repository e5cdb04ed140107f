"""Properties of the customer contract."""

import json
import math
import string
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bento.customer import BEHAVIOUR_FIELDS, CODES, CORE_FIELDS, FEATURES, Customer, encode, tier
from bento.decoding import MAX_CUSTOMERS, CustomerError, allowed, convert, decode

# A busy machine is no fault of the contract.
settings.register_profile(
    "patient", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

TEXT = st.text(string.printable + "é€😀", min_size=1, max_size=64)


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def number(high: float) -> st.SearchStrategy[float]:
    return st.floats(0, high, allow_nan=False)


CORE: dict[str, st.SearchStrategy[Any]] = {
    "customer_age": whole(18, 120),
    "gender": st.sampled_from(list(CODES["gender"])),
    "dependent_count": whole(0, 50),
    "education_level": st.none() | whole(0, 5),
    "marital_status": st.none() | st.sampled_from(list(CODES["marital_status"])),
    "income_category": st.none() | whole(0, 4),
    "card_category": st.sampled_from(list(CODES["card_category"])),
    "months_on_book": whole(0, 1_200),
    "total_relationship_count": whole(0, 100),
    "credit_limit": number(1e9),
    "total_revolving_bal": number(1e9),
}
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "months_inactive_12_mon": st.none() | whole(0, 12),
    "contacts_count_12_mon": st.none() | whole(0, 100_000),
    "avg_open_to_buy": st.none() | number(1e9),
    "total_amt_chng_q4_q1": st.none() | number(1e6),
    "total_trans_amt": st.none() | number(1e9),
    "total_trans_ct": st.none() | whole(0, 100_000),
    "total_ct_chng_q4_q1": st.none() | number(1e6),
    "avg_utilization_ratio": st.none() | number(10),
    "customer_id": st.none() | whole(-(2**63), 2**63 - 1) | TEXT,
}
CUSTOMERS = st.fixed_dictionaries(CORE, optional=OPTIONAL)
EXAMPLE: dict[str, Any] = {
    "customer_age": 50,
    "gender": "M",
    "dependent_count": 2,
    "education_level": 3,
    "marital_status": "married",
    "income_category": 2,
    "card_category": "blue",
    "months_on_book": 4,
    "total_relationship_count": 3,
    "credit_limit": 4000,
    "total_revolving_bal": 2511,
}


def test_the_strategies_know_every_field() -> None:
    assert tuple(CORE) == CORE_FIELDS
    assert (*CORE, *OPTIONAL) == (*FEATURES, "customer_id")


@given(CUSTOMERS)
def test_a_customer_survives_json_and_encodes_to_its_values(values: dict[str, Any]) -> None:
    customer = decode(msgspec.json.encode(values))
    assert isinstance(customer, Customer)
    assert customer == convert(values)
    for name, value in values.items():
        assert getattr(customer, name) == value
    row = encode([customer])
    assert row.shape == (1, 19)
    for name, found in zip(FEATURES, row[0], strict=True):
        value = values.get(name)
        if value is None:
            assert math.isnan(found)
        else:
            assert found == np.float32(CODES[name][value] if name in CODES else value)
    known = all(values.get(name) is not None for name in BEHAVIOUR_FIELDS)
    assert tier(customer) == ("full" if known else "core")


@settings(max_examples=25)
@given(st.lists(CUSTOMERS, min_size=1, max_size=20))
def test_a_batch_encodes_to_the_rows_of_its_customers(batch: list[dict[str, Any]]) -> None:
    customers = decode(msgspec.json.encode(batch))
    assert isinstance(customers, list)
    rows = np.concatenate([encode([customer]) for customer in customers])
    assert encode(customers).tobytes() == rows.tobytes()


@given(st.sampled_from(CORE_FIELDS))
def test_a_missing_field_is_named_with_what_it_allows(field: str) -> None:
    body = msgspec.json.encode({k: v for k, v in EXAMPLE.items() if k != field})
    with pytest.raises(CustomerError) as caught:
        decode(body)
    (fault,) = caught.value.detail
    assert (fault.field, fault.problem, fault.allowed) == (field, "missing", allowed(field))


WRONG = st.one_of(
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.just({"a": 1}),
    st.just(-1),
    st.just(10**10),
    st.just("Platinum "),
)


@given(st.sampled_from(FEATURES), WRONG)
def test_a_wrong_value_is_named_with_the_field(field: str, wrong: Any) -> None:
    with pytest.raises(CustomerError) as caught:
        decode(msgspec.json.encode(EXAMPLE | {field: wrong}))
    (fault,) = caught.value.detail
    assert fault.field == field
    assert fault.allowed == allowed(field)
    assert fault.problem == f"{json.dumps(wrong)} is not allowed"
    with pytest.raises(CustomerError):
        convert(EXAMPLE | {field: wrong})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_must_be_finite(text: str) -> None:
    body = msgspec.json.encode(EXAMPLE).replace(b"4000", text.encode())
    with pytest.raises(CustomerError) as caught:
        decode(body)
    assert [fault.field for fault in caught.value.detail] == ["credit_limit"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("custmer_age", "did you mean customer_age?"),
        ("Credit_Limit", "did you mean credit_limit?"),
        ("active_customer", "did you mean "),
        ("zzz", "one of customer_age, "),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(CustomerError) as caught:
        decode(msgspec.json.encode(EXAMPLE | {name: 1}))
    (fault,) = caught.value.detail
    assert (fault.field, fault.problem) == (name, "unknown field")
    assert fault.allowed.startswith(nearest)


def test_every_fault_of_every_customer_is_named_by_its_place() -> None:
    bad = {"gender": "x", "customer_age": 17}
    with pytest.raises(CustomerError) as caught:
        decode(msgspec.json.encode([EXAMPLE, EXAMPLE | bad, 3]))
    fields = [fault.field for fault in caught.value.detail]
    assert sorted(fields) == ["[1].customer_age", "[1].gender", "[2]"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b"null", b'{"a": }']
)
def test_what_is_no_customer_is_refused_as_body(body: bytes) -> None:
    with pytest.raises(CustomerError) as caught:
        decode(body)
    assert [fault.field for fault in caught.value.detail] == ["body"]


def test_an_array_holds_at_most_a_thousand() -> None:
    most = decode(msgspec.json.encode([EXAMPLE] * MAX_CUSTOMERS))
    assert isinstance(most, list)
    assert len(most) == MAX_CUSTOMERS
    with pytest.raises(CustomerError, match=f"array of {MAX_CUSTOMERS + 1} customers"):
        decode(msgspec.json.encode([EXAMPLE] * (MAX_CUSTOMERS + 1)))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_nothing_but_a_customer_error_comes_out(body: bytes | str) -> None:
    with pytest.raises(CustomerError) as caught:
        decode(body)
    assert caught.value.detail


@pytest.mark.parametrize("place", [lambda c: c, lambda c: [c, c]], ids=["object", "array"])
def test_whole_numbers_may_be_written_as_floats(place: Callable[[Any], Any]) -> None:
    """A table with missing values writes 46 as 46.0, and to JSON both are one number."""
    written = decode(json.dumps(place({**EXAMPLE, "customer_age": 46.0, "customer_id": 7.0})))
    meant = decode(json.dumps(place({**EXAMPLE, "customer_age": 46, "customer_id": 7})))
    assert written == meant
    with pytest.raises(CustomerError, match=r"customer_age: 46.5 is not allowed"):
        decode(json.dumps(place({**EXAMPLE, "customer_age": 46.5})))
