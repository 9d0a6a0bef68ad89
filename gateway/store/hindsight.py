"""Queries that look back at one instant of a job: which version was in force, which rows its slots have."""

from __future__ import annotations

from sqlalchemy import select

from gateway.core.calendar_days import Edition
from gateway.core.errors import NotFound
from gateway.core.hindsight import Grave
from gateway.core.model import Job, Run
from gateway.core.versions import JobVersion
from gateway.store.definitions import job_at
from gateway.store.editions import editions_of
from gateway.store.engine import Database
from gateway.store.run_rows import COLUMNS, run_of
from gateway.store.tables import deleted_job, job, job_version, run
from gateway.store.transact import reading

_SLOTS_BACK = 300
_KEY_INDEX = "FORCE INDEX (uq_run_key)"


class HindsightStore:
    """Implements `core.hindsight.Hindsight`. Each look is a few short seeks, however long the history."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def version_at(self, job_id: int, at_ms: int) -> JobVersion | None:
        async with reading(self._db) as conn:
            whose = (await conn.execute(select(job).where(job.c.id == job_id))).first()
            if whose is None:
                grave = select(deleted_job).where(deleted_job.c.job_id == job_id)
                whose = (await conn.execute(grave)).first()
            if whose is None:
                raise NotFound("job", job_id)
            mine = job_version.c
            query = (
                select(job_version)
                .where(mine.job_id == job_id, mine.created_ms < at_ms)
                .order_by(mine.version.desc())
                .limit(1)
            )
            row = (await conn.execute(query)).first()
        return None if row is None else JobVersion(job_at(row, whose), row.author, row.created_ms)

    async def editions(self, job: Job, at_ms: int) -> dict[str, list[Edition]]:
        names = {use.name for use in job.timing.calendars}
        async with reading(self._db) as conn:
            return await editions_of(conn, job.namespace_id, names, at_ms, at_ms + 1)

    async def grave(self, job_id: int) -> Grave | None:
        query = select(deleted_job).where(deleted_job.c.job_id == job_id)
        async with reading(self._db) as conn:
            row = (await conn.execute(query)).first()
        return None if row is None else Grave(row.name, row.author, row.deleted_ms)

    async def slot_row(self, job_id: int, slot_ms: int) -> Run | None:
        mine = (run.c.job_id == job_id, run.c.slot_key > 0, run.c.slot_key <= slot_ms)
        query = (
            select(*COLUMNS)
            .where(*mine)
            .order_by(
                run.c.slot_key.desc(), run.c.shard.desc(), run.c.attempt.desc()
            )  # as the key is, backwards
            .limit(_SLOTS_BACK)
            .with_hint(run, _KEY_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            rows = [run_of(row) for row in (await conn.execute(query)).mappings()]
        return next((one for one in rows if one.slot_key == slot_ms or one.last_slot_ms >= slot_ms), None)

    async def latest_slot(self, job_id: int, at_ms: int) -> int | None:
        query = (
            select(run.c.slot_key)
            .where(run.c.job_id == job_id, run.c.slot_key > 0, run.c.slot_key <= at_ms)
            .order_by(run.c.slot_key.desc())
            .limit(1)
            .with_hint(run, _KEY_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            return (await conn.execute(query)).scalar()
