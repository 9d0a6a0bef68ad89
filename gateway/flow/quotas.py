"""Quotas: whether a caller may submit now, under the limits of its token and of its namespace.

In: how many it wants to submit. Out: nothing, or the error that says when it may try again. Without any limit this
asks nobody.
"""

from __future__ import annotations

import asyncio

from gateway.core.clock import Clock
from gateway.core.errors import TooMany
from gateway.core.quota import Limited, QuotaStore, Stock


class SharedQuotas:
    """Implements `core.quota.Quotas`."""

    def __init__(self, clock: Clock, store: QuotaStore) -> None:
        self._clock = clock
        self._store = store
        self._stocks: dict[str, Stock] = {}
        self._drawing: dict[str, asyncio.Lock] = {}

    async def take(self, namespace_id: int, token: str = "", count: int = 1) -> None:
        """Raises `TooMany`; nothing is taken then."""
        taken: list[Limited] = []
        for limited in (await self._store.limits()).of(namespace_id, token):
            wait_s = await self._take(limited, count)
            if wait_s is not None:
                for other in taken:
                    self._stocks[other.name].fill(count, self._clock.monotonic())
                raise TooMany(limited.whose, limited.rate.per_second, limited.rate.burst, count, wait_s)
            taken.append(limited)

    async def _take(self, limited: Limited, count: int) -> float | None:
        """How long to wait, or None when they are taken."""
        async with self._drawing.setdefault(limited.name, asyncio.Lock()):
            stock = self._stocks.get(limited.name)
            if stock is None or stock.rate != limited.rate:
                stock = self._stocks[limited.name] = Stock(limited.rate)
            now = self._clock.monotonic()
            if stock.use(count, now):
                return None
            if now < stock.empty_until:
                return stock.empty_until - now
            wanted = count - stock.left
            drawn = await self._store.draw(limited.name, limited.rate, wanted)
            now = self._clock.monotonic()
            if not drawn.granted:
                if wanted == 1:
                    # Nobody gets any before then: what comes meanwhile need not ask the database.
                    stock.empty_until = now + drawn.wait_us / 1_000_000
                return drawn.wait_us / 1_000_000
            stock.fill(drawn.granted - count, now)
            return None
