"""Which jobs use which calendars: the first stands in the job's own row, the others of a job beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.model import DEFAULT_NAMESPACE, Job
from gateway.store.tables import job, job_calendar


def first_name(one: Job) -> str:
    uses = one.timing.calendars
    return uses[0].name if uses else ""


def other_rows(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    return [{"job_id": one.id, "name": use.name} for one in jobs for use in one.timing.calendars[1:]]


async def store_others(conn: AsyncConnection, old: Job | None, new: Job) -> None:
    """What a change of a job, whose row is locked, means for its other calendars."""
    before, rows = [] if old is None else other_rows([old]), other_rows([new])
    if before == rows:
        return
    await drop_others(conn, new.id)
    if rows:
        await conn.execute(insert(job_calendar), rows)


async def drop_others(conn: AsyncConnection, job_id: int) -> None:
    await conn.execute(delete(job_calendar).where(job_calendar.c.job_id == job_id))


async def users_of(conn: AsyncConnection, name: str) -> list[int]:
    """The ids of the jobs that use a calendar, in order."""
    # Two looks, each by an index of its own: one with OR would go through all jobs.
    firsts = select(job.c.id).where(job.c.calendar == name, job.c.namespace_id == DEFAULT_NAMESPACE)
    others = (
        select(job.c.id)
        .join(job_calendar, job_calendar.c.job_id == job.c.id)
        .where(job_calendar.c.name == name, job.c.namespace_id == DEFAULT_NAMESPACE)
    )
    found = {row.id for query in (firsts, others) for row in await conn.execute(query)}
    return sorted(found)
