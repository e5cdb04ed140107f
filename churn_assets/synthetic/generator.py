"""Synthetic customers: any number of them, in bounded memory, the same for the same seed.

Customers are drawn in blocks of fixed size, each from its own random stream, so the
first million of two million are the million that one would get alone. Within a group
of customers a Gaussian copula gives every column its quantiles and every pair of
columns its rank correlation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import ndtr

from churn_assets.synthetic import statistics
from churn_assets.synthetic.statistics import CORRELATED, HOUSEHOLD, INDEPENDENT, LABELS

BLOCK = 20_000
FIRST_ID = 1_000_000_000
"""Ten digits, where the bank's own numbers have nine: a synthetic customer shows."""

WHOLE = (
    "Customer_Age",
    "Months_on_book",
    "Total_Revolving_Bal",
    "Total_Trans_Amt",
    "Total_Trans_Ct",
)
THREE_DECIMALS = ("Total_Amt_Chng_Q4_Q1", "Total_Ct_Chng_Q4_Q1")
_LEAK = (
    "Naive_Bayes_Classifier_Attrition_Flag_Card_Category_Contacts_Count_12_mon_"
    "Dependent_count_Education_Level_Months_Inactive_12_mon_"
)
COLUMNS = (
    *("CLIENTNUM", "Attrition_Flag", "Customer_Age", "Gender", "Dependent_count"),
    *("Education_Level", "Marital_Status", "Income_Category", "Card_Category", "Months_on_book"),
    *("Total_Relationship_Count", "Months_Inactive_12_mon", "Contacts_Count_12_mon"),
    *("Credit_Limit", "Total_Revolving_Bal", "Avg_Open_To_Buy", "Total_Amt_Chng_Q4_Q1"),
    *("Total_Trans_Amt", "Total_Trans_Ct", "Total_Ct_Chng_Q4_Q1", "Avg_Utilization_Ratio"),
    *(_LEAK + "1", _LEAK + "2"),
)
"""The public data set's columns in its order, its two leaking ones included."""

_SELECTION = 4.0
_CONCEPT_CHURN = 0.16


@dataclass(frozen=True)
class Drift:
    """How far the world has moved, 0 (not at all) to 1.

    `covariate`: younger customers with smaller limits and fewer transactions; each one
    still leaves for the old reasons. `concept`: the share of customers that leave for
    another reason (they are young) while what they look like stays as it was.
    """

    covariate: float = 0.0
    concept: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} drift: {value} is not allowed (allowed: 0 to 1)")


NONE = Drift()


def customers(rows: int, seed: int, drift: Drift = NONE, first_id: int = FIRST_ID) -> pd.DataFrame:
    """`rows` customers in one frame."""
    frame: pd.DataFrame = pa.concat_tables(tables(rows, seed, drift, first_id)).to_pandas()
    return frame


def tables(
    rows: int, seed: int, drift: Drift = NONE, first_id: int = FIRST_ID
) -> Iterator[pa.Table]:
    """`rows` customers in tables of at most `BLOCK` rows."""
    if rows < 1:
        raise ValueError(f"rows: {rows} is not allowed (allowed: 1 or more)")
    made = block = 0
    while made < rows:
        drawn = _draw(np.random.default_rng([seed, block]), drift)[: rows - made]
        drawn["CLIENTNUM"] = np.arange(first_id + made, first_id + made + len(drawn))
        if len(drawn):
            yield pa.Table.from_pandas(drawn[list(COLUMNS)], preserve_index=False)
        made += len(drawn)
        block += 1


def write_parquet(
    path: Path,
    rows: int,
    seed: int,
    drift: Drift = NONE,
    first_id: int = FIRST_ID,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write customers block by block; `progress` is told how many each block added."""
    writer: Any = None
    try:
        for table in tables(rows, seed, drift, first_id):
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            progress(len(table))
    finally:
        if writer:
            writer.close()


def _draw(rng: np.random.Generator, drift: Drift) -> pd.DataFrame:
    """One block: `BLOCK` candidates, fewer where covariate drift turns some away."""
    known = statistics.load()
    groups = known["groups"]
    shares = np.array([group["share"] for group in groups])
    sizes = rng.multinomial(BLOCK, shares / shares.sum())
    parts = [_group(rng, group, size) for group, size in zip(groups, sizes, strict=True)]
    frame = pd.concat(parts, ignore_index=True)
    _complete(rng, frame, known)
    _relabel(rng, frame, drift.concept)
    leak = np.where(frame["Attrition_Flag"] == LABELS[1], 0.998, 0.0002) + 1e-4 * rng.random(BLOCK)
    frame[_LEAK + "1"], frame[_LEAK + "2"] = leak, 1 - leak
    kept = rng.random(BLOCK) < np.exp(-_SELECTION * drift.covariate * _old_world(frame))
    order = rng.permutation(BLOCK)
    return frame.iloc[order[kept[order]]]


def _group(rng: np.random.Generator, group: dict[str, Any], size: int) -> pd.DataFrame:
    factor = np.linalg.cholesky(np.array(group["correlation"]))
    ranks = ndtr(rng.standard_normal((size, len(CORRELATED))) @ factor.T)
    levels = statistics.load()["levels"]
    data: dict[str, Any] = {"Attrition_Flag": np.full(size, group["label"], dtype=object)}
    for name, rank in zip(CORRELATED, ranks.T, strict=True):
        if name in group["quantiles"]:
            data[name] = np.interp(rank, levels, group["quantiles"][name])
        else:
            data[name] = _pick(group["tables"][name], rank).astype(np.int64)
    for name in INDEPENDENT:
        data[name] = _pick(group["tables"][name], rng.random(size))
    return pd.DataFrame(data)


def _pick(shares: dict[str, float], rank: NDArray[np.float64]) -> NDArray[np.object_]:
    """The value whose share of the unit interval holds the rank."""
    bounds = np.cumsum(list(shares.values()))[:-1]
    picked: NDArray[np.object_] = np.array(list(shares), dtype=object)[
        np.searchsorted(bounds, rank, side="right")
    ]
    return picked


def _complete(rng: np.random.Generator, frame: pd.DataFrame, known: dict[str, Any]) -> None:
    """Round to the data set's units and add what follows from other columns."""
    for name in WHOLE:
        frame[name] = frame[name].round().astype(np.int64)
    for name in THREE_DECIMALS:
        frame[name] = frame[name].round(3)
    frame["Credit_Limit"] = frame["Credit_Limit"].round(1)
    frame["Total_Revolving_Bal"] = np.minimum(
        frame["Total_Revolving_Bal"], np.floor(frame["Credit_Limit"] - 3).astype(np.int64)
    )
    frame["Avg_Open_To_Buy"] = (frame["Credit_Limit"] - frame["Total_Revolving_Bal"]).round(1)
    ratio = frame["Total_Revolving_Bal"] / frame["Credit_Limit"]
    frame["Avg_Utilization_Ratio"] = ratio.round(3)
    household = np.array([name.split("|") for name in known["households"]], dtype=object)
    chosen = household[frame.pop(HOUSEHOLD).to_numpy()]
    frame["Gender"], frame["Income_Category"] = chosen[:, 0], chosen[:, 1]
    band = np.searchsorted(statistics.LIMIT_BANDS, frame["Credit_Limit"], side="right") - 1
    bounds = np.cumsum(known["cards"]["shares"], axis=1)[band, :-1]
    card = (rng.random(len(frame))[:, None] >= bounds).sum(axis=1)
    frame["Card_Category"] = np.array(known["cards"]["names"], dtype=object)[card]


def _relabel(rng: np.random.Generator, frame: pd.DataFrame, share: float) -> None:
    """Give a share of the customers the label of another world, in which the young leave."""
    youth = ndtr((46 - frame["Customer_Age"].to_numpy()) / 8)
    leaves = rng.random(len(frame)) < 2 * _CONCEPT_CHURN * youth
    moved = rng.random(len(frame)) < share
    frame.loc[moved, "Attrition_Flag"] = np.array(LABELS, dtype=object)[leaves[moved].astype(int)]


def _old_world(frame: pd.DataFrame) -> NDArray[np.float64]:
    """0 to 1: how much a customer resembles those that covariate drift turns away."""
    age = (frame["Customer_Age"] - 46) / 8
    limit = (np.log(frame["Credit_Limit"]) - 8.6) / 0.93
    activity = (frame["Total_Trans_Ct"] - 65) / 23.5
    rank: NDArray[np.float64] = ndtr(((age + limit + activity) / np.sqrt(3)).to_numpy())
    return rank
