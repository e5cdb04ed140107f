"""Scores of customer files, however large: here, or on a Dask cluster, to the same bits.

The scorer is the servers' own `ChurnRunner`. A piece of the input becomes a part of
the output; rows that are no customer go to `<output>.quarantine/`, with the reason.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from bento.champion import FILES
from bento.customer import tier
from bento.runner import ChurnRunner
from churn_assets.cluster import PATIENCE_S, ClusterError, ended, workers
from churn_assets.defs.features.rows import ID, SCORABLE, Rows, clean_name, judge
from churn_assets.defs.ingest.pieces import Piece, files, filesystem, frames, pieces, schema

if TYPE_CHECKING:
    from distributed import Client

Progress = Callable[[int], None]

NOBODY = "no worker takes work: all are gone, or paused for want of memory"

_QUARANTINE = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("customer_id", pa.string()),
        ("reason", pa.string()),
        ("original", pa.string()),
    ]
)


class OutputError(RuntimeError):
    """There is something already where the scores should go."""


class Tally(NamedTuple):
    """What became of the rows; blank rows and repeated headers are neither."""

    rows: int = 0
    scored: int = 0
    quarantined: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))


class Job(NamedTuple):
    """One piece, the number of its part, where the parts go, and the type of the ids there."""

    piece: Piece
    part: int
    output: str
    whole_ids: bool


Model = tuple[tuple[str, bytes], ...]
"""A champion's files by name: they go to the workers, which need no disk in common."""


def plan(data: str, output: str) -> list[Job]:
    """The work; raises `FormatError` for the input and `OutputError` for the output.

    Ids stay whole numbers where every file is a Parquet file in which they are.
    """
    for folder in (output, f"{output}.quarantine"):
        system, path = filesystem(folder)
        if system.get_file_info(pa.fs.FileSelector(path, allow_not_found=True)):
            raise OutputError(f"{folder} is not empty")
    found = pieces(data)
    whole = all(_whole_ids(name) for name in files(data))
    return [Job(piece, part, output, whole) for part, piece in enumerate(found)]


def score_here(runner: ChurnRunner, jobs: Sequence[Job], progress: Progress) -> Tally:
    """Score in this process, a batch in memory at a time; `progress` is told of rows done."""
    total = Tally()
    for job in jobs:
        total = total.plus(score(runner, job, progress))
    return total


def score_on(client: "Client", folder: Path, jobs: Sequence[Job], progress: Progress) -> Tally:
    """Score on a cluster with the champion in `folder`; the first error there is raised here.

    `ClusterError` when workers die of it, or none takes work.
    """
    from distributed import KilledWorker

    try:
        model = client.scatter(_files(folder), broadcast=True, timeout=PATIENCE_S)
    except TimeoutError as error:
        raise ClusterError(NOBODY) from error
    futures = [client.submit(_score_there, model, job, pure=False, retries=2) for job in jobs]

    def at_work(idle_s: float) -> None:
        found = workers(client).values()
        if idle_s > PATIENCE_S and not any(each.takes_work or each.executing for each in found):
            raise ClusterError(NOBODY)

    total = Tally()
    for future in ended(futures, at_work):
        try:
            done: Tally = future.result()
        except KilledWorker as error:
            raise ClusterError(f"workers died of a piece, of want of memory? {error}") from error
        total = total.plus(done)
        progress(done.rows)
    return total


def score(runner: ChurnRunner, job: Job, progress: Progress = lambda _: None) -> Tally:
    """Score one piece; its part appears whole, or not at all."""
    total = Tally()
    with ExitStack() as stack:
        scores = stack.enter_context(_Part(job.output, job.part, _schema(job.whole_ids)))
        refused = stack.enter_context(_Part(f"{job.output}.quarantine", job.part, _QUARANTINE))
        for frame in frames(job.piece):
            rows = judge(frame, SCORABLE)
            scored = _scored(runner, rows, job.whole_ids)
            quarantined = rows.quarantine(rows.refused())
            quarantined["file"] = PurePosixPath(job.piece.uri).name
            scores.write(scored)
            if len(quarantined):
                refused.write(_arrow(quarantined, _QUARANTINE))
            total = total.plus(Tally(len(frame), len(scored), len(quarantined)))
            progress(len(frame))
    return total


def _scored(runner: ChurnRunner, rows: Rows, whole_ids: bool) -> pa.Table:
    good = rows.good()
    customers = rows.customers(good)
    chances = runner.score(customers)
    champion = runner.champion
    return pa.table(
        {
            ID: rows.ids.take(pa.array(good)).cast(pa.int64() if whole_ids else pa.string()),
            "churn chance": chances,
            "churn": chances.astype(np.float64) >= champion.threshold,
            "tier": [tier(customer) for customer in customers],
            "model_run_id": [champion.model_run_id] * len(good),
            "model_version": [champion.model_version] * len(good),
        },
        schema=_schema(whole_ids),
    )


class _Part:
    """A Parquet file that is written under a hidden name until it is whole."""

    def __init__(self, folder: str, number: int, columns: pa.Schema) -> None:
        self._system, self._folder = filesystem(folder)
        self._name = f"part-{number:05}.parquet"
        # A worker that Dask has given up may still write beside the one that took over.
        self._hidden = f"{self._folder}/_{uuid4().hex}-{self._name}"
        self._columns = columns
        self._writer: Any = None

    def __enter__(self) -> "_Part":
        return self

    def write(self, table: pa.Table) -> None:
        """Append rows; the first ones create the file."""
        if self._writer is None:
            self._system.create_dir(self._folder)
            self._writer = pq.ParquetWriter(
                self._hidden, self._columns, filesystem=self._system, compression="zstd"
            )
        self._writer.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.close()
        if kind is None:
            self._system.move(self._hidden, f"{self._folder}/{self._name}")
        else:
            self._system.delete_file(self._hidden)


def _schema(whole_ids: bool) -> pa.Schema:
    """The HTTP answer's names, `prediction_id` left out: nothing of a batch is logged."""
    return pa.schema(
        [
            (ID, pa.int64() if whole_ids else pa.string()),
            ("churn chance", pa.float32()),
            ("churn", pa.bool_()),
            ("tier", pa.string()),
            ("model_run_id", pa.string()),
            ("model_version", pa.string()),
        ]
    )


def _arrow(frame: pd.DataFrame, columns: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(frame[columns.names], columns, preserve_index=False)


def _whole_ids(name: str) -> bool:
    return any(
        clean_name(field.name) == ID and pa.types.is_integer(field.type) for field in schema(name)
    )


def _files(folder: Path) -> Model:
    return tuple((name, (folder / name).read_bytes()) for name in FILES)


def _score_there(model: Model, job: Job) -> Tally:
    return score(_runner(model), job)


@lru_cache(maxsize=1)
def _runner(model: Model) -> ChurnRunner:
    with tempfile.TemporaryDirectory() as name:
        for file, content in model:
            (Path(name) / file).write_bytes(content)
        return ChurnRunner(Path(name))
