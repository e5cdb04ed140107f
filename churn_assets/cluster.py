"""The Dask cluster that DASK_SCHEDULER names."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE_S = 30
LOOK_S = 5
"""Seconds between looks at the workers while nothing ends."""


class ClusterError(RuntimeError):
    """The cluster does not answer, has no worker, or has lost those that were at work."""


class Worker(NamedTuple):
    """A worker as the scheduler sees it."""

    takes_work: bool
    """Dask pauses a worker whose memory is full."""
    executing: int
    """Tasks that it has begun."""


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


def workers(client: "Client") -> dict[str, Worker]:
    """All workers by address."""
    found = client.scheduler_info(n_workers=-1)["workers"]
    return {
        address: Worker(
            each["status"] == "running", each["metrics"]["task_counts"].get("executing", 0)
        )
        for address, each in found.items()
    }


def ended(
    futures: "Sequence[Future[Any]]", look: Callable[[float], None]
) -> "Iterator[Future[Any]]":
    """Futures as they end, with a result or an error.

    While none does `look` is called with the seconds since the last one; it may raise.
    """
    queue: SimpleQueue[Future[Any]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(queue.put)
    last = time.monotonic()
    left = len(futures)
    while left:
        try:
            future = queue.get(timeout=LOOK_S)
        except Empty:
            look(time.monotonic() - last)
        else:
            left -= 1
            last = time.monotonic()
            yield future
