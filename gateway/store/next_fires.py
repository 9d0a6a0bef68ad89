"""A job's next fire, and what is planned up to it, when the job or its calendar has changed.

Locks are taken in the order job → next fire → run; whoever calls has locked the first two. The planner locks the
next fire as well, before it inserts, so its rows are either seen here or refused there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.confine import schedule_of
from gateway.core.model import Job, TriggerKind
from gateway.core.ports import IdSource
from gateway.core.schedule import parse_schedule, require_future
from gateway.core.states import RunState
from gateway.store.overdue import overdue_row
from gateway.store.tables import run

_CHUNK = 500


def scheduled(one: Job, now_ms: int, *, may_end: bool = False) -> Job:
    """With its next fire. Raises `InvalidValue` for a wrong schedule, or unless it `may_end` one that has ended."""
    schedule = parse_schedule(one.schedule, anchor_ms=one.anchor_ms)
    if not may_end:
        require_future(schedule, now_ms, enabled=one.enabled)
    return replace(one, next_fire_at=schedule_of(one).first_after(now_ms) if one.enabled else None)


def next_fire(one: Job, now_ms: int) -> int | None:
    """By the days of its calendars as they are given."""
    return schedule_of(one).first_after(now_ms) if one.enabled else None


async def replanned(
    conn: AsyncConnection, old: Job, new: Job, now_ms: int, reason: str, ids: IdSource
) -> tuple[Job, list[int]]:
    """Take back what was planned for `old`: `new` with the count of its slots, and the ids of the removed rows.

    `reason` as for `take_back`.
    """
    is_counted = bool(old.timing.window.max_fires and new.timing.window.max_fires)
    goes_on = is_chained(old) and is_chained(new)
    ahead = await _counted_ahead(conn, old, now_ms) if is_counted and not goes_on else 0
    removed, overdue = await take_back(conn, old, now_ms, reason, ids)
    new, left = await _beyond_rows(conn, new)
    if goes_on and is_counted:
        ahead = len(removed)  # what is claimed ahead may stay the run of the chain, and is not planned again
    elif goes_on and new.timing.window.max_fires:
        left = await _counted_ahead(conn, replace(old, next_fire_at=None), now_ms)
    counted = (old.fired - ahead + overdue if is_counted else 0) + left
    is_over = 0 < new.timing.window.max_fires <= counted
    fired = counted if new.timing.window.max_fires else 0
    return replace(new, fired=fired, next_fire_at=None if is_over else new.next_fire_at), removed


async def _beyond_rows(conn: AsyncConnection, new: Job) -> tuple[Job, int]:
    """With the first slot that has no row yet, and how many ahead have one: those that were claimed are not taken back.

    The key of a row would not keep a second one out: a parent of shards and a run that is sent itself differ in it.
    """
    slot_ms, count = new.next_fire_at, 0
    if slot_ms is None or is_chained(new):
        return new, 0
    firsts = (run.c.job_id == new.id, run.c.slot_key >= slot_ms, run.c.shard <= 0, run.c.attempt == 1)
    present = {row.slot_key for row in await conn.execute(select(run.c.slot_key).where(*firsts))}
    while slot_ms is not None and slot_ms in present:
        count += 1
        slot_ms = schedule_of(new).next_after(slot_ms)
    return replace(new, next_fire_at=slot_ms), count


async def take_back(
    conn: AsyncConnection, old: Job, now_ms: int, reason: str, ids: IdSource
) -> tuple[list[int], int]:
    """Remove what is planned ahead. With a `reason`, slots due but not planned yet get a row that says it.

    Returns the ids of what was removed, and the number of these slots.
    """
    removed = await remove_ahead(conn, [old], now_ms)
    if reason and old.timing.jitter_ms:
        await _skip_delayed(conn, old, now_ms, reason)
    if not reason or old.next_fire_at is None or old.next_fire_at > now_ms:
        return removed, 0
    between = select(run.c.slot_key).where(
        run.c.job_id == old.id, run.c.slot_key.between(old.next_fire_at, now_ms)
    )
    present = {row.slot_key for row in await conn.execute(between)}
    late = overdue_row(old, now_ms, f"{reason} before this slot was planned", ids, present)
    if late is not None:
        await conn.execute(insert(run).values(late))
    return removed, late["slot_count"] if late else 0


async def remove_ahead(conn: AsyncConnection, jobs: Sequence[Job], now_ms: int) -> list[int]:
    """Remove the planned rows of slots of these jobs that are ahead; their ids."""
    if not jobs:
        return []
    parts, ids = ({getattr(one, name) for one in jobs} for name in ("part", "id"))
    mine = (run.c.job_id.in_(sorted(ids)), run.c.state == RunState.PLANNED)
    # By the index on open runs of a part: its rows ahead are those of a few seconds.
    near = (run.c.open_part.in_(sorted(parts)), run.c.due_ms > now_ms, run.c.slot_key > now_ms)
    removed = sorted(row.id for row in await conn.execute(select(run.c.id).where(*near, *mine)))
    for start in range(0, len(removed), _CHUNK):
        await conn.execute(delete(run).where(run.c.id.in_(removed[start : start + _CHUNK]), *mine))
    return removed


async def _skip_delayed(conn: AsyncConnection, old: Job, now_ms: int, reason: str) -> None:
    """Slots that are over while their jitter is not: they were slots, so they keep their rows."""
    delayed = (
        run.c.job_id == old.id,
        run.c.state == RunState.PLANNED,
        run.c.trigger_kind == int(TriggerKind.SCHEDULE),
        run.c.open_part == old.part,
        run.c.due_ms > now_ms,
        run.c.slot_key.between(1, now_ms),
    )
    values = {
        "state": int(RunState.SKIPPED),
        "open_part": None,
        "finished_ms": now_ms,
        "reason": f"{reason} before this slot was sent",
    }
    found = sorted(row.id for row in await conn.execute(select(run.c.id).where(*delayed)))
    for start in range(0, len(found), _CHUNK):
        await conn.execute(
            update(run).where(run.c.id.in_(found[start : start + _CHUNK]), *delayed).values(values)
        )


async def _counted_ahead(conn: AsyncConnection, old: Job, now_ms: int) -> int:
    """Slots ahead that were counted when they were planned, and will be planned again."""
    first = (run.c.job_id == old.id, run.c.slot_key > now_ms, run.c.shard <= 0, run.c.attempt == 1)
    query = select(func.count()).select_from(run).where(*first)
    if old.next_fire_at is not None:
        query = query.where(run.c.slot_key < old.next_fire_at)
    return int((await conn.execute(query)).scalar_one())
