"""Where jobs of an import go on here, and from when on: behind all that has rows from an earlier time on this scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.confine import schedule_of
from gateway.core.model import Job
from gateway.store.tables import job_version, run


@dataclass(frozen=True, slots=True)
class Start:
    """A job to be enabled, as it was read. `first_ms` is its next slot, `anchor_ms` the phase of a fixed rate from now on."""

    job: Job
    old_key: str
    first_ms: int
    anchor_ms: int


async def done_here(conn: AsyncConnection, going: Sequence[Start]) -> dict[int, int]:
    """Up to where each of them has rows of slots: there is no hole, because slots are planned one after the other."""
    ids, first_ms = sorted(one.job.id for one in going), min(one.first_ms for one in going)
    newest = (
        select(run.c.job_id, func.max(run.c.slot_key).label("slot_key"))
        .where(run.c.job_id.in_(ids), run.c.slot_key >= first_ms)
        .group_by(run.c.job_id)
        .subquery()
    )
    same = and_(run.c.job_id == newest.c.job_id, run.c.slot_key == newest.c.slot_key)
    query = select(run.c.job_id, run.c.slot_key, run.c.last_slot_ms).join(newest, same)
    return {row.job_id: max(row.slot_key, row.last_slot_ms) for row in await conn.execute(query)}


def first_slot(one: Start, done_ms: int) -> int | None:
    """The first that has no row here; None if there is none."""
    if is_chained(one.job) or done_ms < one.first_ms:
        return one.first_ms
    return schedule_of(replace(one.job, anchor_ms=one.anchor_ms)).next_after(done_ms)


def enabled(one: Start, done_ms: int, now_ms: int) -> Job:
    """As it will stand."""
    return replace(
        one.job,
        version=one.job.version + 1,
        enabled=True,
        updated_ms=now_ms,
        anchor_ms=one.anchor_ms,
        next_fire_at=first_slot(one, done_ms),
    )


async def since_when(conn: AsyncConnection, new: Sequence[Job], author: str) -> dict[int, int]:
    """From when on these versions hold: missed slots are the job's own, else a proof would ask why they have rows.

    Not from before the last change by `author`: a job that was given back had versions here that stand for their slots.
    """
    mine = job_version.c
    query = (
        select(mine.job_id, func.max(mine.created_ms))
        .where(mine.job_id.in_([one.id for one in new]), mine.author == author)
        .group_by(mine.job_id)
    )
    before = dict((await conn.execute(query)).all())
    return {
        one.id: max(min(one.next_fire_at - 1, one.updated_ms), before.get(one.id, 0))
        for one in new
        if one.next_fire_at is not None
    }
