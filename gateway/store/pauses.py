"""Pauses. Each change is counted, so that all nodes read them again."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, false, insert, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import NotFound
from gateway.core.events import Source
from gateway.core.listing import Covered
from gateway.core.pauses import Pause, Scope
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.revisions import bump, current
from gateway.store.tables import job, pause
from gateway.store.transact import reading, transact

REVISION = "pause"
_SOURCES = {Scope.ALL: Source.SYSTEM, Scope.APP: Source.APP, Scope.JOB: Source.JOB}


class PauseStore:
    """Implements `core.pauses.PauseCatalog`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def all_pauses(self) -> list[Pause]:
        in_force = or_(pause.c.until_ms == 0, pause.c.until_ms > self._clock.now_ms())
        query = select(pause).where(in_force).order_by(pause.c.created_ms, pause.c.scope, pause.c.scope_id)
        async with reading(self._db) as conn:
            return [
                Pause(Scope(row.scope), row.scope_id, row.reason, row.author, row.created_ms, row.until_ms)
                for row in await conn.execute(query)
            ]

    async def revision(self) -> int:
        async with reading(self._db) as conn:
            return await current(conn, REVISION)

    async def put(self, new: Pause, *, called: str, name: str = "") -> Pause:
        row = {
            "scope": new.scope.value,
            "scope_id": new.scope_id,
            "reason": new.reason,
            "author": new.author,
            "created_ms": new.created_ms,
            "until_ms": new.until_ms,
        }

        async def body(conn: AsyncConnection) -> None:
            await bump(conn, REVISION)
            await conn.execute(delete(pause).where(*_same(new.scope, new.scope_id)))
            await conn.execute(insert(pause).values(row))
            await note(conn, new.created_ms, _SOURCES[new.scope], "paused", [(called, name, new.words)])

        await transact(self._db, self._clock, body)
        return new

    async def end(self, scope: Scope, scope_id: int, *, called: str, name: str = "") -> None:
        async def body(conn: AsyncConnection) -> None:
            now_ms = self._clock.now_ms()
            await bump(conn, REVISION)
            in_force = or_(pause.c.until_ms == 0, pause.c.until_ms > now_ms)
            if (await conn.execute(delete(pause).where(*_same(scope, scope_id), in_force))).rowcount != 1:
                raise NotFound("pause", called, "it is not paused itself; see GET /api/v1/pauses")
            await note(conn, now_ms, _SOURCES[scope], "resumed", [(called, name, "what waited goes on")])

        await transact(self._db, self._clock, body)


async def forget(conn: AsyncConnection, scope: Scope, scope_id: int) -> None:
    """What it covers is deleted."""
    found = await conn.execute(select(pause.c.scope_id).where(*_same(scope, scope_id)))
    if found.first() is not None:
        await bump(conn, REVISION)
        await conn.execute(delete(pause).where(*_same(scope, scope_id)))


def covered_by(pauses: Covered) -> ColumnElement[bool]:
    """Whether these pauses cover a row of `job`."""
    if pauses.everything:
        return true()
    return or_(false(), job.c.app_id.in_(sorted(pauses.apps)), job.c.id.in_(sorted(pauses.jobs)))


def _same(scope: Scope, scope_id: int) -> tuple[ColumnElement[bool], ...]:
    return pause.c.scope == scope.value, pause.c.scope_id == scope_id
