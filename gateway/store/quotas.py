"""Limits of submissions, and what is left of them: one row a limit, which all nodes draw from."""

from __future__ import annotations

import contextlib
from typing import Any

from sqlalchemy import Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import NotFound, StoreError
from gateway.core.events import Source
from gateway.core.quota import Draw, Limited, Limits, Rate, draw
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.tables import api_token, namespace
from gateway.store.tables import submission_quota as quota
from gateway.store.transact import reading, transact, upsert

FRESH_S = 1.0


class QuotaRows:
    """Implements `core.quota.QuotaStore` and `core.quota.LimitCatalog`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._limits = Limits()
        self._fresh_until = float("-inf")

    # ------------------------------------------------------------ what is left

    async def limits(self) -> Limits:
        now = self._clock.monotonic()
        if now >= self._fresh_until:
            # One reads and the others go on with what was there before.
            self._fresh_until = now + FRESH_S
            with contextlib.suppress(StoreError):  # what was known goes on
                self._limits = await self._read()
        return self._limits

    async def _read(self) -> Limits:
        found = Limits()
        async with reading(self._db) as conn:
            for row in await conn.execute(_limited(api_token)):
                name = f"token {row.name!r}"
                found.tokens[row.name] = Limited(f"token:{row.id}", name, _rate_of(row))
            for row in await conn.execute(_limited(namespace)):
                name = f"namespace {row.name!r}"
                found.namespaces[row.id] = Limited(f"namespace:{row.id}", name, _rate_of(row))
        return found

    async def draw(self, name: str, rate: Rate, wanted: int) -> Draw:
        async def body(conn: AsyncConnection) -> Draw:
            mine = quota.c.name == name
            full_at_us = (
                await conn.execute(select(quota.c.full_at_us).where(mine).with_for_update())
            ).scalar()
            if full_at_us is None:
                await conn.execute(upsert(self._db, quota, update=("name",)), {"name": name, "full_at_us": 0})
                full_at_us = (
                    await conn.execute(select(quota.c.full_at_us).where(mine).with_for_update())
                ).scalar_one()
            drawn = draw(full_at_us, self._clock.now_ms() * 1000, rate, wanted)
            if drawn.granted:
                await conn.execute(update(quota).where(mine).values(full_at_us=drawn.full_at_us))
            return drawn

        return await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ what is set

    async def of_token(self, token_id: int) -> Rate | None:
        return await self._get(api_token, api_token.c.id == token_id, "token", token_id)

    async def of_namespace(self, name: str) -> Rate | None:
        return await self._get(namespace, namespace.c.name == name, "namespace", name)

    async def limit_token(self, token_id: int, rate: Rate | None) -> None:
        await self._set(api_token, api_token.c.id == token_id, "token", token_id, rate)

    async def limit_namespace(self, name: str, rate: Rate | None) -> None:
        await self._set(namespace, namespace.c.name == name, "namespace", name, rate)

    async def _get(self, table: Table, mine: Any, kind: str, key: object) -> Rate | None:
        async with reading(self._db) as conn:
            row = (await conn.execute(select(table.c.submit_rate, table.c.submit_burst).where(mine))).first()
        if row is None:
            raise NotFound(kind, key)
        return _rate_of(row) if row.submit_rate else None

    async def _set(self, table: Table, mine: Any, kind: str, key: object, rate: Rate | None) -> None:
        values = {"submit_rate": "", "submit_burst": 0}
        if rate is not None:
            values = {"submit_rate": repr(rate.per_second), "submit_burst": rate.burst}

        async def body(conn: AsyncConnection) -> None:
            row = (await conn.execute(select(table.c.id, table.c.name).where(mine).with_for_update())).first()
            if row is None:
                raise NotFound(kind, key)
            await conn.execute(update(table).where(mine).values(**values))
            # What was used under another rate says nothing about this one.
            await conn.execute(delete(quota).where(quota.c.name == f"{kind}:{row.id}"))
            words = f"{rate.per_second:g} a second, {rate.burst} at once" if rate else "no limit"
            await note(conn, self._clock.now_ms(), Source(kind), "limited", [(row.name, "", words)])

        await transact(self._db, self._clock, body)
        self._fresh_until = float("-inf")


def _limited(table: Table) -> Any:
    columns = (table.c.id, table.c.name, table.c.submit_rate, table.c.submit_burst)
    return select(*columns).where(table.c.submit_rate != "")


def _rate_of(row: Any) -> Rate:
    return Rate(float(row.submit_rate), row.submit_burst)
