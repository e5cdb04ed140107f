"""Final fits on customers too many for memory: from disk, on every worker of a Dask cluster.

Each worker encodes its share of the files once, into pages on its disk, and XGBoost
reads those page by page (external memory). The workers add up their histograms over
XGBoost's own collective, so a tree is grown on all customers and on each worker alike.
Without a cluster the same happens in this process.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from churn_assets.cluster import ClusterError, ended, workers
from churn_assets.defs.ingest.pieces import Piece, pieces
from churn_assets.defs.training import model, pages
from churn_assets.defs.training.dataset import DatasetError
from churn_assets.defs.training.model import Params
from churn_assets.defs.training.pages import Part

if TYPE_CHECKING:
    import xgboost as xgb
    from distributed import Client


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
    piece_rows: int = pages.PAGE,
) -> Fitted:
    """Fit a model of both tiers for each set of parameters on all training customers of a URI.

    The test customers are left out by the same hash of their id as elsewhere. Files hold
    each customer once: a repeated one counts twice, but never for training and test.
    Raises `FormatError`, `ColumnError`, `DatasetError` (nothing to learn from, or a share
    of refused rows above `most_quarantined`) and `ClusterError`.
    """
    import xgboost as xgb

    numbered = list(enumerate(piece for piece in pieces(uri, piece_rows) if piece.rows != 0))
    if not numbered:
        raise DatasetError(f"{uri}: holds no rows")
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

    def all_there(_: float) -> None:  # one that is gone would be waited for for ever
        if gone := set(addresses) - workers(client).keys():
            raise ClusterError(f"lost in the middle of a fit: {', '.join(sorted(gone))}")

    try:
        for future in ended(futures, all_there):
            future.result()
        return [future.result() for future in futures]
    finally:
        client.cancel(futures, force=True)
        with suppress(xgb.core.XGBoostError):  # what the tracker says of a fit that broke off
            tracker.free()


def _ready(client: "Client") -> list[str]:
    """The workers; one that Dask has paused, its memory being full, would never begin."""
    found = workers(client)
    paused = sorted(address for address, worker in found.items() if not worker.takes_work)
    if paused:
        raise ClusterError(f"not running, for want of memory: {', '.join(paused)}")
    return sorted(found)


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
            seen = seen.plus(pages.write(piece, number, Path(name)))
        pa.default_memory_pool().release_unused()
        with CommunicatorContext(**collective) if collective else nullcontext():
            matrix = xgb.ExtMemQuantileDMatrix(pages.read(Path(name)), nthread=threads)
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
