"""Lists by position."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from gateway.core.clock import Clock
from gateway.core.model import BROADCAST_PARENT, DEFAULT_NAMESPACE, App, Job, Run
from gateway.core.positions import AppSearch, JobSearch, LogStatus, RunSearch, Slice, Window
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


class PositionStore:
    """Implements `core.positions.Positions`."""

    def __init__(self, db: Database, clock: Clock, examined: int = EXAMINED) -> None:
        self._db = db
        self._clock = clock
        self._examined = examined

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
            rows = (await conn.execute(query.offset(window.start).limit(window.length))).all()
        found: list[Job] = []
        for start in range(0, len(rows), _SLICE):
            await self._clock.sleep(0)  # runs may be due meanwhile
            found += [job_of(row) for row in rows[start : start + _SLICE]]
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
        total, before = 0, 1 << 31
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
                        if window.start <= total < window.start + window.length:
                            found.append(one)
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
        guards = _run_guards(search)
        async with reading(self._db) as conn:
            ids = select(run.c.id).order_by(run.c.id.desc()).limit(self._examined)
            if search.job_id:
                ids = ids.where(run.c.job_id == search.job_id)
            newest = ids.subquery()
            floor = (await conn.execute(select(func.min(newest.c.id)))).scalar() or 0
            guards.append(run.c.id >= floor)
            total = (await conn.execute(select(func.count()).select_from(run).where(*guards))).scalar_one()
            lead = min(window.start, _SLACK)
            query = select(*COLUMNS).where(*guards).order_by(run.c.id.desc()).offset(window.start - lead)
            rows = await conn.execute(query.limit(lead + window.length + _SLACK))
            found = [run_of(row) for row in rows.mappings()]
        found.sort(key=lambda one: (one.trigger_ms or one.due_ms, one.id), reverse=True)
        return Slice(total, found[lead : lead + window.length])

    async def running(self, app_ids: frozenset[int] | None) -> int:
        guards: list[ColumnElement[bool]] = [ALL_PARTS, run.c.state.in_(sorted(IN_FLIGHT)), run.c.shard >= 0]
        if app_ids is not None:
            guards.append(run.c.app_id.in_(sorted(app_ids)))
        query = select(func.count()).select_from(run).where(*guards).with_hint(run, OPEN_INDEX, "mysql")
        async with reading(self._db) as conn:
            return (await conn.execute(query)).scalar_one()


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
