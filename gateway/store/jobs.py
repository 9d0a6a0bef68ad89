"""Jobs. A change and all it causes (version, next fire, rows planned ahead) are one transaction.

Locks are taken in the order app → calendar → job → next fire → run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, insert, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, GatewayError, InvalidValue, NotFound
from gateway.core.events import Source
from gateway.core.listing import JobFilter, Page
from gateway.core.model import Job
from gateway.core.ports import DueJob, IdSource
from gateway.core.versions import changes
from gateway.store import chains, cursors
from gateway.store.days import DaysReader
from gateway.store.definitions import definition_of, definition_text, job_of
from gateway.store.deleted import REASON, bury, end_waiting
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.ids import IdsTaken
from gateway.store.ids import Sequence as IdSequence
from gateway.store.job_calendars import drop_others, other_rows, store_others
from gateway.store.job_rows import fire_row, insert_jobs, job_and_version, new_job, next_version
from gateway.store.links import drop_links, lock_links, store_links
from gateway.store.next_fires import replanned, scheduled, take_back
from gateway.store.pauses import covered_by
from gateway.store.tables import app, job, job_calendar, job_next_fire, job_version
from gateway.store.transact import reading, transact
from gateway.store.wished_ids import ids_for

_CHUNK = 500
_SLICE = 100
_NAMES = 5000  # each look reads all jobs of the apps
_TRIES = 3
_OF_FIRE = tuple(job_next_fire.c[name] for name in ("next_fire_at", "fired", "chain_run_id", "edition"))
_PARTS = job_next_fire.c.part.in_(bindparam("parts", expanding=True, literal_execute=True))


class JobStore:
    """Implements `core.catalog.JobCatalog` and `core.ports.JobReader`."""

    def __init__(self, db: Database, clock: Clock, ids: IdSequence, run_ids: IdSource) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._run_ids = run_ids
        self._days = DaysReader()

    # ------------------------------------------------------------ reading

    async def get(self, job_id: int) -> Job:
        found = await self.load([job_id])
        if job_id not in found:
            raise NotFound("job", job_id)
        return found[job_id]

    async def load(self, job_ids: Collection[int]) -> dict[int, Job]:
        wanted = sorted(job_ids)
        found: dict[int, Job] = {}
        async with reading(self._db) as conn:
            for start in range(0, len(wanted), _CHUNK):
                rows = await conn.execute(
                    jobs_with_fires().where(job.c.id.in_(wanted[start : start + _CHUNK]))
                )
                some = await self._days.attach(conn, [job_of(row) for row in rows])
                found.update((one.id, one) for one in some)
        return found

    async def due(self, before_ms: int, limit: int, parts: Collection[int]) -> list[DueJob]:
        fire = job_next_fire.c
        query = (
            select(fire.job_id, fire.version, fire.next_fire_at, fire.fired)
            # As many short seeks in the index as there are parts, instead of a scan.
            .where(_PARTS, fire.next_fire_at < before_ms, fire.enabled == 1)
            .order_by(fire.next_fire_at, fire.job_id)
            .limit(limit)
            # With stale statistics, or many jobs due, MySQL would rather walk the whole table.
            .with_hint(job_next_fire, "FORCE INDEX (ix_job_next_fire_part_next_fire_at)", "mysql")
        )
        async with reading(self._db) as conn:
            return [DueJob(*row) for row in await conn.execute(query, {"parts": sorted(parts)})]

    async def page(self, wanted: JobFilter, *, cursor: str | None, limit: int) -> Page[Job]:
        after = 0 if cursor is None else cursors.decode("j", cursor)
        query = jobs_with_fires().where(job.c.namespace_id == wanted.namespace_id, job.c.id > after)
        if wanted.app_id is not None:
            query = query.where(job.c.app_id == wanted.app_id)
        if wanted.name is not None:
            query = query.where(func.lower(job.c.name).contains(wanted.name.lower(), autoescape=True))
        if wanted.enabled is not None:
            query = query.where(job.c.enabled == wanted.enabled)
        if wanted.has_next is not None:
            is_over = and_(job_next_fire.c.next_fire_at.is_(None), job_next_fire.c.chain_run_id == 0)
            query = query.where(not_(is_over) if wanted.has_next else is_over)
        if wanted.paused is not None:
            is_paused = covered_by(wanted.pauses)
            query = query.where(is_paused if wanted.paused else not_(is_paused))
        async with reading(self._db) as conn:
            rows = await conn.execute(query.order_by(job.c.id).limit(limit + 1))
            jobs = await self._days.attach(conn, [job_of(row) for row in rows])
        return cursors.page_of(jobs, limit, lambda last: cursors.encode("j", last.id))

    async def mend_chains(self, parts: Collection[int]) -> list[int]:
        async with reading(self._db) as conn:
            found = await chains.unended(conn, parts)

        async def body(conn: AsyncConnection) -> list[int]:
            now_ms = self._clock.now_ms()
            ends = [(job_id, link, ended_ms or now_ms) for job_id, link, ended_ms in sorted(found)]
            return [one[0] for one in ends if await chains.end(conn, *one)]

        return await transact(self._db, self._clock, body) if found else []

    # ------------------------------------------------------------ changing

    async def create(
        self,
        jobs: Sequence[Job],
        wishes: Sequence[int | None] = (),
        *,
        known: Collection[int] | None = None,
    ) -> list[Job]:
        for _ in range(_TRIES):
            try:
                if any(wishes):
                    wished = await ids_for(self._db, self._clock, self._ids, wishes)
                    return await self._create(jobs, wished, known)
                return await self._create(jobs, await self._ids.draw(len(jobs)), known)
            except IdsTaken:
                self._ids.drop_reserve()
        raise Conflict("jobs with ids of their own are being made at this moment: try again")

    async def _create(
        self, jobs: Sequence[Job], ids: Sequence[int], known: Collection[int] | None
    ) -> list[Job]:
        now_ms = self._clock.now_ms()
        async with reading(self._db) as conn:
            jobs = await self._days.find(conn, jobs)
        apps = sorted({one.app_id for one in jobs})
        limited = await self._limited(apps)
        made: list[Job] = []
        # All that can be done before the transaction is; in slices, for runs may be due meanwhile.
        slices: list[tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]] = []
        for start in range(0, len(jobs), _SLICE):
            pairs = zip(jobs[start : start + _SLICE], ids[start : start + _SLICE], strict=True)
            some = [new_job(one, job_id, now_ms, limited=one.app_id in limited) for one, job_id in pairs]
            rows, versions = zip(*map(job_and_version, some), strict=True)
            slices.append(([*rows], [*versions], [*map(fire_row, some)]))
            made.extend(some)
            await self._clock.sleep(0)
        other_calendars = other_rows(made)
        parents = [(index, one) for index, one in enumerate(made) if one.children]

        async def body(conn: AsyncConnection) -> None:
            if parents:
                await lock_links(conn)
            # Locked, so that no app is deleted under its new jobs, or moves them to another part; and so that of two
            # who make the same jobs one sees those of the other.
            locked = await conn.execute(_limits(apps).order_by(app.c.id).with_for_update())
            found = {row.id: bool(row.limited) for row in locked}
            if missing := sorted(set(apps) - found.keys()):
                raise Conflict(f"app {missing[0]} was deleted at this moment")
            if {app_id for app_id, is_limited in found.items() if is_limited} != limited:
                raise Conflict("the limits of the app were changed at this moment: try again")
            if known is not None:
                await _refuse_namesakes(conn, jobs, known)
            locked_jobs = await self._days.lock(conn, jobs)
            if any(one.days != now.days for one, now in zip(jobs, locked_jobs, strict=True)):
                raise Conflict("a calendar was changed at this moment: try again")
            for job_rows, version_rows, fire_rows in slices:
                await insert_jobs(conn, job_rows, version_rows, fire_rows)
                if other_calendars:
                    await conn.execute(insert(job_calendar), other_calendars)
                created = [(row["id"], row["name"], "version 1") for row in job_rows]
                await note(conn, now_ms, Source.JOB, "created", created)
            for index, one in parents:
                await store_links(conn, None, one, within=f"jobs[{index}]." if len(made) > 1 else "")

        await transact(self._db, self._clock, body)
        return made

    async def _limited(self, app_ids: Collection[int]) -> set[int]:
        async with reading(self._db) as conn:
            return {row.id for row in await conn.execute(_limits(app_ids)) if row.limited}

    async def update(self, changed: Job) -> Job:
        async def body(conn: AsyncConnection) -> Job:
            if changed.children:
                await lock_links(conn)
            (wanted,) = await self._days.lock(conn, [changed])
            old = await self.locked(conn, changed.id)
            if old.version != changed.version:
                raise Conflict(
                    f"job {old.id} was changed meanwhile: it is at version {old.version}, not {changed.version}"
                )
            return old if is_same(old, changed) else await self.store_change(conn, old, wanted)

        await self._run_ids.refill()
        return await transact(self._db, self._clock, body)

    async def set_enabled(self, job_id: int, *, enabled: bool) -> Job:
        async def body(conn: AsyncConnection) -> Job:
            return await self._switch(conn, job_id, enabled=enabled)

        await self._run_ids.refill()
        return await transact(self._db, self._clock, body)

    async def set_enabled_all(
        self, job_ids: Sequence[int], *, enabled: bool
    ) -> dict[int, bool | GatewayError]:
        async def one(conn: AsyncConnection, job_id: int) -> bool:
            before = (await conn.execute(select(job.c.version).where(job.c.id == job_id))).scalar()
            return (await self._switch(conn, job_id, enabled=enabled)).version != before

        return await self._each(job_ids, one)

    async def delete(self, job_id: int, *, keep_history: bool = False) -> None:
        async def body(conn: AsyncConnection) -> None:
            await self._remove(conn, job_id, keep_history=keep_history)

        await self._run_ids.refill()
        await transact(self._db, self._clock, body)

    async def delete_all(
        self, job_ids: Sequence[int], *, keep_history: bool = False
    ) -> dict[int, bool | GatewayError]:
        async def one(conn: AsyncConnection, job_id: int) -> bool:
            await self._remove(conn, job_id, keep_history=keep_history)
            return True

        return await self._each(job_ids, one)

    # ------------------------------------------------------------ pieces

    async def _each(
        self, job_ids: Sequence[int], one: Callable[[AsyncConnection, int], Awaitable[bool]]
    ) -> dict[int, bool | GatewayError]:
        """Do it with each, in one transaction; `one` raises before it writes anything."""

        async def body(conn: AsyncConnection) -> dict[int, bool | GatewayError]:
            # All of them first: the order of locks is that of a change of one job.
            for table, key in ((job, job.c.id), (job_next_fire, job_next_fire.c.job_id)):
                locking = select(key).select_from(table).where(key.in_(sorted(job_ids))).order_by(key)
                await conn.execute(locking.with_for_update())
            done: dict[int, bool | GatewayError] = {}
            for job_id in sorted(job_ids):
                try:
                    done[job_id] = await one(conn, job_id)
                except (NotFound, InvalidValue) as error:
                    done[job_id] = error
            return done

        await self._run_ids.refill()
        return await transact(self._db, self._clock, body)

    async def _switch(self, conn: AsyncConnection, job_id: int, *, enabled: bool) -> Job:
        old = await self.locked(conn, job_id)
        if old.enabled == enabled:
            return old
        return await self.store_change(conn, old, replace(old, enabled=enabled))

    async def _remove(self, conn: AsyncConnection, job_id: int, *, keep_history: bool) -> None:
        old = await self.locked(conn, job_id)
        now_ms = self._clock.now_ms()
        open_run = await chains.open_run(conn, old)
        await bury(conn, old, now_ms, keep_history=keep_history, open_run=open_run)
        await note(conn, now_ms, Source.JOB, "deleted", [(job_id, old.name, f"at version {old.version}")])
        await take_back(conn, old, now_ms, REASON, self._run_ids)
        await end_waiting(conn, old, now_ms)
        await drop_links(conn, job_id)
        await drop_others(conn, job_id)

    async def locked(self, conn: AsyncConnection, job_id: int) -> Job:
        """The job as it is now, its rows locked, `job` before `job_next_fire`. Raises `NotFound`."""
        mine = (await conn.execute(select(job).where(job.c.id == job_id).with_for_update())).mappings()
        row = mine.first()
        if row is None:
            raise NotFound("job", job_id)
        query = select(*_OF_FIRE).where(job_next_fire.c.job_id == job_id).with_for_update()
        fire = (await conn.execute(query)).mappings().one()
        (found,) = await self._days.attach(conn, [job_of(SimpleNamespace(**row, **fire))])
        return found

    async def days_of(self, conn: AsyncConnection, jobs: Sequence[Job]) -> list[Job]:
        """With the days of their calendars, which are locked."""
        return await self._days.lock(conn, jobs)

    async def store_change(
        self, conn: AsyncConnection, old: Job, changed: Job, *, with_links: bool = True
    ) -> Job:
        """A new version of a job whose rows are locked. Without its links, they are the caller's to write."""
        now_ms = self._clock.now_ms()
        same_schedule = (old.schedule, old.timing.bounds) == (changed.schedule, changed.timing.bounds)
        same_slots = same_schedule and old.enabled == changed.enabled
        new = next_version(old, changed, now_ms)
        if same_slots and old.next_fire_at is not None and old.next_fire_at <= now_ms:
            # Slots that are due but not planned yet are the planner's, who judges them by the new version.
            new = replace(new, next_fire_at=old.next_fire_at)
        else:
            # One that is switched off needs no slot any more, so a schedule that is over keeps nobody from it.
            new = scheduled(new, now_ms, may_end=same_slots or (same_schedule and not new.enabled))
        # A chain's slot that is due and not planned is the next one of the chain that goes on.
        is_kept = same_slots or (is_chained(old) and is_chained(new) and new.enabled)
        reason = "" if is_kept else f"the job was {'changed' if new.enabled else 'disabled'}"
        open_run = await chains.open_run(conn, old)
        new, removed = await replanned(conn, old, new, now_ms, reason, self._run_ids)
        row, its_version = job_and_version(new, open_run)
        fire = fire_row(new)
        await conn.execute(update(job).where(job.c.id == old.id).values(row))
        await conn.execute(update(job_next_fire).where(job_next_fire.c.job_id == old.id).values(fire))
        await conn.execute(insert(job_version).values(its_version))
        await note(conn, now_ms, Source.JOB, *_told(old, new))
        if with_links and old.children != new.children:
            await store_links(conn, old, new)
        await store_others(conn, old, new)
        if is_chained(new):
            new = replace(new, next_fire_at=await chains.carry_over(conn, new, removed))
        return new


def jobs_with_fires() -> Select[Any]:
    return select(job, *_OF_FIRE).join(job_next_fire, job_next_fire.c.job_id == job.c.id)


async def _refuse_namesakes(conn: AsyncConnection, jobs: Sequence[Job], known: Collection[int]) -> None:
    """Raises `Conflict` where a job is there that has the app and name of one of these, and is not known."""
    wanted = {(one.app_id, one.name) for one in jobs}
    apps, names = ({*column} for column in zip(*wanted, strict=True))
    ordered = sorted(names)
    for start in range(0, len(ordered), _NAMES):
        some = job.c.name.in_(ordered[start : start + _NAMES])
        there = select(job.c.id, job.c.app_id, job.c.name).where(job.c.app_id.in_(sorted(apps)), some)
        for row in await conn.execute(there.order_by(job.c.id)):
            if (row.app_id, row.name) in wanted and row.id not in known:
                raise Conflict(f"there is a job {row.name!r} of this app already, job {row.id}")


def is_same(old: Job, changed: Job) -> bool:
    return (old.name, old.enabled, definition_text(old)) == (
        changed.name,
        changed.enabled,
        definition_text(changed),
    )


def _told(old: Job, new: Job) -> tuple[str, list[tuple[object, str, str]]]:
    """The reason of the event of this change, and its one source."""
    found = [one.field for one in changes(definition_of(old), definition_of(new))]
    if old.name != new.name:
        found.insert(0, "name")
    reason = "changed"
    if old.enabled != new.enabled:
        reason = "enabled" if new.enabled else "disabled"
    text = f"version {new.version}" + (f": {', '.join(found)}" if found else "")
    return reason, [(new.id, new.name, text)]


def _limits(app_ids: Collection[int]) -> Select[Any]:
    """Apps, and whether they have a limit."""
    limited = or_(app.c.max_running.is_not(None), app.c.starts_per_second.is_not(None))
    return select(app.c.id, limited.label("limited")).where(app.c.id.in_(app_ids))
