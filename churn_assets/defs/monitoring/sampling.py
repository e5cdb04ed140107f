"""A bounded, repeatable sample of a window of predictions, by model and tier.

The last 48 bits of a prediction id are random and nobody chooses them, so the rows with
the smallest ones are a uniform sample: whatever the order of the rows, the same sample.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bento.customer import CORE_FIELDS, FEATURES, Customer, encode
from churn_assets.defs.monitoring.drift import SCORE, Values, compared_columns

SAMPLE_ROWS = 5_000
"""Most rows kept of each model and tier: enough to see any change worth an alarm."""
BATCH_ROWS = 20_000

_TAIL = 24
"""Where the random end of an id begins."""
NEEDED = ("prediction_id", "model_run_id", "tier", "prediction", *FEATURES)
"""The columns of the prediction log that a report reads."""


class Group(NamedTuple):
    """Predictions that one reference fits."""

    model_run_id: str
    tier: str


class Sampler:
    """Takes a window batch by batch; holds about `most` rows a group, counts them all."""

    def __init__(self, most: int = SAMPLE_ROWS) -> None:
        self.rows: Counter[Group] = Counter()
        self._most = most
        self._kept: dict[Group, list[pa.Table]] = {}
        self._largest: dict[Group, pa.Scalar] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Consider some more rows, of the columns of the prediction log."""
        table = pa.Table.from_batches([batch]).select(NEEDED)
        table = table.append_column("tail", pc.utf8_slice_codeunits(table["prediction_id"], _TAIL))
        counts = table.group_by(["model_run_id", "tier"]).aggregate([([], "count_all")])
        for row in counts.to_pylist():
            group = Group(row["model_run_id"], row["tier"])
            self.rows[group] += row["count_all"]
            self._keep(group, table)

    def _keep(self, group: Group, table: pa.Table) -> None:
        """Take in rows that may belong to the sample; sorting waits until it pays."""
        wanted = (pc.field("model_run_id") == group.model_run_id) & (pc.field("tier") == group.tier)
        if group in self._largest:
            wanted &= pc.field("tail") < self._largest[group]
        pending = self._kept.setdefault(group, [])
        pending.append(table.filter(wanted))
        if sum(map(len, pending)) > 2 * self._most:
            self._largest[group] = self._compact(group)["tail"][-1]

    def _compact(self, group: Group) -> pa.Table:
        rows = pa.concat_tables(self._kept[group]).sort_by("tail").slice(0, self._most)
        self._kept[group] = [rows.combine_chunks()]
        return self._kept[group][0]

    def samples(self) -> dict[Group, dict[str, Values]]:
        """The compared columns of each group, largest group first."""
        return {
            group: _columns(self._compact(group).to_pylist(), group.tier)
            for group, _ in self.rows.most_common()
        }


def sample(batches: Iterable[pa.RecordBatch], most: int = SAMPLE_ROWS) -> Sampler:
    """A sampler that has seen all batches."""
    sampler = Sampler(most)
    for batch in batches:
        sampler.add(batch)
    return sampler


def customer_columns(
    customers: Iterable[Customer], scores: Iterable[float], tier: str
) -> dict[str, Values]:
    """What is compared of some answered customers, encoded as the model saw them.

    In the core tier only scores of customers without any behavioural field count, as in
    the reference: one known field moves a score without anybody having changed.
    """
    matrix = encode(customers).astype(np.float64)
    columns = dict(zip(FEATURES, matrix.T, strict=True)) | {SCORE: np.fromiter(scores, np.float64)}
    if tier == "core":
        bare = np.isnan(matrix[:, len(CORE_FIELDS) :]).all(axis=1)
        columns[SCORE] = columns[SCORE][bare]
    return {name: columns[name] for name in compared_columns(tier)}


def _columns(rows: list[dict[str, Any]], tier: str) -> dict[str, Values]:
    customers = msgspec.convert(
        [{name: row[name] for name in FEATURES} for row in rows], list[Customer]
    )
    return customer_columns(customers, (row["prediction"] for row in rows), tier)
