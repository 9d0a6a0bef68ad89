"""An import is taken back: its runs and counts of days in batches, then all else as one transaction.

Locks are taken in the order source → app → job → next fire → run → revision, and ids ascend, as an import takes them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.model import TriggerKind
from gateway.core.pauses import Scope
from gateway.store import access, pauses
from gateway.store.engine import Database, patience
from gateway.store.events import note
from gateway.store.imports import PATIENCE_S, WRITE_S
from gateway.store.many import chunks
from gateway.store.revisions import bump
from gateway.store.tables import (
    access_token,
    app,
    app_alias,
    executor,
    executor_setting,
    import_item,
    import_source,
    job,
    job_calendar,
    job_link,
    job_next_fire,
    job_version,
    join_mark,
    pause,
    run,
    run_daily,
    trigger_url,
    user_account,
    user_session,
)
from gateway.store.tables.imports import UNDONE_IN_PART
from gateway.store.transact import reading, transact
from gateway.store.undoing import Undoing, count_runs, look
from gateway.store.users import forget_apps

AT_ONCE = 500
"""So many rows of runs or of days go in one transaction."""
CHANGED = "what is here has changed since it was looked at: give the same command again"
_DAILY = run_daily.c
_SOURCE = import_source.c


class UndoStore:
    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def names(self) -> list[str]:
        async with reading(self._db) as conn:
            return list((await conn.execute(select(_SOURCE.name).order_by(_SOURCE.id))).scalars())

    async def look(self, name: str) -> Undoing:
        """Raises `NotFound`."""
        async with reading(self._db) as conn:
            row = (await conn.execute(select(import_source).where(_SOURCE.name == name))).first()
            if row is None:
                raise NotFound("import", name)
            return await look(conn, row)

    async def count_runs(self, wanted: Undoing) -> int:
        total = 0
        for some in chunks(wanted.job_ids):
            async with reading(self._db) as conn:
                total += await count_runs(conn, some)
        return total

    async def begin(self, wanted: Undoing) -> None:
        """From here on no import from this source writes: its log would have holes that nobody knows of."""

        async def body(conn: AsyncConnection) -> None:
            row = await self._locked(conn, wanted)
            if await look(conn, row) != wanted:
                raise Conflict(CHANGED)
            marks = dict.fromkeys(("log_first", "log_mark", "log_last", "log_from_ms", "days_done"), 0)
            values = marks | {"log_done": UNDONE_IN_PART}
            await conn.execute(update(import_source).where(_SOURCE.id == wanted.source_id).values(values))

        await transact(self._db, self._clock, body, within_s=WRITE_S)

    async def remove_runs(self, ids: tuple[int, ...]) -> int:
        """A batch of the imported runs of these few jobs; how many went, 0 when there are none."""
        is_imported = run.c.trigger_kind == int(TriggerKind.IMPORTED)
        async with reading(self._db) as conn:
            some = select(run.c.id).where(run.c.job_id.in_(ids), is_imported).limit(AT_ONCE)
            found = sorted((await conn.execute(some)).scalars())

        async def body(conn: AsyncConnection) -> None:
            await conn.execute(delete(run).where(run.c.id.in_(found), is_imported))

        if found:
            await transact(self._db, self._clock, body)
        return len(found)

    async def remove_days(self, ids: tuple[int, ...]) -> int:
        """A batch of the counts of days of these; how many went, 0 when there are none."""
        order = (_DAILY.job_id, _DAILY.day)
        async with reading(self._db) as conn:
            # One less: the last day may have counts of both kinds.
            query = select(*order).where(_DAILY.job_id.in_(ids)).order_by(*order).limit(AT_ONCE - 1)
            found = (await conn.execute(query)).all()

        async def body(conn: AsyncConnection) -> None:
            last = found[-1]
            upto = or_(
                _DAILY.job_id < last.job_id, and_(_DAILY.job_id == last.job_id, _DAILY.day <= last.day)
            )
            await conn.execute(delete(run_daily).where(_DAILY.job_id.in_(ids), upto))

        if found:
            await transact(self._db, self._clock, body)
        return len(found)

    async def remove(self, wanted: Undoing) -> None:
        """All but runs and days, or nothing. Raises `Conflict` where what is here is not as it was looked at."""
        ids = wanted.job_ids

        async def body(conn: AsyncConnection) -> None:
            row = await self._locked(conn, wanted)
            await _lock(conn, wanted)
            if await look(conn, row) != wanted:
                raise Conflict(CHANGED)
            for some in chunks(ids):
                if await count_runs(conn, some):
                    raise Conflict(f"jobs have got runs at this moment: {CHANGED}")
            now_ms = self._clock.now_ms()
            is_unpaused = await _remove_jobs(conn, ids)
            is_unpaused |= await _remove_apps(conn, wanted)
            await _remove_users(conn, [one.id for one in wanted.users])
            await forget_apps(conn, [one.id for one in wanted.apps])
            await conn.execute(delete(run_daily).where(_DAILY.job_id == -wanted.source_id))
            await conn.execute(delete(import_item).where(import_item.c.source_id == wanted.source_id))
            await conn.execute(delete(import_source).where(_SOURCE.id == wanted.source_id))
            await _tell(conn, wanted, now_ms)
            if is_unpaused:
                await bump(conn, pauses.REVISION)
            await bump(conn, access.REVISION)
            await bump(conn, "app")
            await bump(conn, "job")

        await transact(self._db, self._clock, body, within_s=WRITE_S)

    async def _locked(self, conn: AsyncConnection, wanted: Undoing) -> Any:
        if not self._db.is_sqlite:
            await conn.exec_driver_sql(patience(PATIENCE_S))
        mine = _SOURCE.id == wanted.source_id
        row = (await conn.execute(select(import_source).where(mine).with_for_update())).first()
        if row is None or row.name != wanted.source:
            raise Conflict(CHANGED)
        return row


async def _lock(conn: AsyncConnection, wanted: Undoing) -> None:
    kept = [one.id for one in wanted.stays if one.kind == "app"]
    for key, ids in (
        (app.c.id, sorted({*kept, *(one.id for one in wanted.apps)})),
        (job.c.id, wanted.job_ids),
        (job_next_fire.c.job_id, wanted.job_ids),
    ):
        for some in chunks(ids):
            await conn.execute(select(key).where(key.in_(some)).order_by(key).with_for_update())


async def _remove_jobs(conn: AsyncConnection, ids: tuple[int, ...]) -> bool:
    """As if they had never been: no row says that they were deleted, so that their ids are free. Whether one was paused."""
    paused = 0
    for some in chunks(ids):
        for key in (
            job.c.id,
            job_next_fire.c.job_id,
            job_version.c.job_id,
            job_calendar.c.job_id,
            job_link.c.parent_id,
            job_link.c.child_id,
            join_mark.c.parent_id,
            join_mark.c.child_id,
            trigger_url.c.job_id,
            _DAILY.job_id,
        ):
            await conn.execute(delete(key.table).where(key.in_(some)))
        mine = (pause.c.scope == Scope.JOB.value, pause.c.scope_id.in_(some))
        paused += (await conn.execute(delete(pause).where(*mine))).rowcount
    return paused > 0


async def _remove_apps(conn: AsyncConnection, wanted: Undoing) -> bool:
    """Also what the import has given to apps that stay. Whether one of those that go was paused."""
    paused = 0
    for some in chunks([one.id for one in wanted.apps]):
        for key in (
            app.c.id,
            executor.c.app_id,
            executor_setting.c.app_id,
            app_alias.c.app_id,
            access_token.c.app_id,
        ):
            await conn.execute(delete(key.table).where(key.in_(some)))
        mine = (pause.c.scope == Scope.APP.value, pause.c.scope_id.in_(some))
        paused += (await conn.execute(delete(pause).where(*mine))).rowcount
    for key, ids in ((app_alias.c.id, wanted.aliases), (access_token.c.id, wanted.tokens)):
        for some in chunks(ids):
            await conn.execute(delete(key.table).where(key.in_(some)))
    return paused > 0


async def _remove_users(conn: AsyncConnection, ids: list[int]) -> None:
    for some in chunks(ids):
        await conn.execute(delete(user_session).where(user_session.c.user_id.in_(some)))
        await conn.execute(delete(user_account).where(user_account.c.id.in_(some)))


async def _tell(conn: AsyncConnection, wanted: Undoing, now_ms: int) -> None:
    words = f"the import from {wanted.source} was undone"
    jobs = [(one.id, one.name, f"job {one.old_key}: {words}") for one in wanted.jobs]
    await note(conn, now_ms, Source.JOB, "undone", jobs)
    await note(conn, now_ms, Source.APP, "undone", [(one.name, "", words) for one in wanted.apps])
    await note(conn, now_ms, Source.USER, "undone", [(one.name, "", words) for one in wanted.users])
    counts = f"{len(wanted.jobs)} jobs, {len(wanted.apps)} apps, {len(wanted.users)} users"
    await note(conn, now_ms, Source.SYSTEM, "undone", [("import", wanted.source[:128], counts)])
