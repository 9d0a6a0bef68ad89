"""Lists by position."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.model import BROADCAST_PARENT, DEFAULT_NAMESPACE, App, Job, Run
from gateway.core.positions import (
    MAX_TEXT,
    AppSearch,
    DayEnds,
    JobSearch,
    LogStatus,
    RunSearch,
    Slice,
    Window,
)
from gateway.core.states import FINAL, IN_FLIGHT, RunState
from gateway.store.apps import app_of
from gateway.store.definitions import job_of
from gateway.store.engine import Database
from gateway.store.jobs import jobs_with_fires
from gateway.store.run_rows import COLUMNS, run_of
from gateway.store.runs import ALL_PARTS, OPEN_INDEX
from gateway.store.tables import app, job, run
from gateway.store.transact import reading

EXAMINED = 100_000
"""A page of runs reaches back so far, of one job or of all."""

_STATES = {
    None: frozenset(RunState) - {RunState.PLANNED, RunState.SKIPPED},
    LogStatus.SUCCEEDED: frozenset({RunState.SUCCEEDED}),
    LogStatus.FAILED: FINAL - {RunState.SUCCEEDED, RunState.SKIPPED},
    LogStatus.RUNNING: frozenset({RunState.RUNNING, RunState.STOPPING}),
}
_SLACK = 200
"""Ids of runs are drawn when they are planned, some seconds ahead: so far may one be from its place by time."""

_CHUNK = 100
_SLICE = 100
_AT_ONCE = 300
_MOST_JOBS = 200
_BEYOND = 1 << 62


class PositionStore:
    """Implements `core.positions.Positions`."""

    def __init__(self, db: Database, clock: Clock, examined: int = EXAMINED, few: int = 1000) -> None:
        self._db = db
        self._clock = clock
        self._examined = examined
        self._few = few

    async def jobs(self, search: JobSearch, window: Window) -> Slice[Job]:
        if search.app_ids is not None and not search.app_ids:
            return Slice(0, ())
        guards = _guards(search)
        if search.handler or search.author or not _is_told_by_sql(search.name):
            return await self._filtered(search, guards, window)
        async with reading(self._db) as conn:
            count = select(func.count()).select_from(job).where(*guards)
            total = (await conn.execute(count)).scalar_one()
            query = jobs_with_fires().where(*guards).order_by(job.c.id.desc())
            found, size = list[Job](), 0
            offset, below = window.start, _BEYOND
            while len(found) < window.length and size < MAX_TEXT:
                await self._clock.sleep(0)  # runs may be due meanwhile
                some = query.where(job.c.id < below).offset(offset)
                rows = (await conn.execute(some.limit(min(window.length - len(found), _SLICE)))).all()
                found += [job_of(row) for row in rows]
                if len(rows) < _SLICE:
                    break
                size += sum(map(_size, found[-len(rows) :]))
                offset, below = 0, found[-1].id
        return Slice(total, found)

    async def _filtered(
        self, search: JobSearch, guards: list[ColumnElement[bool]], window: Window
    ) -> Slice[Job]:
        """What stands within the definition is found in its text first, which says too much, and then in the job."""
        guards.extend(
            _has(job.c.definition, json.dumps(text)[1:-1])
            for text in (search.handler, search.author)
            if text.isascii()
        )
        name, handler, author = search.name.lower(), search.handler.lower(), search.author.lower()
        total, size, before = 0, 0, 1 << 31
        found: list[Job] = []
        async with reading(self._db) as conn:
            while True:
                query = (
                    jobs_with_fires()
                    .where(*guards, job.c.id < before)
                    .order_by(job.c.id.desc())
                    .limit(_CHUNK)
                )
                some = [job_of(row) for row in await conn.execute(query)]
                for one in some:
                    if (
                        handler in one.task.handler.lower()
                        and author in one.contact.author.lower()
                        and name in one.name.lower()
                    ):
                        if window.start <= total < window.start + window.length and size < MAX_TEXT:
                            found.append(one)
                            size += _size(one)
                        total += 1
                if len(some) < _CHUNK:
                    return Slice(total, found)
                before = some[-1].id

    async def apps(self, search: AppSearch, window: Window) -> Slice[App]:
        if search.app_ids is not None and not search.app_ids:
            return Slice(0, ())
        guards: list[ColumnElement[bool]] = [app.c.namespace_id == DEFAULT_NAMESPACE]
        if search.app_ids is not None:
            guards.append(app.c.id.in_(sorted(search.app_ids)))
        if search.appname:
            guards.append(_has(app.c.appname, search.appname))
        if search.title:  # one without a title goes by its name
            untitled = and_(app.c.title == "", _has(app.c.appname, search.title))
            guards.append(or_(_has(app.c.title, search.title), untitled))
        order = (app.c.appname, app.c.title, app.c.id)
        if not _is_told_by_sql(search.title):
            async with reading(self._db) as conn:
                rows = await conn.execute(select(app).where(*guards).order_by(*order))
                found = [app_of(row) for row in rows if search.title.lower() in row.title.lower()]
            return Slice(len(found), found[window.start : window.start + window.length])
        async with reading(self._db) as conn:
            count = select(func.count()).select_from(app).where(*guards)
            total = (await conn.execute(count)).scalar_one()
            query = select(app).where(*guards).order_by(*order)
            rows = await conn.execute(query.offset(window.start).limit(window.length))
            return Slice(total, [app_of(row) for row in rows])

    async def runs(self, search: RunSearch, window: Window) -> Slice[Run]:
        if search.app_ids is not None and not search.app_ids:
            return Slice(0, ())
        async with reading(self._db) as conn:
            guards, total = await self._reached(conn, search)
            lead = min(window.start, _SLACK)
            query = select(*COLUMNS).where(*guards).order_by(run.c.id.desc())
            found, wanted, size = list[Run](), lead + window.length + _SLACK, 0
            offset, below = window.start - lead, _BEYOND
            while len(found) < wanted and size < MAX_TEXT:
                some = query.where(run.c.id < below).offset(offset).limit(min(wanted - len(found), _AT_ONCE))
                runs = [run_of(row) for row in (await conn.execute(some)).mappings()]
                found += runs
                if len(runs) < _AT_ONCE:
                    break
                size += sum(len(text or "") for one in runs for text in (one.params, one.message, one.reason))
                offset, below = 0, runs[-1].id
        found.sort(key=lambda one: (one.trigger_ms or one.due_ms, one.id), reverse=True)
        return Slice(total, found[lead : lead + window.length])

    async def _reached(
        self, conn: AsyncConnection, search: RunSearch
    ) -> tuple[list[ColumnElement[bool]], int]:
        """What bounds the search, and how many runs it finds.

        Where few of the newest runs of all are of these apps, as many as that of their own jobs are looked at.
        """
        guards = _run_guards(search)
        of_job = [run.c.job_id == search.job_id] if search.job_id else []
        floor = await _floor(conn, self._examined, *of_job)
        near = [*guards, run.c.id >= floor]
        total = await _count(conn, near)
        if search.app_ids is None or search.job_id or not floor or total >= self._few:
            return near, total
        known = select(job.c.id).where(job.c.app_id.in_(sorted(search.app_ids)))
        job_ids = set((await conn.execute(known.limit(_MOST_JOBS + 1))).scalars())
        job_ids.update((await conn.execute(select(run.c.job_id).where(*near).distinct())).scalars())
        if len(job_ids) > _MOST_JOBS:
            return near, total
        each = max(self._examined // max(len(job_ids), 1), 1)
        reached = [await _floor(conn, each, run.c.job_id == job_id) for job_id in sorted(job_ids)]
        far = [
            *guards,
            run.c.job_id.in_(sorted(job_ids)),
            run.c.id >= min(max(reached, default=floor), floor),
        ]
        return far, await _count(conn, far)

    async def ended(self, app_ids: frozenset[int] | None, bounds: Sequence[int]) -> list[DayEnds | None]:
        guards = _run_guards(RunSearch(app_ids=app_ids))
        ends = [*itertools.pairwise(bounds)]
        async with reading(self._db) as conn:
            floor = await _floor(conn, self._examined)
            oldest = select(run.c.created_ms).where(run.c.id == floor)
            from_ms = (await conn.execute(oldest)).scalar() or 0
            place = case(*((run.c.finished_ms < end, n) for n, (_, end) in enumerate(ends)), else_=len(ends))
            within = [run.c.id >= floor, run.c.finished_ms >= bounds[0], run.c.state.in_(sorted(FINAL))]
            query = select(place.label("place"), run.c.state, func.count().label("many"))
            rows = (await conn.execute(query.where(*guards, *within).group_by("place", run.c.state))).all()
        succeeded, failed = [0] * (len(ends) + 1), [0] * (len(ends) + 1)
        for row in rows:
            which = succeeded if row.state == RunState.SUCCEEDED else failed
            which[row.place] += row.many
        return [
            None if start < from_ms else DayEnds(succeeded[n], failed[n]) for n, (start, _) in enumerate(ends)
        ]

    async def last_due(self, job_ids: Collection[int]) -> dict[int, int]:
        if not job_ids:
            return {}
        mine = [run.c.job_id == job.c.id, run.c.state.not_in([RunState.PLANNED, RunState.SKIPPED])]
        newest = select(run.c.due_ms).where(*mine).order_by(run.c.id.desc()).limit(1)
        query = select(job.c.id, newest.correlate(job).scalar_subquery()).where(job.c.id.in_(sorted(job_ids)))
        async with reading(self._db) as conn:
            return {job_id: due_ms for job_id, due_ms in await conn.execute(query) if due_ms}

    async def running(self, app_ids: frozenset[int] | None) -> int:
        guards: list[ColumnElement[bool]] = [ALL_PARTS, run.c.state.in_(sorted(IN_FLIGHT)), run.c.shard >= 0]
        if app_ids is not None:
            guards.append(run.c.app_id.in_(sorted(app_ids)))
        query = select(func.count()).select_from(run).where(*guards).with_hint(run, OPEN_INDEX, "mysql")
        async with reading(self._db) as conn:
            return (await conn.execute(query)).scalar_one()


async def _floor(conn: AsyncConnection, examined: int, *guards: ColumnElement[bool]) -> int:
    """The smallest id of the newest runs, so many; 0 if there are no more."""
    query = select(run.c.id).where(*guards).order_by(run.c.id.desc()).offset(examined - 1).limit(1)
    return (await conn.execute(query)).scalar() or 0


async def _count(conn: AsyncConnection, guards: Sequence[ColumnElement[bool]]) -> int:
    return (await conn.execute(select(func.count()).select_from(run).where(*guards))).scalar_one()


def _run_guards(search: RunSearch) -> list[ColumnElement[bool]]:
    states = _STATES[search.status]
    # A parent stands for its shards, unless it never came to have any.
    alone = or_(run.c.shard != BROADCAST_PARENT, and_(run.c.claimed_ms == 0, run.c.state.in_(sorted(FINAL))))
    guards = [run.c.namespace_id == DEFAULT_NAMESPACE, run.c.state.in_(sorted(states)), alone]
    if search.app_ids is not None:
        guards.append(run.c.app_id.in_(sorted(search.app_ids)))
    if search.job_id:
        guards.append(run.c.job_id == search.job_id)
    if search.from_ms is not None:
        guards.append(run.c.due_ms >= search.from_ms)
    if search.to_ms is not None:
        guards.append(run.c.due_ms < search.to_ms)
    return guards


def _size(one: Job) -> int:
    return len(one.task.glue_source) + len(one.task.params)


def _guards(search: JobSearch) -> list[ColumnElement[bool]]:
    guards: list[ColumnElement[bool]] = [job.c.namespace_id == DEFAULT_NAMESPACE]
    if search.app_ids is not None:
        guards.append(job.c.app_id.in_(sorted(search.app_ids)))
    if search.enabled is not None:
        guards.append(job.c.enabled == search.enabled)
    if search.name:
        guards.append(_has(job.c.name, search.name))
    return guards


def _has(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Whether it contains the text, in any case; at least that, where `_is_told_by_sql` says no."""
    pattern = "".join(_pattern(letter) for letter in text.lower())
    return func.lower(column).like(f"%{pattern}%", escape="/")


def _pattern(letter: str) -> str:
    if not _is_told_by_sql(letter):
        return "%"
    return "/" + letter if letter in "/%_" else letter


def _is_told_by_sql(text: str) -> bool:
    """SQLite makes small letters of ASCII alone, so what has other ones is compared here."""
    return all(letter.isascii() or letter.lower() == letter.upper() for letter in text)
