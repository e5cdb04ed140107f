"""Reading: the same customers whatever the file's format, and no record skipped."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.ingest.reading import FormatError, read_customers
from churn_assets.synthetic import customers


@pytest.fixture(scope="module")
def raw(customers_source: Path | None) -> pd.DataFrame:
    return pd.read_csv(customers_source) if customers_source else customers(2000, seed=3)


def test_quoted_unquoted_and_parquet_give_the_identical_frame(
    raw: pd.DataFrame, tmp_path: Path
) -> None:
    raw.to_csv(tmp_path / "plain.csv", index=False)
    raw.to_csv(tmp_path / "quoted.csv", index=False, quoting=csv.QUOTE_ALL)
    raw.to_csv(tmp_path / "windows.csv", index=False, lineterminator="\r\n", encoding="utf-8-sig")
    raw.to_parquet(tmp_path / "typed.parquet")
    raw.astype({"Customer_Age": "float64", "Gender": "category"}).to_parquet(
        tmp_path / "otherwise_typed.parquet"
    )
    expected = clean(raw)
    assert len(expected.customers) == len(raw)
    for path in tmp_path.iterdir():
        assert_frame_equal(clean(read_customers(path)).customers, expected.customers)


def test_the_quarantine_does_not_depend_on_the_format(raw: pd.DataFrame, tmp_path: Path) -> None:
    damaged = raw.head(50).astype({"Customer_Age": "float64"})
    damaged.loc[3, "Customer_Age"] = 45.5
    damaged.loc[9, "Customer_Age"] = float("nan")
    damaged.to_csv(tmp_path / "a.csv", index=False)
    damaged.to_parquet(tmp_path / "b.parquet")
    from_csv, from_parquet = (
        clean(read_customers(tmp_path / name)).quarantined for name in ("a.csv", "b.parquet")
    )
    assert from_parquet["row"].tolist() == [4, 10]
    assert from_csv["row"].tolist() == [5, 11]
    assert from_csv["reason"].tolist() == from_parquet["reason"].tolist()


def test_titles_totals_and_ragged_records_are_kept_at_their_place(
    raw: pd.DataFrame, tmp_path: Path
) -> None:
    lines = raw.head(100).to_csv(index=False).splitlines()
    lines = [
        *("Customers of the bank, exported 2022-08-07", "confidential"),
        *lines[:60],
        "",
        *lines[60:],
        lines[1] + ",one,field,too,many",
        "Total,100",
    ]
    path = tmp_path / "messy.csv"
    path.write_text("\n".join(lines) + "\n")
    frame = read_customers(path)
    found = clean(frame)
    assert len(frame) == len(lines) - 1
    assert found.quarantined["row"].tolist() == [1, 2, 105, 106]
    assert found.quarantined["customer_id"].iloc[0] == "Customers of the bank, exported 2022-08-07"
    assert found.quarantined["customer_id"].iloc[3] == "Total,100"
    assert found.ledger["removed_blank_rows"] == 1
    assert_frame_equal(found.customers, clean(raw.head(100)).customers)
    assert frame.loc[4].iloc[0] == str(raw["CLIENTNUM"][0])
    assert frame.loc[106].iloc[0] == "Total,100"


def test_a_field_may_hold_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "breaks.csv"
    path.write_text('a,b\n1,"two\nlines"\n3,4\n')
    frame = read_customers(path)
    assert frame["b"].tolist() == ["two\nlines", "4"]
    assert frame.index.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv: empty"),
        ("header.csv", b"a,b\n", "header.csv: no rows"),
        ("image.csv", b"\xff\xd8\xff\xe0\n\x00", "image.csv: not a readable csv file"),
        ("text.parquet", b"a,b\n1,2\n", "text.parquet: not a readable parquet file"),
        ("sheet.xlsx", b"PK", r"sheet.xlsx: not a customer file \(allowed: .csv, .parquet\)"),
    ],
)
def test_what_is_no_customer_file_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_customers(tmp_path / name)
