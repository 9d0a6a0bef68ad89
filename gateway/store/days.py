"""The days of calendars as jobs need them, kept in memory until their calendar's version changes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.calendar_days import Days
from gateway.core.errors import InvalidValue
from gateway.core.model import Job
from gateway.store.tables import calendar

Key = tuple[int, str]
_Edition = tuple[int, int]  # the version alone does not tell a calendar from one of that name before it
_KEY = tuple_(calendar.c.namespace_id, calendar.c.name)


def text_of(days: Days) -> str:
    return json.dumps(days.by_year(), separators=(",", ":"))


def days_of(text: str) -> Days:
    return Days(date.fromisoformat(day) for listed in json.loads(text).values() for day in listed)


def keys_of(one: Job) -> list[Key]:
    return [(one.namespace_id, use.name) for use in one.timing.calendars]


class DaysReader:
    """Asks nothing for jobs that use no calendar.

    Jobs are read before their days, so that these are never older than the job's edition says.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[_Edition, Days]] = {}

    async def attach(self, conn: AsyncConnection, jobs: Sequence[Job]) -> list[Job]:
        keys = {key for one in jobs for key in keys_of(one)}
        found = await self._read(conn, keys) if keys else {}
        return [_with_days(one, found) for one in jobs] if found else list(jobs)

    async def lock(self, conn: AsyncConnection, jobs: Sequence[Job]) -> list[Job]:
        """With the days of their calendars, which stay as they are until the transaction ends.

        Raises `InvalidValue` for a calendar that does not exist.
        """
        if keys := {key for one in jobs for key in keys_of(one)}:
            query = select(calendar.c.name).where(_KEY.in_(sorted(keys))).order_by(calendar.c.name)
            await conn.execute(query.with_for_update())
        return await self.find(conn, jobs)

    async def find(self, conn: AsyncConnection, jobs: Sequence[Job]) -> list[Job]:
        """As `lock`, but they may change."""
        keys = {key for one in jobs for key in keys_of(one)}
        if not keys:
            return list(jobs)
        found = await self._read(conn, keys)
        for index, one in enumerate(jobs):
            for number, key in enumerate(keys_of(one)):
                if key not in found:
                    which = f"[{number}]" if len(one.timing.calendars) > 1 else ""
                    field = f"jobs[{index}]." if len(jobs) > 1 else ""
                    raise InvalidValue(
                        f"{field}calendar{which}.name", key[1], "the name of a calendar that exists"
                    )
        return [_with_days(one, found) for one in jobs]

    async def _read(self, conn: AsyncConnection, keys: Collection[Key]) -> dict[Key, Days]:
        columns = calendar.c
        edition = (columns.version, columns.created_ms)
        query = select(columns.namespace_id, columns.name, *edition).where(_KEY.in_(sorted(keys)))
        present = {(row[0], row[1]): (row[2], row[3]) for row in await conn.execute(query)}
        changed = [key for key, kept in present.items() if self._kept.get(key, (None,))[0] != kept]
        if changed:
            query = select(columns.namespace_id, columns.name, *edition, columns.days)
            for row in await conn.execute(query.where(_KEY.in_(sorted(changed)))):
                self._kept[row[0], row[1]] = ((row[2], row[3]), days_of(row[4]))
        return {key: self._kept[key][1] for key in present if key in self._kept}


def _with_days(one: Job, found: dict[Key, Days]) -> Job:
    keys = keys_of(one)
    if not keys:
        return one
    return replace(one, days=tuple(found[key] for key in keys) if all(key in found for key in keys) else None)
