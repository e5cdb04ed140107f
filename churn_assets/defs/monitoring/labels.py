"""What became of customers: label files, row by row, and which row counts.

A file has the columns `prediction_id` and/or `customer_id`, `churned` and `observed_at`.
A row that names a prediction is about that one; a row that names a customer is about
every prediction of that customer made before `observed_at`, at most a horizon before.
Of several rows about one prediction, the latest observation counts; of two at the same
time, the one whose file landed later (in one file, the lower one).
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from bento.ids import milliseconds
from churn_assets.defs.features.parsing import as_text
from churn_assets.defs.ingest.reading import FormatError, read_customers

COLUMNS = ("prediction_id", "customer_id", "churned", "observed_at")
CHURNED = {"0": 0, "1": 1, "false": 0, "true": 1}
CLOCKS = timedelta(hours=1)
"""How far the clocks of two systems may disagree."""
LATE = timedelta(days=1)

_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_SUBJECT = ["prediction_id", "customer_id"]


class LabelFile(NamedTuple):
    """One file: its usable rows, and the others with the reason why."""

    labels: pd.DataFrame
    """prediction_id or else customer_id (text), churned (int8), observed_at (UTC)."""
    rejected: pd.DataFrame
    """`COLUMNS` as text, `reason`; the index is the row's place in the file."""
    late: int
    """Usable rows that landed more than a day after they were observed."""


class Resolved(NamedTuple):
    """All files' labels without repetitions, and how many rows that took."""

    by_prediction: pd.DataFrame
    by_customer: pd.DataFrame
    """In order of `observed_at`; an older row still counts for older predictions."""
    duplicated: int
    """Rows that repeat what another says."""
    corrected: int
    """Rows that a later one about the same subject contradicts."""


def read_labels(path: Path, landed: datetime) -> LabelFile:
    """The rows of a CSV or Parquet file that landed at `landed`; raises `FormatError`."""
    frame = read_customers(path)
    frame.columns = frame.columns.str.strip().str.lower()
    missing = {"churned", "observed_at"} - set(frame.columns)
    if missing or not set(_SUBJECT) & set(frame.columns):
        raise FormatError(
            f"{path.name}: has the columns {', '.join(frame.columns)};"
            " needed: prediction_id or customer_id, churned, observed_at"
        )
    text = pd.DataFrame({name: _text(frame, name) for name in COLUMNS}, index=frame.index)
    observed = pd.to_datetime(text["observed_at"], utc=True, format="ISO8601", errors="coerce")
    churned = text["churned"].str.lower().map(CHURNED)
    reason = _reasons(text, churned, observed, landed)
    usable = reason == ""
    named = text["prediction_id"] != ""
    labels = pd.DataFrame(
        {
            "prediction_id": text["prediction_id"].where(named, None),
            "customer_id": text["customer_id"].mask(named, None),
            "churned": churned,
            "observed_at": observed.astype("datetime64[ms, UTC]"),
        }
    )[usable].astype({"churned": "int8"})
    late = int((landed - labels["observed_at"] > LATE).sum())
    return LabelFile(labels, text.assign(reason=reason)[~usable], late)


def _text(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        return pd.Series("", index=frame.index)
    column = frame[name]
    if pd.api.types.is_float_dtype(column.dtype):  # Parquet's whole numbers beside empty cells
        try:
            column = column.astype(pd.ArrowDtype(pa.int64()))
        except (pa.ArrowInvalid, ValueError):
            column = frame[name]
    return pd.Series(as_text(column).to_pylist(), index=frame.index, dtype=str).str.strip()


def _reasons(
    text: pd.DataFrame, churned: pd.Series, observed: pd.Series, landed: datetime
) -> pd.Series:
    """Why each row is refused, empty where it is not."""
    prediction = text["prediction_id"]
    named = prediction != ""
    valid = prediction.str.fullmatch(_UUID7)
    made = pd.to_datetime(
        prediction.where(valid).map(milliseconds, na_action="ignore"), unit="ms", utc=True
    )
    faults = {
        "prediction_id, customer_id: both are empty": ~named & (text["customer_id"] == ""),
        "prediction_id: not the id of a prediction": named & ~valid,
        f"churned: allowed are {', '.join(CHURNED)}": churned.isna(),
        "observed_at: not an ISO-8601 time": observed.isna(),
        "observed_at: later than the file landed": observed > landed + CLOCKS,
        "observed_at: before the prediction was made": observed < made,
    }
    reason = pd.Series("", index=text.index)
    for words, faulty in faults.items():
        reason = reason.mask((reason == "") & faulty, words)
    return reason


def resolve(files: list[pd.DataFrame]) -> Resolved:
    """One frame of labels from those of all files, in the order in which they landed."""
    labels = pd.concat([_empty(), *files], ignore_index=True)
    subject = labels["prediction_id"].fillna("c:" + labels["customer_id"])
    labels = labels.assign(subject=subject).sort_values(["subject", "observed_at"], kind="stable")
    moment = ["subject", "observed_at"]
    last = labels.groupby(moment)["churned"].transform("last")
    duplicated = int(labels.duplicated([*moment, "churned"]).sum())
    contradicted = labels["churned"] != last
    corrected = int((contradicted & ~labels.duplicated([*moment, "churned"])).sum())

    labels = labels.drop_duplicates(moment, keep="last")
    newer = labels.groupby("subject")["churned"].shift(-1)
    corrected += int((newer.notna() & (newer != labels["churned"])).sum())
    duplicated += int((newer == labels["churned"]).sum())
    named = labels["prediction_id"].notna()
    return Resolved(
        labels[named & newer.isna()].drop(columns=["subject", "customer_id"]),
        labels[~named].drop(columns=["subject", "prediction_id"]).sort_values("observed_at"),
        duplicated,
        corrected,
    )


def _empty() -> pd.DataFrame:
    types = {
        "prediction_id": "object",
        "customer_id": "object",
        "churned": "int8",
        "observed_at": "datetime64[ms, UTC]",
    }
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def truth_of(predictions: pd.DataFrame, labels: Resolved, horizon: timedelta) -> pd.DataFrame:
    """What became of predictions: prediction_id, churned, observed_at, in order of prediction_id.

    `predictions` has prediction_id, customer_id (text or null) and created_at (UTC).
    """
    direct = predictions.merge(labels.by_prediction, on="prediction_id")
    observed = labels.by_customer["observed_at"]
    start, end = predictions["created_at"].min(), predictions["created_at"].max() + horizon
    near = labels.by_customer[(observed > start) & (observed <= end)]
    named = predictions.dropna(subset="customer_id").merge(near, on="customer_id")
    age = named["observed_at"] - named["created_at"]
    named = named[(age > timedelta(0)) & (age <= horizon)]
    both = pd.concat([named, direct]).sort_values(["prediction_id", "observed_at"], kind="stable")
    found = both.drop_duplicates("prediction_id", keep="last")
    return found[["prediction_id", "churned", "observed_at"]].reset_index(drop=True)
