"""Cleaning: the predecessor's rules value for value, and no row without a fate."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from bento.customer import CODES, FEATURES, encode
from churn_assets.defs.features.cleaning import clean, to_customers
from churn_assets.defs.features.rows import ColumnError
from churn_assets.synthetic import customers

EDUCATION = ["uneducated", "high school", "graduate", "college", "post-graduate", "doctorate"]
INCOME = ["less than $40k", "$40k - $60k", "$60k - $80k", "$80k - $120k", "$120k +"]


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return customers(300, seed=1)


def predecessor(raw: pd.DataFrame) -> pd.DataFrame:
    """The predecessor's notebook, in its own words: an oracle that shares no code with ours."""
    kept = raw[~(raw == "Unknown").any(axis=1)]
    kept = kept.rename(columns=str.lower).sort_values("clientnum", ignore_index=True)
    lower = {str(name): kept[name].str.lower() for name in kept.select_dtypes("object")}
    kept = kept.assign(**lower)
    kept["gender"] = kept["gender"].str.upper()
    kept["education_level"] = kept["education_level"].map(EDUCATION.index)
    kept["income_category"] = kept["income_category"].map(INCOME.index)
    kept["churned"] = (kept["attrition_flag"] == "attrited customer").astype(int)
    return kept.rename(columns={"clientnum": "customer_id"})[["customer_id", *FEATURES, "churned"]]


def test_unknown_drop_gives_the_predecessors_7081_customers_value_for_value(
    customers_source: Path | None,
) -> None:
    if customers_source is None:
        pytest.skip("CHURN_RAW_DATA is not set: no real customers")
    raw = pd.read_csv(customers_source)
    ours = clean(raw, unknown="drop")
    assert len(ours.customers) == 7081
    assert ours.ledger["dropped_unknown"] == 3046
    assert_frame_equal(ours.customers, predecessor(raw), check_dtype=False)
    assert len(clean(raw).customers) == 10127


def test_unknown_drop_is_the_predecessors_rule_on_synthetic_customers(raw: pd.DataFrame) -> None:
    expected = predecessor(raw)
    assert 0 < len(expected) < len(raw)
    assert_frame_equal(clean(raw, "drop").customers, expected, check_dtype=False)


def test_unknown_is_missing_by_default_and_nowhere_else(raw: pd.DataFrame) -> None:
    found = clean(raw)
    indexed = raw.sort_values("CLIENTNUM", ignore_index=True)
    for name, column in (
        ("education_level", "Education_Level"),
        ("marital_status", "Marital_Status"),
        ("income_category", "Income_Category"),
    ):
        unknown = indexed[column] == "Unknown"
        assert unknown.any()
        assert (found.customers[name].isna() == unknown).all()
    assert (
        found.customers.drop(columns=["education_level", "marital_status", "income_category"])
        .notna()
        .all(axis=None)
    )
    assert found.notes["customers_with_unknown"] == (raw == "Unknown").any(axis=1).sum()


def test_leaking_and_irrelevant_columns_are_dropped(raw: pd.DataFrame) -> None:
    found = clean(raw.assign(Branch="north"))
    assert list(found.customers) == ["customer_id", *FEATURES, "churned"]
    assert found.notes["leaking_columns_dropped"] == 2
    assert found.ignored_columns == ("Branch",)


def test_what_is_cleaned_is_what_the_service_accepts(raw: pd.DataFrame) -> None:
    found = clean(raw).customers
    matrix = encode(to_customers(found))
    assert matrix.shape == (300, 19)
    expected = found[list(FEATURES)].assign(
        **{name: found[name].map(codes) for name, codes in CODES.items()}
    )
    np.testing.assert_array_equal(matrix, expected.astype("float64").to_numpy().astype(np.float32))


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        (
            "Customer_Age",
            200,
            "'200' is not allowed (allowed: whole number 18 to 120)",
        ),
        ("Customer_Age", 45.5, "customer_age: '45.5' is not allowed"),
        ("Customer_Age", "", "customer_age: missing (allowed: whole number 18 to 120)"),
        ("Credit_Limit", -1, "credit_limit: '-1' is not allowed"),
        ("Credit_Limit", "inf", "credit_limit: 'inf' is not allowed"),
        ("Credit_Limit", "NaN", "credit_limit: 'NaN' is not allowed"),
        ("Total_Trans_Amt", "1_000", "total_trans_amt: '1_000' is not allowed"),
        ("Months_Inactive_12_mon", 13, "months_inactive_12_mon: '13' is not allowed"),
        ("Education_Level", "Kindergarten", "allowed: one of uneducated, high school"),
        ("Gender", "Unknown", "gender: 'Unknown' is not allowed (allowed: one of m, f)"),
        ("Card_Category", "Bronze", "card_category: 'Bronze' is not allowed"),
        ("Attrition_Flag", "Sleeping", "one of existing customer, attrited customer"),
        ("Attrition_Flag", "Unknown", "attrition_flag: 'Unknown' is not allowed"),
        ("CLIENTNUM", "", "customer_id: missing"),
        ("CLIENTNUM", "9" * 65, "customer_id: missing or too long"),
    ],
)
def test_a_row_outside_the_contract_is_quarantined_with_its_reason(
    raw: pd.DataFrame, column: str, value: Any, named: str
) -> None:
    frame = raw.astype({column: object})
    frame.loc[7, column] = value
    found = clean(frame)
    assert named in found.quarantined["reason"].item()
    assert found.quarantined["row"].item() == 7
    assert json.loads(found.quarantined["original"].item())[column] == str(value)
    assert_frame_equal(found.customers, clean(raw.drop(index=7)).customers)


def test_every_fault_of_a_row_is_named(raw: pd.DataFrame) -> None:
    frame = raw.astype(object)
    frame.loc[0, "Customer_Age"] = 7
    frame.loc[0, "Gender"] = "X"
    reason = clean(frame).quarantined["reason"].item()
    assert "customer_age: '7'" in reason
    assert "gender: 'X'" in reason


def test_a_missing_behavioural_value_is_unknown_not_a_fault(raw: pd.DataFrame) -> None:
    frame = raw.astype(object)
    frame.loc[0, "Total_Trans_Ct"] = ""
    found = clean(frame)
    assert found.quarantined.empty
    assert found.customers["total_trans_ct"].isna().tolist() == [True, *[False] * 299]
    assert clean(frame, "drop").ledger["customers"] < found.ledger["customers"]


def test_duplicates_merge_when_they_agree_and_are_all_refused_when_they_do_not(
    raw: pd.DataFrame,
) -> None:
    copy, changed = raw.iloc[[3]], raw.iloc[[5]].assign(Customer_Age=raw["Customer_Age"][5] + 1)
    doubled = pd.concat([raw, copy, changed, raw.iloc[[5]]], ignore_index=True)
    found = clean(doubled)
    assert found.ledger["merged_identical_duplicates"] == 1
    assert found.quarantined["row"].tolist() == [5, 301, 302]
    assert found.quarantined["reason"].str.contains("more than once").all()
    assert_frame_equal(found.customers, clean(raw.drop(index=5)).customers)
    assert_frame_equal(clean(doubled[::-1]).customers, found.customers)


def test_rows_that_are_no_data_are_removed_by_rule_or_quarantined(raw: pd.DataFrame) -> None:
    rest = [""] * 20
    extra = [
        ["", "", "", *rest],
        list(raw.columns),
        ["Total", "", "", *rest],
        ["", "", raw["Customer_Age"].sum(), *rest],
    ]
    frame = pd.concat([raw, pd.DataFrame(extra, columns=raw.columns)], ignore_index=True)
    found = clean(frame)
    assert found.ledger["removed_blank_rows"] == 1
    assert found.ledger["removed_repeated_headers"] == 1
    assert found.quarantined["row"].tolist() == [302, 303]
    assert found.quarantined["reason"].str.startswith("not a customer row").all()
    assert_frame_equal(found.customers, clean(raw).customers)


def test_a_missing_column_is_named_with_its_nearest(raw: pd.DataFrame) -> None:
    with pytest.raises(ColumnError, match=r"credit_limit is missing, the nearest is 'credit_lim'"):
        clean(raw.rename(columns={"Credit_Limit": "Credit_Lim"}))
    with pytest.raises(ColumnError, match=r"column attrition_flag is missing$"):
        clean(raw.drop(columns="Attrition_Flag"))
    with pytest.raises(ColumnError, match=r"gender is there twice, the second time as ' GENDER'"):
        clean(raw.assign(**{" GENDER": raw["Gender"]}))


def test_names_and_values_may_differ_in_case_and_white_space(raw: pd.DataFrame) -> None:
    loud = raw.rename(columns=lambda name: f" {name.upper().replace('_', ' ')} ")
    text = loud.select_dtypes("object").columns
    loud[text] = loud[text].apply(lambda column: column.str.upper() + " ")
    found = clean(loud)
    assert_frame_equal(found.customers, clean(raw).customers)
    assert found.notes["values_trimmed"] == 300 * len(text)


def test_ids_that_are_not_all_whole_numbers_stay_text(raw: pd.DataFrame) -> None:
    frame = raw.astype({"CLIENTNUM": str})
    frame.loc[0, "CLIENTNUM"] = "007"
    found = clean(frame).customers
    assert found["customer_id"].iloc[0] == "007"
    assert found["customer_id"].iloc[1] == "1000000001"


FORTY = customers(40, seed=2)
JUNK = st.sampled_from(["", "Unknown", "nan", "-1", "1e400", "45.0", "Total", "F", "x" * 70, "٣"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 22), JUNK), max_size=30),
    st.lists(st.integers(0, 39), max_size=10),
    st.randoms(use_true_random=False),
)
def test_every_row_has_one_fate_whatever_the_order(
    damage: list[tuple[int, int, str]], repeated: list[int], shuffle: Random
) -> None:
    frame = FORTY.astype(object)
    for row, column, value in damage:
        frame.iloc[row, column] = value
    frame = pd.concat([frame, frame.iloc[repeated]], ignore_index=True)
    found = clean(frame)
    assert sum(found.ledger.values()) == len(frame)
    assert len(found.quarantined) == found.ledger["quarantined"]
    assert len(to_customers(found.customers)) == found.ledger["customers"]
    order = list(frame.index)
    shuffle.shuffle(order)
    shuffled = clean(frame.loc[order])
    assert_frame_equal(shuffled.customers, found.customers)
    assert_frame_equal(
        shuffled.quarantined.sort_values("row", ignore_index=True), found.quarantined
    )
