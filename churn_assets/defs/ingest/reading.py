"""A customer file as it landed, as a table: every CSV record and Parquet row is in it.

A CSV field stays text and a record of the wrong length (a title above the header, a
trailing total) becomes a row with its whole text in the first column, for cleaning to
judge; nothing is skipped here.
"""

import csv
import statistics
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

FORMATS = {".csv": "csv", ".parquet": "parquet"}
"""Format of a customer file by its suffix."""

_HEADER_WITHIN = 50


class FormatError(ValueError):
    """The file is not what its name says, or empty."""


def read_customers(path: Path) -> pd.DataFrame:
    """The file's rows; the index is the record in a CSV (header included) or row in a Parquet file.

    Raises `FormatError`.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise FormatError(f"{path.name}: not a customer file (allowed: {', '.join(FORMATS)})")
    try:
        frame = _read_csv(path) if kind == "csv" else _read_parquet(path)
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name}: not a readable {kind} file: {error}") from error
    if frame.empty:
        raise FormatError(f"{path.name}: no rows")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(path).to_pandas(
        types_mapper=pd.ArrowDtype, ignore_metadata=True
    )
    frame.index += 1
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    titles, names, lines = _header(path)
    odd = dict(enumerate(titles, 1))
    first = len(titles) + 1

    def keep(record: pa.csv.InvalidRow) -> str:
        odd[record.number - lines + len(titles)] = record.text  # its number counts lines skipped
        return "skip"

    table = pa.csv.read_csv(
        path,
        # InvalidRow.number is only known to a single thread
        read_options=pa.csv.ReadOptions(skip_rows=lines, use_threads=False),
        parse_options=pa.csv.ParseOptions(
            invalid_row_handler=keep, newlines_in_values=True, ignore_empty_lines=False
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    last = first + len(frame) + sum(position > first for position in odd)
    frame.index = pd.Index([i for i in range(first + 1, last + 1) if i not in odd], dtype="int64")
    if not odd:
        return frame
    extra = frame.iloc[:0].reindex(pd.Index(odd), fill_value="")
    extra.isetitem(0, pd.array([*odd.values()], dtype=frame.dtypes.iloc[0]))
    return pd.concat([frame, extra]).sort_index()


def _header(path: Path) -> tuple[list[str], list[str], int]:
    """Titles above the header, the header's names, and the lines before it.

    The header is the first record as wide as most are: a title is not.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        records = [(record, reader.line_num) for record in islice(reader, _HEADER_WITHIN)]
    if not records:
        raise FormatError(f"{path.name}: empty")
    widths = [len(record) for record, _ in records]
    at = widths.index(statistics.mode(widths))
    titles = [",".join(record) for record, _ in records[:at]]
    return titles, records[at][0], records[at - 1][1] if at else 0
