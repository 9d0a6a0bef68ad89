"""The days that calendars had before: kept when they are changed or deleted, so that the past is judged by them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.calendar_days import Calendar, Edition
from gateway.store.days import days_of, text_of
from gateway.store.tables import calendar, calendar_edition

MOST_KEPT = 200
"""Of one calendar; a program that replaces one every minute must not fill the database."""
_kept = calendar_edition.c


async def keep(conn: AsyncConnection, old: Calendar, now_ms: int) -> None:
    """A calendar, whose row is locked, is about to be replaced or deleted."""
    if old.updated_ms >= now_ms:
        return  # no slot was ever judged by it
    key = {"namespace_id": old.namespace_id, "name": old.name}
    await conn.execute(
        insert(calendar_edition).values(
            **key, until_ms=now_ms, from_ms=old.updated_ms, days=text_of(old.days)
        )
    )
    mine = (_kept.namespace_id == old.namespace_id, _kept.name == old.name)
    newest = select(_kept.until_ms).where(*mine).order_by(_kept.until_ms.desc()).offset(MOST_KEPT).limit(1)
    last_ms = (await conn.execute(newest)).scalar()
    if last_ms is not None:
        await conn.execute(delete(calendar_edition).where(*mine, _kept.until_ms <= last_ms))


async def editions_of(
    conn: AsyncConnection, namespace_id: int, names: Collection[str], from_ms: int, to_ms: int
) -> dict[str, list[Edition]]:
    """Of these calendars, what held for a slot from one instant on up to another; the present ones in any case."""
    found: dict[str, list[Edition]] = {name: [] for name in names}
    if not names:
        return found
    mine = (_kept.namespace_id == namespace_id, _kept.name.in_(sorted(names)))
    past = select(_kept.name, _kept.from_ms, _kept.until_ms, _kept.days)
    for name, since_ms, until_ms, days in await conn.execute(
        past.where(*mine, _kept.until_ms >= from_ms, _kept.from_ms < to_ms)
    ):
        found[name].append(Edition(days_of(days), since_ms, until_ms))
    present = select(calendar.c.name, calendar.c.updated_ms, calendar.c.days).where(
        calendar.c.namespace_id == namespace_id, calendar.c.name.in_(sorted(names))
    )
    for name, since_ms, days in await conn.execute(present):
        found[name].append(Edition(days_of(days), since_ms))
    return found
