"""XXL-JOB's ten routes, and one by weight: which executor gets a run. Counters live with the owner of the job."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from gateway.core.model import Route
from gateway.core.placement import WEIGHT
from gateway.core.weighted import WeightedTurns

V = TypeVar("V")

VIRTUAL_NODES = 100
_RESET_AFTER = 1_000_000

PROBED = frozenset({Route.FAILOVER, Route.BUSYOVER})


def consistent_hash(key: str) -> int:
    """First four bytes of the MD5 of the UTF-8 text, read little-endian as an unsigned number."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "little")


@lru_cache(maxsize=64)
def _ring(addresses: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    return tuple(
        sorted(
            (consistent_hash(f"SHARD-{address}-NODE-{index}"), address)
            for address in addresses
            for index in range(VIRTUAL_NODES)
        )
    )


def by_consistent_hash(job_id: int, addresses: Sequence[str]) -> str:
    """The first virtual node at or above the job's hash, else the first of the ring."""
    ring = _ring(tuple(addresses))
    wanted = consistent_hash(str(job_id))
    return next((address for point, address in ring if point >= wanted), ring[0][1])


class Router:
    """Chooses an address for each run. FAILOVER and BUSYOVER get the whole list in order from `candidates`.

    The counters of ROUND, LEAST_FREQUENTLY_USED and LEAST_RECENTLY_USED are kept per job and start at random,
    so that many jobs with few runs spread over the executors.
    """

    def __init__(self, rng: random.Random | None = None, max_jobs: int = 100_000) -> None:
        self._rng = rng or random.Random()  # noqa: S311 – spreading load, not keeping secrets
        self._max_jobs = max_jobs
        self._round: OrderedDict[int, int] = OrderedDict()
        self._frequency: OrderedDict[int, dict[str, int]] = OrderedDict()
        self._recency: OrderedDict[int, OrderedDict[str, None]] = OrderedDict()
        self._turns = WeightedTurns(self._rng, max_jobs)

    def choose(
        self,
        route: Route,
        job_id: int,
        addresses: Sequence[str],
        weights: Mapping[str, int] | None = None,
    ) -> str:
        """One of `addresses`, which must not be empty and are in text order. `weights`: theirs, for WEIGHTED."""
        match route:
            case Route.LAST:
                return addresses[-1]
            case Route.ROUND:
                return self._next_in_round(job_id, addresses)
            case Route.RANDOM:
                return self._rng.choice(addresses)
            case Route.CONSISTENT_HASH:
                return by_consistent_hash(job_id, addresses)
            case Route.LEAST_FREQUENTLY_USED:
                return self._least_frequent(job_id, addresses)
            case Route.LEAST_RECENTLY_USED:
                return self._least_recent(job_id, addresses)
            case Route.WEIGHTED:
                return self._turns.next(job_id, weights or dict.fromkeys(addresses, WEIGHT))
            case _:
                return addresses[0]

    def _next_in_round(self, job_id: int, addresses: Sequence[str]) -> str:
        count = self._round.get(job_id)
        count = self._rng.randrange(100) if count is None or count >= _RESET_AFTER else count + 1
        _remember(self._round, job_id, count, self._max_jobs)
        return addresses[count % len(addresses)]

    def _least_frequent(self, job_id: int, addresses: Sequence[str]) -> str:
        known = self._frequency.get(job_id, {})
        counts = {
            address: known[address]
            if known.get(address, _RESET_AFTER) < _RESET_AFTER
            else self._rng.randrange(len(addresses))
            for address in addresses
        }
        chosen = min(counts, key=lambda address: counts[address])
        counts[chosen] += 1
        _remember(self._frequency, job_id, counts, self._max_jobs)
        return chosen

    def _least_recent(self, job_id: int, addresses: Sequence[str]) -> str:
        present = set(addresses)
        order = OrderedDict(
            (address, None) for address in self._recency.get(job_id, ()) if address in present
        )
        for address in addresses:
            order.setdefault(address, None)
        chosen = next(iter(order))
        order.move_to_end(chosen)
        _remember(self._recency, job_id, order, self._max_jobs)
        return chosen


def _remember(store: OrderedDict[int, V], key: int, value: V, limit: int) -> None:
    store[key] = value
    store.move_to_end(key)
    if len(store) > limit:
        store.popitem(last=False)
