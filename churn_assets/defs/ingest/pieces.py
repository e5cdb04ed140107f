"""Customer files too large for memory: pieces that processes share, read a batch at a time.

A piece is a CSV file or some row groups of a Parquet file, in a local folder or under
s3://. Its frames carry the row numbers that `read_customers` would give.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from churn_assets.defs.ingest.reading import FORMATS, FormatError, csv_frames

BATCH_ROWS = 5_000
"""Rows in memory at a time."""

PIECE_ROWS = 200_000
"""Row groups of a Parquet file are put together up to about this many rows."""


class Piece(NamedTuple):
    """Part of a customer file; `rows` is None where only reading would tell."""

    uri: str
    row_groups: tuple[int, ...] = ()
    first_row: int = 1
    rows: int | None = None


def filesystem(uri: str) -> tuple[Any, str]:
    """Where a path or s3:// URI lives and its path there; S3 as boto3's variables say."""
    if not uri.startswith("s3://"):
        return pa.fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    options: dict[str, Any] = {"region": os.environ.get("AWS_DEFAULT_REGION")}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        address = urlsplit(endpoint)
        options |= {"endpoint_override": address.netloc, "scheme": address.scheme}
    return pa.fs.S3FileSystem(**options), uri.removeprefix("s3://").rstrip("/")


def files(uri: str) -> list[str]:
    """The customer files that a file, folder or s3:// URI holds, by name.

    Raises `FormatError` when there is none.
    """
    system, path = filesystem(uri)
    info = system.get_file_info(path)
    if info.type == pa.fs.FileType.File:
        found = [path]
    else:
        selector = pa.fs.FileSelector(path, allow_not_found=True)
        found = sorted(item.path for item in system.get_file_info(selector) if item.is_file)
    scheme = "s3://" if uri.startswith("s3://") else ""
    chosen = [scheme + name for name in found if _kind(name)]
    if not chosen:
        raise FormatError(f"{uri}: no customer file (allowed: {', '.join(FORMATS)})")
    return chosen


def pieces(uri: str, rows: int = PIECE_ROWS) -> list[Piece]:
    """All customers under a URI, in pieces of about `rows` rows; a CSV file is one piece.

    Raises `FormatError`.
    """
    return [piece for name in files(uri) for piece in _split(name, rows)]


def frames(piece: Piece, rows: int = BATCH_ROWS) -> Iterator[pd.DataFrame]:
    """The piece's rows, at most about `rows` at a time; raises `FormatError`."""
    name = PurePosixPath(piece.uri).name
    try:
        yield from (
            csv_frames(*filesystem(piece.uri))
            if _kind(piece.uri) == "csv"
            else _parquet(piece, rows)
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        kind = _kind(piece.uri)
        raise FormatError(f"{name}: not a readable {kind} file: {error}") from error


def schema(uri: str) -> pa.Schema:
    """Names and types of a file's columns; all text in a CSV file."""
    if _kind(uri) == "csv":
        first = next(frames(Piece(uri)))
        return pa.schema([(str(column), pa.string()) for column in first])
    system, path = filesystem(uri)
    return pq.read_schema(path, filesystem=system)


def _kind(name: str) -> str | None:
    hidden = PurePosixPath(name).name.startswith(("_", "."))
    return None if hidden else FORMATS.get(PurePosixPath(name).suffix.lower())


def _split(uri: str, rows: int) -> Iterator[Piece]:
    if _kind(uri) == "csv":
        yield Piece(uri)
        return
    system, path = filesystem(uri)
    try:
        with system.open_input_file(path) as file:
            footer = pq.ParquetFile(file).metadata
    except pa.ArrowInvalid as error:
        name = PurePosixPath(uri).name
        raise FormatError(f"{name}: not a readable parquet file: {error}") from error
    groups: list[int] = []
    first, count = 1, 0
    for group in range(footer.num_row_groups):
        groups.append(group)
        count += footer.row_group(group).num_rows
        if count >= rows or group == footer.num_row_groups - 1:
            yield Piece(uri, tuple(groups), first, count)
            groups, first, count = [], first + count, 0


def _parquet(piece: Piece, rows: int) -> Iterator[pd.DataFrame]:
    system, path = filesystem(piece.uri)
    row = piece.first_row
    with system.open_input_file(path) as file:
        # Without pre-buffering, which would hold all the row groups that are asked for.
        parquet = pq.ParquetFile(file, pre_buffer=False)
        for batch in parquet.iter_batches(rows, row_groups=list(piece.row_groups)):
            frame: pd.DataFrame = pa.Table.from_batches([batch]).to_pandas(
                types_mapper=pd.ArrowDtype, ignore_metadata=True
            )
            frame.index += row
            row += len(frame)
            yield frame
