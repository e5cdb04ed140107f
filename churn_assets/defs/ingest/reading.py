"""A customer file as it landed, as a table: every CSV record and Parquet row is in it.

A CSV field stays text and a record of the wrong length (a title above the header, a
trailing total) becomes a row with its whole text in the first column, for cleaning to
judge; nothing is skipped here.
"""

import csv
import io
import statistics
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet as pq

FORMATS = {".csv": "csv", ".parquet": "parquet"}
"""Format of a customer file by its suffix."""

_HEADER_WITHIN = 50
_BLOCK = 1 << 20


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
    return pd.concat(csv_frames(pa.fs.LocalFileSystem(), str(path)))


def csv_frames(system: "pa.fs.FileSystem", path: str) -> Iterator[pd.DataFrame]:
    """The records of a CSV file in frames of about a megabyte, each record at its number.

    Raises `FormatError` and what pyarrow and the csv module raise.
    """
    with system.open_input_stream(path) as file:
        titles, names, lines = _header(file, PurePosixPath(path).name)
    odd = dict(enumerate(titles, 1))
    row = len(titles) + 2

    def keep(record: pa.csv.InvalidRow) -> str:
        odd[record.number - lines + len(titles)] = record.text  # its number counts lines skipped
        return "skip"

    with system.open_input_stream(path) as file:
        reader = pa.csv.open_csv(
            file,
            # InvalidRow.number is only known to a single thread
            read_options=pa.csv.ReadOptions(skip_rows=lines, use_threads=False, block_size=_BLOCK),
            parse_options=pa.csv.ParseOptions(
                invalid_row_handler=keep, newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        empty = pa.Table.from_batches([], reader.schema).to_pandas(types_mapper=pd.ArrowDtype)
        for batch in reader:
            frame = pa.Table.from_batches([batch]).to_pandas(types_mapper=pd.ArrowDtype)
            index: list[int] = []
            while len(index) < len(frame):
                if row not in odd:
                    index.append(row)
                row += 1
            frame.index = pd.Index(index, dtype="int64")
            before = {number: odd.pop(number) for number in sorted(odd) if number < row}
            yield _with_odd(frame, before)
        if odd or row == len(titles) + 2:
            yield _with_odd(empty, dict(sorted(odd.items())))


def _with_odd(frame: pd.DataFrame, odd: dict[int, str]) -> pd.DataFrame:
    """The frame with a row for each record of the wrong length, its text in the first column."""
    if not odd:
        return frame
    extra = frame.iloc[:0].reindex(pd.Index(odd), fill_value="")
    extra.isetitem(0, pd.array([*odd.values()], dtype=frame.dtypes.iloc[0]))
    return pd.concat([frame, extra]).sort_index()


def _header(file: "pa.NativeFile", name: str) -> tuple[list[str], list[str], int]:
    """Titles above the header, the header's names, and the lines before it.

    The header is the first record as wide as most are: a title is not.
    """
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        records = [(record, reader.line_num) for record in islice(reader, _HEADER_WITHIN)]
    if not records:
        raise FormatError(f"{name}: empty")
    widths = [len(record) for record, _ in records]
    at = widths.index(statistics.mode(widths))
    titles = [",".join(record) for record, _ in records[:at]]
    return titles, records[at][0], records[at - 1][1] if at else 0
