"""Chains of second_delay jobs: what a change of the job does to them, and those whose end nobody has noted.

The row of the next fire is locked, or guarded by the link it had: only one of all that may end a chain does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import delay_of
from gateway.core.confine import schedule_of
from gateway.core.model import Job
from gateway.core.states import OPEN
from gateway.store.run_rows import count_open
from gateway.store.tables import job_next_fire, run

MOST = 1000
_fire = job_next_fire.c


async def carry_over(conn: AsyncConnection, new: Job, removed: Collection[int]) -> int | None:
    """The next fire of a chained job that has been changed; its row is locked by us. `removed`: rows taken back.

    A run of the chain that is open stays the only one. Else the delay of the new version counts from the last end.
    """
    mine = job_next_fire.c.job_id == new.id
    link, ended_ms = (await conn.execute(select(_fire.chain_run_id, _fire.chain_end_ms).where(mine))).one()
    is_open, last_ms = False, 0
    if link and abs(link) not in removed:
        is_open, last_ms = await _is_open(conn, new.id, abs(link))
    # Where it ended while the job was something else, nobody has noted that yet.
    ended_ms = ended_ms if is_open else max(ended_ms, last_ms)
    next_fire_at: int | None = None
    if new.next_fire_at is not None and not is_open:
        schedule = schedule_of(new)
        next_fire_at = schedule.first_after(
            max(new.next_fire_at, ended_ms + delay_of(new) if ended_ms else 0)
        )
        # Where the job was something else, its last slot may have been at this very instant.
        if next_fire_at is not None and await _has_row(conn, new.id, next_fire_at):
            next_fire_at = schedule.first_after(next_fire_at + 1)
    values = {
        "next_fire_at": next_fire_at,
        "chain_run_id": link if is_open else 0,
        "chain_end_ms": ended_ms,
    }
    await conn.execute(update(job_next_fire).where(mine).values(values))
    return next_fire_at


async def open_run(conn: AsyncConnection, job: Job) -> int:
    """The run of its chain that is open, as far as is known here and now, 0 if none is. The job's rows are locked."""
    if not job.chain_run_id:
        return 0
    is_open, _ = await _is_open(conn, job.id, abs(job.chain_run_id))
    return abs(job.chain_run_id) if is_open else 0


async def unended(conn: AsyncConnection, parts: Collection[int]) -> Sequence[tuple[int, int, int]]:
    """Chains whose run is not open any more: (job id, link, when it ended, 0 if there is no such run).

    That is the work of a node of the version before, or a fault.
    """
    found: list[tuple[int, int, int]] = []
    for sign, side in ((1, _fire.chain_run_id > 0), (-1, _fire.chain_run_id < 0)):
        # Two ranges of an index that holds next to nothing.
        query = (
            select(_fire.job_id, _fire.chain_run_id, run.c.slot_key)
            .select_from(job_next_fire.outerjoin(run, run.c.id == sign * _fire.chain_run_id))
            .where(
                _fire.part.in_(sorted(parts)), side, or_(run.c.id.is_(None), run.c.state.not_in(sorted(OPEN)))
            )
            .limit(MOST)
        )
        for job_id, link, slot_key in (await conn.execute(query)).all():
            if slot_key is None:
                found.append((job_id, link, 0))
                continue
            family = select(count_open(), func.max(run.c.finished_ms))
            open_ones, ended_ms = (await conn.execute(family.where(*_family(job_id, slot_key)))).one()
            if not open_ones:
                found.append((job_id, link, ended_ms or 0))
    return found


async def end(conn: AsyncConnection, job_id: int, link: int, ended_ms: int) -> bool:
    """The chain goes on after this end. False if it is not at this run any more."""
    goes_on = and_(_fire.enabled == 1, _fire.chain_delay_ms > 0)
    values: dict[str, Any] = {
        "next_fire_at": case((goes_on, ended_ms + _fire.chain_delay_ms), else_=_fire.next_fire_at),
        "chain_end_ms": ended_ms,
        "chain_run_id": 0,
    }
    here = (_fire.job_id == job_id, _fire.chain_run_id == link)
    return (await conn.execute(update(job_next_fire).where(*here).values(values))).rowcount == 1


async def _is_open(conn: AsyncConnection, job_id: int, root_id: int) -> tuple[bool, int]:
    """Whether this run, or an attempt after it, is open; and when the last of them has ended."""
    slot_key = (await conn.execute(select(run.c.slot_key).where(run.c.id == root_id))).scalar()
    if slot_key is None:
        return False, 0
    query = select(count_open(), func.max(run.c.finished_ms)).where(*_family(job_id, slot_key))
    open_ones, ended_ms = (await conn.execute(query)).one()
    return bool(open_ones), ended_ms


async def _has_row(conn: AsyncConnection, job_id: int, slot_key: int) -> bool:
    query = select(run.c.id).where(*_family(job_id, slot_key)).limit(1)
    return (await conn.execute(query)).first() is not None


def _family(job_id: int, slot_key: int) -> tuple[ColumnElement[bool], ...]:
    return run.c.job_id == job_id, run.c.slot_key == slot_key
