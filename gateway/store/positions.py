"""Lists by position."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, func, select

from gateway.core.clock import Clock
from gateway.core.model import DEFAULT_NAMESPACE, App, Job
from gateway.core.positions import AppSearch, JobSearch, Slice, Window
from gateway.store.apps import app_of
from gateway.store.definitions import job_of
from gateway.store.engine import Database
from gateway.store.jobs import jobs_with_fires
from gateway.store.tables import app, job
from gateway.store.transact import reading

_CHUNK = 100
_SLICE = 100


class PositionStore:
    """Implements `core.positions.Positions`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def jobs(self, search: JobSearch, window: Window) -> Slice[Job]:
        if search.app_ids is not None and not search.app_ids:
            return Slice(0, ())
        guards = _guards(search)
        if search.handler or search.author:
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
            if text.isascii()  # SQLite knows no other small letters
        )
        handler, author = search.handler.lower(), search.author.lower()
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
                    if handler in one.task.handler.lower() and author in one.contact.author.lower():
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
        if search.title:
            guards.append(_has(app.c.title, search.title))
        order = (app.c.appname, app.c.title, app.c.id)
        async with reading(self._db) as conn:
            count = select(func.count()).select_from(app).where(*guards)
            total = (await conn.execute(count)).scalar_one()
            query = select(app).where(*guards).order_by(*order)
            rows = await conn.execute(query.offset(window.start).limit(window.length))
            return Slice(total, [app_of(row) for row in rows])


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
    return func.lower(column).contains(text.lower(), autoescape=True)
