"""Jobs of an import are given to this scheduler, hundreds in a transaction, each at a slot that is said.

Locks are taken in the order source → job → next fire → run, ids ascending: nodes are at work meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.errors import Refused
from gateway.core.events import Source
from gateway.core.model import AddressMode, Executor, Job
from gateway.core.registry import DEAD_AFTER_MS
from gateway.store import chains
from gateway.store.apps import AppStore
from gateway.store.definitions import definition_of, job_at
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.held_ids import APP, JOB, made_since
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.imports import Item, item_of, undone_in_part
from gateway.store.job_rows import fire_row, version_row
from gateway.store.jobs import JobStore
from gateway.store.many import update_each
from gateway.store.sqltext import split_addresses
from gateway.store.starts import Start, done_here, enabled, since_when
from gateway.store.tables import (
    app,
    executor,
    import_item,
    import_source,
    job,
    job_next_fire,
    job_version,
)
from gateway.store.tables.imports import UNDONE_IN_PART
from gateway.store.transact import reading, transact, upsert

AT_ONCE = 500
"""So many jobs change in one transaction: nodes that plan and claim wait for no more."""
AUTHOR = "cutover"
"""On whose behalf jobs are enabled and disabled by one."""


@dataclass(frozen=True, slots=True)
class ImportedSource:
    """`cutover_ms` is 0 until its jobs were given to this scheduler. `undone_in_part`: an undo has begun and not ended."""

    id: int
    name: str
    release: str
    timezone: str
    imported_ms: int
    cutover_ms: int
    undone_in_part: bool


class CutoverStore:
    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._run_ids = run_ids(db, clock)
        self._apps = AppStore(db, clock, app_ids(db, clock))
        self._jobs = JobStore(db, clock, job_ids(db, clock), self._run_ids)

    # ------------------------------------------------------------ reading

    async def sources(self) -> list[ImportedSource]:
        mine = import_source.c
        query = select(
            mine.id,
            mine.name,
            mine.release,
            mine.timezone,
            mine.imported_ms,
            mine.cutover_ms,
            mine.log_done == UNDONE_IN_PART,
        )
        async with reading(self._db) as conn:
            return [ImportedSource(*row) for row in await conn.execute(query.order_by(mine.id))]

    async def items(self, source_id: int) -> list[Item]:
        """What became of the jobs of a source."""
        mine = import_item.c
        query = select(import_item).where(mine.source_id == source_id, mine.kind == JOB)
        async with reading(self._db) as conn:
            return [item_of(row) for row in await conn.execute(query)]

    async def groups(self, source_id: int) -> list[Item]:
        """The apps that are here, by what the source calls their groups."""
        mine = import_item.c
        query = select(import_item).where(mine.source_id == source_id, mine.kind == APP)
        async with reading(self._db) as conn:
            found = [item_of(row) for row in await conn.execute(query)]
            others = await made_since(conn, source_id, APP, {one.new_id for one in found})
        return [one for one in found if one.new_id not in others]

    async def load(self, source_id: int, items: Sequence[Item]) -> dict[int, Job]:
        """Those of these jobs of a source that are here: another job may have the id of one that was deleted."""
        found = await self._jobs.load([one.new_id for one in items])
        async with reading(self._db) as conn:
            others = await made_since(conn, source_id, JOB, found)
        return {job_id: one for job_id, one in found.items() if job_id not in others}

    async def edited(self, jobs: Mapping[int, Job], imported: Mapping[int, int]) -> list[int]:
        """Those that say something else than at the version that was imported; a move to another part says nothing."""
        moved = sorted(
            one for one, version in imported.items() if one in jobs and jobs[one].version != version
        )
        same: set[int] = set()
        for start in range(0, len(moved), AT_ONCE):
            some = moved[start : start + AT_ONCE]
            query = select(job_version).where(
                job_version.c.job_id.in_(some), job_version.c.version.in_({imported[one] for one in some})
            )
            async with reading(self._db) as conn:
                rows = (await conn.execute(query)).all()
            for row in rows:
                now = jobs[row.job_id]
                if row.version == imported[row.job_id] and _says_the_same(job_at(row, now), now):
                    same.add(row.job_id)
        return [one for one in moved if one not in same]

    async def apps_without_executors(self, app_ids: Collection[int]) -> list[str]:
        """Those of these apps whose runs would find nobody, by appname."""
        alive = select(executor.c.app_id).where(
            executor.c.gone == 0, executor.c.last_beat_ms > self._clock.now_ms() - DEAD_AFTER_MS
        )
        apps = select(app.c.id, app.c.appname, app.c.address_mode, app.c.addresses)
        async with reading(self._db) as conn:
            beating = set((await conn.execute(alive)).scalars())
            rows = [row for row in await conn.execute(apps) if row.id in app_ids]
        return sorted(
            row.appname
            for row in rows
            if not (
                split_addresses(row.addresses)
                if row.address_mode == AddressMode.MANUAL
                else row.id in beating
            )
        )

    # ------------------------------------------------------------ there

    async def done_here(self, starts: Sequence[Start]) -> dict[int, int]:
        """Up to where jobs have rows of slots from an earlier time on this scheduler."""
        found: dict[int, int] = {}
        for begin in range(0, len(starts), AT_ONCE):
            async with reading(self._db) as conn:
                found |= await done_here(conn, starts[begin : begin + AT_ONCE])
        return found

    async def register(self, executors: Sequence[Executor]) -> None:
        """As registered now; one that has beaten here itself stays as it is."""
        async with reading(self._db) as conn:
            known = set(
                await conn.execute(select(executor.c.app_id, executor.c.address).where(executor.c.gone == 0))
            )
        new = [one for one in executors if (one.app_id, one.address) not in known]
        await self._apps.save_executors(new, [])

    async def enable(self, source: ImportedSource, starts: Sequence[Start]) -> list[int]:
        """In one transaction; the ids of those that were. One that was changed since it was read stays as it is.

        Raises `Refused` where the import is not whole any more.
        """
        ids = sorted(one.job.id for one in starts)

        async def body(conn: AsyncConnection) -> list[int]:
            now_ms = self._clock.now_ms()
            await _demand(conn, source)
            locked = await lock(conn, ids)
            going = [one for one in starts if locked.get(one.job.id) == (one.job.version, False)]
            if not going:
                return []
            done = await done_here(conn, going)
            new = [enabled(one, done.get(one.job.id, 0), now_ms) for one in going]
            await self._write(conn, new, f"cut over from {source.name}", await since_when(conn, new, AUTHOR))
            moved = [one for one in going if one.anchor_ms != one.job.anchor_ms]
            await update_each(conn, job, [{"id": one.job.id, "anchor_ms": one.anchor_ms} for one in moved])
            for one in new:
                if is_chained(one):
                    await chains.carry_over(conn, one, ())
            await note_items(conn, source.id, {one.old_key: one.job.version + 1 for one in going}, live=True)
            return [one.id for one in new]

        return await transact(self._db, self._clock, body)

    async def mark(self, source: ImportedSource, cutover_ms: int) -> None:
        """Say when its jobs were given to this scheduler; 0: they are not."""

        async def body(conn: AsyncConnection) -> None:
            mine = import_source.c.id == source.id
            await conn.execute(update(import_source).where(mine).values(cutover_ms=cutover_ms))

        await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ both ways

    async def _write(
        self, conn: AsyncConnection, new: Sequence[Job], why: str, since: Mapping[int, int] | None = None
    ) -> None:
        """Jobs that have been switched, all the same way and at one time; their rows are locked.

        `since`: from when on their slots are those of the new version, where that is not now.
        """
        enabled, now_ms = new[0].enabled, new[0].updated_ms
        changes = {"enabled": enabled, "version": job.c.version + 1, "updated_ms": now_ms}
        await conn.execute(update(job).where(job.c.id.in_([one.id for one in new])).values(changes))
        since = since or {}
        versions = [version_row(one) | {"created_ms": since.get(one.id, now_ms)} for one in new]
        await conn.execute(insert(job_version), versions)
        columns = ("version", "enabled", "next_fire_at")
        await conn.execute(upsert(self._db, job_next_fire, update=columns), [fire_row(one) for one in new])
        told = [(one.id, one.name, f"version {one.version}: {why}") for one in new]
        await note(conn, now_ms, Source.JOB, "enabled" if enabled else "disabled", told)


def _says_the_same(then: Job, now: Job) -> bool:
    return (then.name, then.enabled, definition_of(then)) == (now.name, now.enabled, definition_of(now))


async def lock(conn: AsyncConnection, ids: Sequence[int]) -> dict[int, tuple[int, bool]]:
    """Version and whether it is enabled, by id."""
    query = select(job.c.id, job.c.version, job.c.enabled).where(job.c.id.in_(ids))
    rows = await conn.execute(query.order_by(job.c.id).with_for_update())
    found = {row.id: (row.version, bool(row.enabled)) for row in rows}
    fires = select(job_next_fire.c.job_id).where(job_next_fire.c.job_id.in_(ids))
    await conn.execute(fires.order_by(job_next_fire.c.job_id).with_for_update())
    return found


async def _demand(conn: AsyncConnection, source: ImportedSource) -> None:
    """It is there, and stays so. Raises `Refused`."""
    mine = import_source.c
    query = select(mine.log_done).where(mine.id == source.id).with_for_update()
    found = (await conn.execute(query)).scalar_one_or_none()
    if found is None:
        raise Refused(f"the import of {source.name} has been undone")
    if found == UNDONE_IN_PART:
        raise Refused(undone_in_part(source.name))


async def note_items(
    conn: AsyncConnection, source_id: int, versions: Mapping[str, int], *, live: bool
) -> None:
    rows = [
        {"source_id": source_id, "kind": JOB, "old_key": key, "version": number, "live": int(live)}
        for key, number in versions.items()
    ]
    await update_each(conn, import_item, rows)
