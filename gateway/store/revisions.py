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
    return await current(conn, name)


async def current(conn: AsyncConnection, name: str) -> int:
    """How many changes have been counted; 0 before the first."""
    found: int | None = (
        await conn.execute(select(revision.c.n).where(revision.c.name == name))
    ).scalar_one_or_none()
    return found or 0
