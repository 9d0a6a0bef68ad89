"""Calendars. A change of one and all it causes (next fires, rows planned ahead) are one transaction.

Locks are taken in the order calendar → job → next fire → run. Whoever lets a job use a calendar locks that first, so
no such job is missed here; who changes a job that uses it already waits for the lock of the job, or is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.calendar_days import Calendar
from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.listing import Page
from gateway.core.model import DEFAULT_NAMESPACE, Job
from gateway.core.ports import IdSource
from gateway.store import chains, cursors
from gateway.store.days import DaysReader, days_of, text_of
from gateway.store.definitions import job_of
from gateway.store.editions import keep
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.job_calendars import users_of
from gateway.store.next_fires import next_fire, remove_ahead, replanned
from gateway.store.sqltext import quote_sqlite, update_by_id
from gateway.store.tables import calendar, job, job_next_fire
from gateway.store.transact import reading, transact
from gateway.store.transaction import open_cursor

_CHUNK = 100
_NAMED = 10


class CalendarStore:
    """Implements `core.catalog.CalendarCatalog`."""

    def __init__(self, db: Database, clock: Clock, run_ids: IdSource) -> None:
        self._db = db
        self._clock = clock
        self._run_ids = run_ids

    async def create(self, new: Calendar) -> Calendar:
        now_ms = self._clock.now_ms()
        made = replace(new, version=1, created_ms=now_ms, updated_ms=now_ms)

        async def body(conn: AsyncConnection) -> None:
            try:
                key = {"namespace_id": made.namespace_id, "name": made.name, "created_ms": now_ms}
                await conn.execute(insert(calendar).values(**key, **_changeable(made)))
            except IntegrityError:
                raise Conflict(f"there is a calendar {made.name!r} already") from None
            await note(conn, now_ms, Source.CALENDAR, "created", [(made.name, made.name, _told(made))])

        await transact(self._db, self._clock, body)
        return made

    async def get(self, name: str) -> Calendar:
        async with reading(self._db) as conn:
            row = (await conn.execute(select(calendar).where(*_mine(name)))).first()
        if row is None:
            raise NotFound("calendar", name)
        return _calendar_of(row)

    async def page(self, *, cursor: str | None, limit: int) -> Page[Calendar]:
        after = "" if cursor is None else cursors.decode_text("c", cursor)
        query = (
            select(calendar)
            .where(calendar.c.namespace_id == DEFAULT_NAMESPACE, calendar.c.name > after)
            .order_by(calendar.c.name)
            .limit(limit + 1)
        )
        async with reading(self._db) as conn:
            found = [_calendar_of(row) for row in await conn.execute(query)]
        return cursors.page_of(found, limit, lambda last: cursors.encode_text("c", last.name))

    async def replace(self, changed: Calendar) -> tuple[Calendar, list[int]]:
        async def body(conn: AsyncConnection) -> tuple[Calendar, list[int]]:
            query = select(calendar).where(*_mine(changed.name)).with_for_update()
            row = (await conn.execute(query)).first()
            if row is None:
                raise NotFound("calendar", changed.name)
            old, now_ms = _calendar_of(row), self._clock.now_ms()
            if (old.days, old.description) == (changed.days, changed.description):
                return old, []
            await keep(conn, old, now_ms)
            new = replace(changed, version=old.version + 1, created_ms=old.created_ms, updated_ms=now_ms)
            await conn.execute(update(calendar).where(*_mine(new.name)).values(**_changeable(new)))
            await note(conn, now_ms, Source.CALENDAR, "changed", [(new.name, new.name, _told(new))])
            return new, [] if old.days == new.days else await self._follow(conn, old, new, now_ms)

        await self._run_ids.refill()
        return await transact(self._db, self._clock, body)

    async def delete(self, name: str) -> None:
        async def body(conn: AsyncConnection) -> None:
            query = select(calendar).where(*_mine(name)).with_for_update()
            row = (await conn.execute(query)).first()
            if row is None:
                raise NotFound("calendar", name)
            users = (await users_of(conn, name))[: _NAMED + 1]
            named = select(job.c.id, job.c.name).where(job.c.id.in_(users)).order_by(job.c.id)
            if found := (await conn.execute(named)).all() if users else []:
                names = ", ".join(f"{row.id} {row.name!r}" for row in found[:_NAMED])
                more = ", …" if len(found) > _NAMED else ""
                raise Conflict(f"calendar {name!r} is used by the jobs {names}{more}: change them first")
            now_ms = self._clock.now_ms()
            await keep(conn, _calendar_of(row), now_ms)
            await conn.execute(delete(calendar).where(*_mine(name)))
            await note(conn, now_ms, Source.CALENDAR, "deleted", [(name, name, "")])

        await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ what a change causes

    async def _follow(self, conn: AsyncConnection, old: Calendar, new: Calendar, now_ms: int) -> list[int]:
        """The jobs that use it, planned anew from now on: a slot never fires by the calendar of before."""
        ids = await users_of(conn, new.name)
        reason = f"calendar {new.name!r} was changed"
        cursor, days = await open_cursor(conn), DaysReader()
        for start in range(0, len(ids), _CHUNK):
            # Their other calendars are read once the jobs are locked: who has changed one of them meanwhile waits for us.
            found = await days.attach(conn, await _locked(conn, ids[start : start + _CHUNK]))
            plain = [one for one in found if _is_plain(one, now_ms)]
            await remove_ahead(conn, plain, now_ms)
            fires: list[tuple[int, tuple[int | None, int, int]]] = []
            for one in found:
                next_fire_at, fired = next_fire(one, now_ms), one.fired
                if not _is_plain(one, now_ms):
                    before = _with(one, old)
                    after = replace(one, next_fire_at=next_fire_at)
                    # What is due of a chain and not planned is the next slot of the chain that goes on.
                    why = "" if is_chained(one) else reason
                    after, removed = await replanned(conn, before, after, now_ms, why, self._run_ids)
                    next_fire_at, fired = after.next_fire_at, after.fired
                    if is_chained(one):
                        next_fire_at = await chains.carry_over(conn, after, removed)
                fires.append((one.id, (next_fire_at, fired, one.edition + 1)))
            columns = ("next_fire_at", "fired", "edition")
            for sql, _ in update_by_id("job_next_fire", "job_id", fires, columns, "", quote_sqlite):
                await cursor.execute(sql)
            await self._clock.sleep(0)  # runs may be due meanwhile
        return ids


def _with(one: Job, old: Calendar) -> Job:
    """With the days that one of its calendars had before."""
    pairs = zip(one.timing.calendars, one.days or (), strict=True)
    return replace(one, days=tuple(old.days if use.name == old.name else days for use, days in pairs))


def _is_plain(one: Job, now_ms: int) -> bool:
    """Whether nothing but rows ahead can have come of its next fire: so for almost all."""
    is_overdue = one.next_fire_at is not None and one.next_fire_at <= now_ms
    return not (is_overdue or one.timing.window.max_fires or one.timing.jitter_ms or is_chained(one))


async def _locked(conn: AsyncConnection, ids: Sequence[int]) -> list[Job]:
    """These jobs, their rows locked, `job` before `job_next_fire`."""
    rows = await conn.execute(select(job).where(job.c.id.in_(ids)).order_by(job.c.id).with_for_update())
    jobs = rows.mappings().all()
    mine = select(job_next_fire).where(job_next_fire.c.job_id.in_(ids)).order_by(job_next_fire.c.job_id)
    fires = {row["job_id"]: row for row in (await conn.execute(mine.with_for_update())).mappings()}
    return [job_of(_Joined(row, fires[row["id"]])) for row in jobs if row["id"] in fires]


class _Joined:
    """A row of `job` with that of its next fire."""

    def __init__(self, row: Any, fire: Any) -> None:
        self._row, self._fire = row, fire

    def __getattr__(self, name: str) -> Any:
        return self._row[name] if name in self._row else self._fire[name]


def _mine(name: str) -> tuple[Any, ...]:
    return calendar.c.namespace_id == DEFAULT_NAMESPACE, calendar.c.name == name


def _changeable(one: Calendar) -> dict[str, Any]:
    return {
        "description": one.description,
        "days": text_of(one.days),
        "version": one.version,
        "updated_ms": one.updated_ms,
    }


def _told(one: Calendar) -> str:
    return f"version {one.version}: {len(one.days)} days"


def _calendar_of(row: Any) -> Calendar:
    return Calendar(
        name=row.name,
        days=days_of(row.days),
        description=row.description,
        version=row.version,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        namespace_id=row.namespace_id,
    )
