"""The Dask cluster that DASK_SCHEDULER names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

PATIENCE_S = 30


class ClusterError(RuntimeError):
    """The cluster does not answer, or has no worker."""


@contextmanager
def connect(address: str) -> "Iterator[Client]":
    """A client of the scheduler at `address`; raises `ClusterError`.

    Its workers run this project's code at this version, and reach the data under the
    same path or URI.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ClusterError(f"DASK_SCHEDULER={address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError as error:
            raise ClusterError(f"DASK_SCHEDULER={address}: it has no worker") from error
        yield client
