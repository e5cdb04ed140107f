"""Final fits on customers too many for memory: from disk, on every worker of a Dask cluster.

Each worker encodes its share of the files once, into pages on its disk, and XGBoost
reads those page by page (external memory). The workers add up their histograms over
XGBoost's own collective, so a tree is grown on all customers and on each worker alike.
Without a cluster the same happens in this process.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from bento.customer import FEATURES, encode
from churn_assets.cluster import ClusterError
from churn_assets.defs.features.parsing import LABEL
from churn_assets.defs.features.rows import judge
from churn_assets.defs.ingest.pieces import Piece, frames, pieces
from churn_assets.defs.training import model
from churn_assets.defs.training.dataset import (
    TEST_SHARE,
    DatasetError,
    Floats,
    Labels,
    both_tiers,
    place,
)
from churn_assets.defs.training.model import Params

if TYPE_CHECKING:
    import xgboost as xgb
    from distributed import Client, Future

PAGE = 50_000
"""Customers in memory at a time; fewer pages are faster, larger ones take more memory."""

LOOK_S = 5
"""Seconds between looks whether all workers are still there."""


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


class Fitted(NamedTuple):
    """A model for each set of parameters, and the customers that they were fitted on."""

    boosters: "list[xgb.Booster]"
    seen: Part

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the encoded customers, whichever worker had them."""
        digests = "".join(digest for _, digest in sorted(self.seen.digests))
        return hashlib.sha256(digests.encode()).hexdigest()


def fit(
    uri: str,
    tried: Sequence[Params],
    seed: int,
    client: "Client | None" = None,
    *,
    most_quarantined: float = 1.0,
    piece_rows: int = PAGE,
) -> Fitted:
    """Fit a model of both tiers for each set of parameters on all training customers of a URI.

    The test customers are left out by the same hash of their id as elsewhere. Files hold
    each customer once: a repeated one counts twice, but never for training and test.
    Raises `FormatError`, `ColumnError`, `DatasetError` (nothing to learn from, or a share
    of refused rows above `most_quarantined`) and `ClusterError`.
    """
    import xgboost as xgb

    numbered = list(enumerate(pieces(uri, piece_rows)))
    if client is None:
        shares = [_share(numbered, tried, seed, {})]
    else:
        shares = _on_workers(client, numbered, tried, seed)
    seen = Part()
    for _, part in shares:
        seen = seen.plus(part)
    if seen.quarantined > most_quarantined * seen.rows:
        raise DatasetError(f"{uri}: {seen.quarantined:,} of {seen.rows:,} rows are no customers")
    if not 0 < seen.left < seen.customers:
        raise DatasetError(f"{uri}: needs customers who stayed and customers who left")
    boosters = [xgb.Booster(model_file=bytearray(content)) for content in shares[0][0]]
    return Fitted(boosters, seen)


Share = tuple[list[bytes], Part]
Numbered = Sequence[tuple[int, Piece]]


def _on_workers(
    client: "Client", numbered: Numbered, tried: Sequence[Params], seed: int
) -> list[Share]:
    import xgboost as xgb
    from distributed.comm.addressing import get_address_host
    from distributed.utils import get_ip
    from xgboost.tracker import RabitTracker

    addresses = _ready(client)[: len(numbered)]
    count = len(addresses)
    host = get_ip(get_address_host(str(client.scheduler_info()["address"])))
    tracker = RabitTracker(n_workers=count, host_ip=host, sortby="task")
    tracker.start()
    futures = [
        client.submit(
            _share,
            numbered[rank::count],
            tried,
            seed,
            {**tracker.worker_args(), "DMLC_TASK_ID": f"{rank:06}"},
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        for rank, address in enumerate(addresses)
    ]
    try:
        return _wait(client, futures, addresses)
    finally:
        client.cancel(futures, force=True)
        with suppress(xgb.core.XGBoostError):  # what the tracker says of a fit that broke off
            tracker.free()


def _ready(client: "Client") -> list[str]:
    """The workers; one that Dask has paused, its memory being full, would never begin."""
    workers = client.scheduler_info()["workers"]
    paused = sorted(address for address, worker in workers.items() if worker["status"] != "running")
    if paused:
        raise ClusterError(f"not running, for want of memory: {', '.join(paused)}")
    return sorted(workers)


def _wait(client: "Client", futures: "list[Future[Any]]", addresses: Sequence[str]) -> list[Share]:
    """The results, or the first error; a worker that is gone would be waited for for ever."""
    from distributed import wait

    pending = set(futures)
    while pending:
        try:
            done, pending = wait(pending, timeout=LOOK_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            done = set()
        for future in done:
            future.result()
        gone = set(addresses) - set(client.scheduler_info()["workers"])
        if pending and gone:
            raise ClusterError(f"lost in the middle of a fit: {', '.join(sorted(gone))}")
    return [future.result() for future in futures]


def _share(
    numbered: Numbered,
    tried: Sequence[Params],
    seed: int,
    collective: dict[str, Any],
) -> Share:
    """Encode these pieces and take part in the fits; the models come from the first worker."""
    import xgboost as xgb
    from xgboost.collective import CommunicatorContext

    scratch, threads = _worker() if collective else (None, len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(dir=scratch, prefix="pages-") as name:
        seen = Part()
        for number, piece in numbered:
            seen = seen.plus(_encode(piece, number, Path(name)))
        pa.default_memory_pool().release_unused()
        with CommunicatorContext(**collective) if collective else nullcontext():
            matrix = xgb.ExtMemQuantileDMatrix(_pages(Path(name)), nthread=threads)
            boosters = [model.fit(matrix, params, seed, threads) for params in tried]
            first = not collective or xgb.collective.get_rank() == 0
            models = [bytes(booster.save_raw("ubj")) for booster in boosters if first]
            del matrix, boosters
    return models, seen


def _worker() -> tuple[str, int]:
    """Where this Dask worker may write, and how many threads it has."""
    from distributed import get_worker

    worker = get_worker()
    return str(worker.local_directory), int(worker.state.nthreads)


def _encode(piece: Piece, number: int, folder: Path) -> Part:
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
    yield np.concatenate(features), np.concatenate(churned), part


def _pages(folder: Path) -> "xgb.DataIter":
    import xgboost as xgb

    class Pages(xgb.DataIter):
        """The pages that `_encode` wrote, one in memory at a time."""

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
