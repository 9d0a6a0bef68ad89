"""Counts of changes, by which every node learns that there is something to read again."""

from __future__ import annotations

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import revision


async def bump(conn: AsyncConnection, name: str) -> int:
    """Count a change; the row stays locked, so that changes become visible in the order of their numbers."""
    mine = revision.c.name == name
    if (await conn.execute(update(revision).where(mine).values(n=revision.c.n + 1))).rowcount != 1:
        await conn.execute(insert(revision).values(name=name, n=1))
    n: int = (await conn.execute(select(revision.c.n).where(mine))).scalar_one()
    return n
