"""Versions of jobs, also of deleted ones while their history is kept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.errors import NotFound
from gateway.core.listing import Page
from gateway.core.versions import JobVersion
from gateway.store import cursors
from gateway.store.definitions import job_at
from gateway.store.engine import Database
from gateway.store.tables import deleted_job, job, job_version
from gateway.store.transact import reading

_NEWEST = 1 << 31
_WHOSE = ("namespace_id", "app_id", "part", "created_ms")


class VersionStore:
    """Implements `core.catalog.VersionCatalog`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, job_id: int, version: int) -> JobVersion:
        mine = job_version.c
        async with reading(self._db) as conn:
            whose = await _whose(conn, job_id)
            query = select(job_version).where(mine.job_id == job_id, mine.version == version)
            row = (await conn.execute(query)).first()
        if row is None:
            raise NotFound("version", version, f"job {job_id} has no such version")
        return _version_of(row, whose)

    async def page(self, job_id: int, *, cursor: str | None, limit: int) -> Page[JobVersion]:
        before = _NEWEST if cursor is None else cursors.decode("v", cursor)
        mine = job_version.c
        query = (
            select(job_version)
            .where(mine.job_id == job_id, mine.version < before)
            .order_by(mine.version.desc())
            .limit(limit + 1)
        )
        async with reading(self._db) as conn:
            whose = await _whose(conn, job_id)
            found = [_version_of(row, whose) for row in await conn.execute(query)]
        return cursors.page_of(found, limit, lambda last: cursors.encode("v", last.number))


async def _whose(conn: AsyncConnection, job_id: int) -> Any:
    """The row of the job, or of what is left of a deleted one. Raises `NotFound`."""
    for table, key in ((job, job.c.id), (deleted_job, deleted_job.c.job_id)):
        query = select(*(table.c[name] for name in _WHOSE)).where(key == job_id)
        row = (await conn.execute(query)).first()
        if row is not None:
            return row
    raise NotFound("job", job_id)


def _version_of(row: Any, whose: Any) -> JobVersion:
    return JobVersion(job_at(row, whose), row.author, row.created_ms)
