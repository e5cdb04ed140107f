"""Training customers as pages on a disk: encoded once, then read page by page for each tree."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bento.customer import FEATURES, encode
from churn_assets.defs.features.parsing import LABEL
from churn_assets.defs.features.rows import judge
from churn_assets.defs.ingest.pieces import Piece, frames
from churn_assets.defs.training import model
from churn_assets.defs.training.dataset import TEST_SHARE, Floats, Labels, both_tiers, place

if TYPE_CHECKING:
    import xgboost as xgb

PAGE = 50_000
"""Customers in memory at a time; fewer pages are faster, larger ones take more memory."""


class Part(NamedTuple):
    """What a worker has read: customers fitted on, those of them who left, rows refused."""

    rows: int = 0
    customers: int = 0
    left: int = 0
    quarantined: int = 0
    digests: tuple[tuple[int, str], ...] = ()
    """SHA-256 (hex) of each piece's encoded customers, by the piece's number."""

    def plus(self, other: "Part") -> "Part":
        """Both together."""
        return Part(
            self.rows + other.rows,
            self.customers + other.customers,
            self.left + other.left,
            self.quarantined + other.quarantined,
            self.digests + other.digests,
        )


def write(piece: Piece, number: int, folder: Path) -> Part:
    """Write the piece's training customers as pages, and say what was in it."""
    digest = hashlib.sha256()
    seen = Part()
    for page, (features, churned, part) in enumerate(_filled(piece)):
        digest.update(features.tobytes() + churned.tobytes())
        np.savez(folder / f"{number:06}-{page:06}", features=features, churned=churned)
        seen = seen.plus(part)
    return seen._replace(digests=((number, digest.hexdigest()),))


def _filled(piece: Piece) -> Iterator[tuple[Floats, Labels, Part]]:
    """The piece's training customers, `PAGE` or somewhat more at a time."""
    features: list[Floats] = []
    churned: list[Labels] = []
    part = Part()
    for frame in frames(piece):
        rows = judge(frame)
        good = rows.good()
        ids = rows.ids.to_numpy(zero_copy_only=False)
        kept = good[place(ids[good]) >= TEST_SHARE]
        label = rows.columns[LABEL]
        features.append(encode(rows.customers(kept)))
        churned.append(label.values[label.codes[kept]].astype(np.int8))
        left = int(churned[-1].sum())
        part = part.plus(Part(len(frame), len(kept), left, len(rows.refused())))
        if part.customers >= PAGE:
            yield np.concatenate(features), np.concatenate(churned), part
            features, churned, part = [], [], Part()
    if features:
        yield np.concatenate(features), np.concatenate(churned), part


def read(folder: Path) -> "xgb.DataIter":
    """The pages of a folder, in the order of their pieces, for XGBoost's external memory."""
    import xgboost as xgb

    class Pages(xgb.DataIter):
        """One page in memory at a time."""

        def __init__(self) -> None:
            super().__init__(cache_prefix=str(folder / "cache"))
            self._files = sorted(folder.glob("*.npz"))
            self._left = list(self._files)

        def reset(self) -> None:
            """Begin again."""
            self._left = list(self._files)

        def next(self, input_data: Any) -> bool:
            """Hand over a page; False after the last one."""
            if not self._left:
                return False
            with np.load(self._left.pop(0)) as page:
                features, churned = both_tiers(page["features"], page["churned"])
            weight = model.weights(len(churned) // 2)
            input_data(data=features, label=churned, weight=weight, feature_names=list(FEATURES))
            return True

    return Pages()
