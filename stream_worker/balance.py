"""Which leases a worker should take: pure decisions on what the lease table says."""

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from stream_worker.leases import Lease


class Watch:
    """Notices leases whose counter stands still, by this process's own clock."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def expired(self, leases: Sequence[Lease]) -> set[str]:
        """Shards whose owner has not renewed for the lease time, as far as this watch has seen."""
        now = self._clock()
        self._seen = {
            lease.shard: seen
            if (seen := self._seen.get(lease.shard)) and seen[0] == lease.counter
            else (lease.counter, now)
            for lease in leases
        }
        return {
            lease.shard
            for lease in leases
            if lease.owner and now - self._seen[lease.shard][1] >= self._lease_seconds
        }


def readable(leases: Sequence[Lease], parents: Mapping[str, Sequence[str]]) -> list[Lease]:
    """Unfinished leases of shards in the stream whose parents have been read to their end.

    `parents` holds every shard the stream lists; a parent it does not list is past its
    retention and has nothing left to read.
    """
    finished = {lease.shard for lease in leases if lease.finished}
    return [
        lease
        for lease in leases
        if lease.shard in parents
        and not lease.finished
        and all(p in finished or p not in parents for p in parents[lease.shard])
    ]


def wanted(leases: Sequence[Lease], expired: set[str], me: str) -> list[Lease]:
    """Leases that `me` should try to take now, so that all workers get a fair share.

    Free and expired ones first, up to the share; when there are none, one from the
    busiest worker, and only if it holds at least two more than `me`: else two workers
    would steal from each other for ever.
    """
    stale = {lease.shard for lease in leases if lease.shard in expired and lease.owner != me}
    alive = [lease for lease in leases if lease.owner and lease.shard not in stale]
    held = Counter(lease.owner for lease in alive)
    held.setdefault(me, 0)
    room = math.ceil(len(leases) / len(held)) - held[me]
    if room <= 0:
        return []
    free = [lease for lease in leases if lease.owner is None or lease.shard in stale]
    if free:
        return random.sample(free, min(room, len(free)))
    busiest, most = held.most_common(1)[0]
    if most < held[me] + 2:
        return []
    return [random.choice([lease for lease in alive if lease.owner == busiest])]  # noqa: S311
