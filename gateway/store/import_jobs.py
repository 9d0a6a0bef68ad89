"""The jobs of an import, in its transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.errors import Conflict
from gateway.core.events import Source
from gateway.core.model import Job
from gateway.core.schedule import parse_schedule
from gateway.store.app_parts import part_for
from gateway.store.definitions import job_of
from gateway.store.events import note
from gateway.store.ids import IdsTaken
from gateway.store.import_apps import AGAIN
from gateway.store.job_rows import fire_row, insert_jobs, job_and_version, next_version
from gateway.store.jobs import JobStore, is_same, jobs_with_fires
from gateway.store.links import follow_links
from gateway.store.many import update_each
from gateway.store.next_fires import scheduled
from gateway.store.tables import deleted_job, job, job_link, job_next_fire, job_version

_CHUNK = 500
_SLICE = 100


@dataclass(frozen=True, slots=True)
class JobImport:
    """`is_new`: to be made with this id; `changes`: to be given what `job` says, whose version is the one that is there.

    `history`: versions before it, oldest first. `old_id`: what the source calls it.
    """

    job: Job
    old_id: int
    digest: str
    wants_enabled: bool
    is_new: bool = False
    changes: bool = False
    history: tuple[Job, ...] = ()

    @property
    def keeps(self) -> bool:
        return not self.is_new and not self.changes


@dataclass(frozen=True, slots=True)
class Ready:
    """New jobs as rows, in slices of a hundred: of the jobs, all their versions, their next fires."""

    ids: list[int] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    slices: list[tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]] = field(
        default_factory=list
    )
    links: list[dict[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Versions:
    """`numbers`: by id, the version at which each job is that was made or is to be updated."""

    numbers: dict[int, int]
    changed: list[int]
    notes: list[str]


async def prepared(jobs: Sequence[JobImport], limited: Collection[int], now_ms: int, clock: Clock) -> Ready:
    """All that can be done before the transaction."""
    ready = Ready()
    new = sorted((one for one in jobs if one.is_new), key=lambda one: one.job.id)
    for start in range(0, len(new), _SLICE):
        rows: tuple[list[dict[str, Any]], ...] = ([], [], [])
        for one in new[start : start + _SLICE]:
            made = _made(one, now_ms, limited=one.job.app_id in limited)
            its_row, its_version = _dated(made, now_ms)
            rows[0].append(its_row)
            rows[1].extend(_dated(_as_before(made, *pair), now_ms)[1] for pair in enumerate(one.history, 1))
            rows[1].append(its_version)
            rows[2].append(fire_row(made))
            ready.ids.append(made.id)
            ready.numbers[made.id] = made.version
            ready.links.extend({"parent_id": made.id, "child_id": child.job_id} for child in made.children)
        ready.slices.append((rows[0], rows[1], rows[2]))
        await clock.sleep(0)
    return ready


def _made(one: JobImport, now_ms: int, *, limited: bool) -> Job:
    """Disabled: it is the old scheduler's until it is cut over. One whose schedule is over is kept for its text."""
    parse_schedule(one.job.schedule, anchor_ms=one.job.anchor_ms)
    return replace(
        one.job,
        enabled=False,
        part=part_for(one.job.id, one.job.app_id, limited=limited),
        version=len(one.history) + 1,
        anchor_ms=one.job.anchor_ms or now_ms,
        next_fire_at=None,
        created_ms=_past(one.job.created_ms, now_ms),
        updated_ms=_past(one.job.updated_ms, now_ms),
    )


def _past(at_ms: int, now_ms: int) -> int:
    return at_ms if 0 < at_ms < now_ms else now_ms


def _dated(made: Job, now_ms: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A job was changed when it was in the source; its versions are of this moment: none was in force here before."""
    its_row, its_version = job_and_version(made)
    return its_row, its_version | {"created_ms": now_ms}


def _as_before(made: Job, number: int, before: Job) -> Job:
    """No version of before the import was ever in force here: it had no slots."""
    return replace(
        before,
        id=made.id,
        version=number,
        enabled=False,
        anchor_ms=made.anchor_ms,
    )


async def write_jobs(
    conn: AsyncConnection, store: JobStore, source: str, jobs: Sequence[JobImport], ready: Ready, now_ms: int
) -> Versions:
    """The apps are locked. A cycle of jobs stays one: the source has it as well."""
    updates = sorted((one for one in jobs if one.changes), key=lambda one: one.job.id)
    new = set(ready.ids)
    children = {child.job_id for one in jobs if not one.keeps for child in one.job.children} - new
    await _lock(conn, sorted(children.union(one.job.id for one in updates)), children)
    if new:
        await _insert(conn, ready)
        old_ids = {one.job.id: one.old_id for one in jobs if one.is_new}
        told = [
            (row["id"], row["name"], f"version {row['version']}: job {old_ids[row['id']]} of {source}")
            for rows, _, _ in ready.slices
            for row in rows
        ]
        await note(conn, now_ms, Source.JOB, "imported", told)
    found = Versions(dict(ready.numbers), [], [])
    # In portions: a server ends a transaction whose client thinks about ten thousand jobs before it says the next word.
    for start in range(0, len(updates), _CHUNK):
        await _change(conn, store, source, updates[start : start + _CHUNK], found, now_ms)
    return found


async def _change(
    conn: AsyncConnection,
    store: JobStore,
    source: str,
    updates: Sequence[JobImport],
    found: Versions,
    now_ms: int,
) -> None:
    """What has nothing planned is changed at once, all else as an edit changes it."""
    there = await _there(conn, [one.job.id for one in updates])
    plain: list[Job] = []
    dates: list[dict[str, int]] = []
    for one in updates:
        old = there[one.job.id]
        if old.version != one.job.version:
            raise Conflict(
                f"job {old.id} was changed: it is at version {old.version}, not {one.job.version}: {AGAIN}"
            )
        if old.app_id != one.job.app_id:
            found.notes.append(f"job {old.id}: it stays in its app here: no edit moves a job to another")
        found.numbers[old.id] = old.version
        if is_same(old, one.job):
            if one.job.updated_ms and not old.enabled:
                dates.append({"id": old.id, "updated_ms": _past(one.job.updated_ms, now_ms)})
            continue
        found.numbers[old.id] = old.version + 1
        found.changed.append(old.id)
        if _is_at_rest(old) and _is_at_rest(one.job):
            plain.append(_at_rest(old, one.job, now_ms))
        else:
            old = await store.locked(conn, old.id)
            changed = replace(one.job, namespace_id=old.namespace_id, app_id=old.app_id)
            (wanted,) = await store.days_of(conn, [changed])
            await store.store_change(conn, old, wanted, with_links=False)
        await follow_links(conn, old, one.job)
    await update_each(conn, job, dates)
    if plain:
        await _update(conn, plain, now_ms)
        told = [(one.id, one.name, f"version {one.version}: updated from {source}") for one in plain]
        await note(conn, now_ms, Source.JOB, "imported", told)


async def _lock(conn: AsyncConnection, ids: Sequence[int], children: Collection[int]) -> None:
    found: set[int] = set()
    for table, key in ((job, job.c.id), (job_next_fire, job_next_fire.c.job_id)):
        for start in range(0, len(ids), _CHUNK):
            mine = select(key).select_from(table).where(key.in_(ids[start : start + _CHUNK])).order_by(key)
            found.update((await conn.execute(mine.with_for_update())).scalars())
    for job_id in ids:
        if job_id not in found:
            what = ", a child of another," if job_id in children else ""
            raise Conflict(f"job {job_id}{what} is not here any more: {AGAIN}")


async def _there(conn: AsyncConnection, ids: Sequence[int]) -> dict[int, Job]:
    """Jobs whose rows are locked, without the days of their calendars."""
    query = jobs_with_fires().where(job.c.id.in_(ids))
    return {row.id: job_of(row) for row in await conn.execute(query)}


async def _insert(conn: AsyncConnection, ready: Ready) -> None:
    for start in range(0, len(ready.ids), _CHUNK):
        some = ready.ids[start : start + _CHUNK]
        for key in (job.c.id, deleted_job.c.job_id):
            taken = (await conn.execute(select(key).where(key.in_(some)).order_by(key).limit(1))).scalar()
            if taken is not None:
                raise Conflict(f"the id {taken} is another job's: {AGAIN}")
    try:
        for rows in ready.slices:
            await insert_jobs(conn, *rows)
    except IdsTaken:
        raise Conflict(f"a job with one of these ids was made at this moment: {AGAIN}") from None
    for start in range(0, len(ready.links), _CHUNK):
        await conn.execute(insert(job_link), ready.links[start : start + _CHUNK])


def _is_at_rest(one: Job) -> bool:
    """Nothing is planned for it, and nothing beside its rows has to follow a change of it."""
    timing = one.timing
    return not (one.enabled or is_chained(one) or timing.calendars or timing.window.max_fires)


def _at_rest(old: Job, changed: Job, now_ms: int) -> Job:
    new = next_version(old, changed, now_ms)
    new = replace(new, updated_ms=_past(changed.updated_ms, now_ms), fired=0)
    return scheduled(new, now_ms, may_end=True)


async def _update(conn: AsyncConnection, changed: Sequence[Job], now_ms: int) -> None:
    """What takes a second that way takes a minute one by one."""
    rows = [_dated(one, now_ms) for one in changed]
    await update_each(conn, job, [its_row for its_row, _ in rows])
    await update_each(conn, job_next_fire, [fire_row(one) for one in changed])
    await conn.execute(insert(job_version), [its_version for _, its_version in rows])
