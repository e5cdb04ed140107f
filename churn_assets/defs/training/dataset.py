"""Customers as numbers: the matrix, the untouched test set, folds and the blanked copies.

Everything here depends on customers only, never on the order of the input rows.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bento.customer import CORE_FIELDS, FEATURES, encode
from churn_assets.defs.features.cleaning import TARGET, to_customers
from churn_assets.defs.features.rows import ID

TEST_SHARE = 0.2
CHUNK = 50_000
"""Rows encoded at a time: a million customers as Python objects would take gigabytes."""

Floats = NDArray[np.float32]
Labels = NDArray[np.int8]


class DatasetError(ValueError):
    """The customers cannot be trained on; the message says what is wrong."""


@dataclass(frozen=True)
class Dataset:
    """Customers in canonical order: `ids` (n,), `features` (n, 19) float32, `churned` (n,) int8."""

    ids: NDArray[np.object_]
    features: Floats
    churned: Labels

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Dataset":
        """The customers that a mask or an index picks."""
        return Dataset(self.ids[rows], self.features[rows], self.churned[rows])


def build(frame: pd.DataFrame) -> Dataset:
    """The dataset in rows of `cleaned_features`; raises `DatasetError` for repeated customers."""
    if frame[ID].duplicated().any():
        repeated = frame.loc[frame[ID].duplicated(), ID].iloc[0]
        raise DatasetError(f"{ID} {repeated} is there twice: clean the customers first")
    frame = frame.sort_values(ID, ignore_index=True)
    chunks = [
        encode(to_customers(frame.iloc[start : start + CHUNK]))
        for start in range(0, len(frame), CHUNK)
    ]
    features = np.concatenate(chunks) if chunks else encode([])
    return Dataset(frame[ID].to_numpy(object), features, frame[TARGET].to_numpy(np.int8))


def split(data: Dataset) -> tuple[Dataset, Dataset]:
    """Training and test customers; a customer's side never changes, whatever else arrives."""
    test = place(data.ids) < TEST_SHARE
    train_set, test_set = data.take(~test), data.take(test)
    for name, part in (("training", train_set), ("test", test_set)):
        if len(np.unique(part.churned)) < 2:
            raise DatasetError(
                f"the {name} set ({len(part)} customers) needs some who stayed and some who left"
            )
    return train_set, test_set


def sample(data: Dataset, most: int) -> Dataset:
    """At most `most` customers, chosen by hash: mostly the same ones as the data grows."""
    if len(data) <= most:
        return data
    chosen = np.argsort(place(data.ids, b"search"), kind="stable")[:most]
    return data.take(np.sort(chosen))


def place(ids: NDArray[np.object_], salt: bytes = b"") -> NDArray[np.float64]:
    """A number in [0, 1) for each customer id, the same on every machine; `salt` deals anew."""
    digests = b"".join(
        hashlib.blake2b(str(customer).encode(), digest_size=8, salt=salt).digest()
        for customer in ids
    )
    return np.frombuffer(digests, dtype=">u8") / 2.0**64


def folds(data: Dataset, count: int, seed: int) -> Iterator[tuple[Dataset, Dataset]]:
    """Training and validation customers of each stratified fold."""
    from sklearn.model_selection import StratifiedKFold

    least = int(np.bincount(data.churned, minlength=2).min())
    if least < count:
        raise DatasetError(f"{count} folds need {count} customers of each kind, there are {least}")
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    for train_rows, valid_rows in splitter.split(data.features, data.churned):
        yield data.take(train_rows), data.take(valid_rows)


def blanked(features: Floats) -> Floats:
    """A copy whose eight behavioural fields are unknown: what the core tier knows."""
    core = features.copy()
    core[:, len(CORE_FIELDS) :] = np.nan
    return core


def tiers(features: Floats) -> dict[str, Floats]:
    """The same customers as each tier sees them."""
    return {"full": features, "core": blanked(features)}


def both_tiers(features: Floats, churned: Labels) -> tuple[Floats, Labels]:
    """What a model is fitted on: the customers, then their blanked copies."""
    return np.concatenate(list(tiers(features).values())), np.concatenate([churned, churned])


def fingerprint(data: Dataset) -> str:
    """SHA-256 (hex) of ids, features and labels: equal for the same customers in any order."""
    digest = hashlib.sha256("\n".join(map(str, (*FEATURES, *data.ids))).encode())
    digest.update(data.features.tobytes())
    digest.update(data.churned.tobytes())
    return digest.hexdigest()
