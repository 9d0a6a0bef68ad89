"""Counts of days: what is there counted anew, what is removed added for good.

Both are done under the lock of the job's row, so that no removal comes between counting and writing down the counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.daily import (
    DAY_MS,
    LARGEST,
    LATE_MS,
    STATES,
    SUMS,
    DailyFilter,
    DayTally,
    Tally,
    day_of,
)
from gateway.core.states import OPEN, RunState
from gateway.store.engine import Database
from gateway.store.tables import run, run_daily
from gateway.store.transact import reading

LIVE, REMOVED = 0, 1
SLACK_MS = 3 * 3_600_000
"""Ids follow the order in which rows are made but for this: a node uses a block of them for an hour at most."""
GRACE_MS = 3_600_000
"""A day is counted for good this long after its end: results from a node's spool may come so late."""

MOST_ON_DEMAND = 20_000

_MINE = run_daily.c
INDEX = "FORCE INDEX (ix_run_job_id_id)"
_NAMES = (*SUMS, *LARGEST)


class DailyStore:
    """Implements `core.daily.DailyCatalog`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def read(self, wanted: DailyFilter) -> list[DayTally]:
        guards = [_MINE.day >= wanted.first, _MINE.day <= wanted.last]
        if wanted.app_id is not None:
            guards.append(_MINE.app_id == wanted.app_id)
        if wanted.job_id is not None:
            return await self._of_job(wanted, wanted.job_id, guards)
        sums = [func.sum(_MINE[name]).label(name) for name in SUMS]
        sums += [func.max(_MINE[name]).label(name) for name in LARGEST]
        # A row of removed runs says nothing of what is still there.
        counted = func.min(case((_MINE.kind == LIVE, _MINE.counted_ms))).label("counted_ms")
        query = select(_MINE.day, counted, *sums).where(*guards).group_by(_MINE.day).order_by(_MINE.day)
        async with reading(self._db) as conn:
            rows = (await conn.execute(query)).mappings().all()
        return [DayTally(row["day"], _tally(row), row["counted_ms"] or 0) for row in rows]

    async def of_old_admins(self, first: int, last: int) -> dict[int, Tally]:
        query = select(run_daily).where(_MINE.job_id < 0, _MINE.day.between(first, last))
        found: dict[int, Tally] = {}
        async with reading(self._db) as conn:
            for row in (await conn.execute(query)).mappings():
                found.setdefault(row["day"], Tally()).add(_tally(row))
        return found

    async def _of_job(
        self, wanted: DailyFilter, job_id: int, guards: list[ColumnElement[bool]]
    ) -> list[DayTally]:
        """The days that are not counted for good are counted now, unless there are too many runs."""
        query = select(run_daily).where(_MINE.job_id == job_id, *guards)
        now_ms = self._clock.now_ms()
        async with reading(self._db) as conn:
            rows = (await conn.execute(query)).mappings().all()
            fresh = await count(conn, job_id, most=MOST_ON_DEMAND)
        days: dict[int, tuple[Tally, int]] = {}
        if fresh is not None:
            rows = [row for row in rows if row["kind"] == REMOVED or row["day"] < fresh.first_day]
            days = {
                day: (counts, now_ms)
                for day, (counts, _) in fresh.days.items()
                if wanted.first <= day <= wanted.last
            }
        for row in rows:
            total, counted_ms = days.setdefault(row["day"], (Tally(), 0))
            total.add(_tally(row))
            days[row["day"]] = total, max(counted_ms, row["counted_ms"] if row["kind"] == LIVE else 0)
        return [DayTally(day, counts, at_ms) for day, (counts, at_ms) in sorted(days.items())]


def _tally(row: RowMapping) -> Tally:
    return Tally(**{name: int(row[name] or 0) for name in _NAMES})


@dataclass(frozen=True, slots=True)
class Count:
    """The days of a job from `first_day` on, each with what is there and the smallest id that ends later."""

    days: Mapping[int, tuple[Tally, int]]
    has_open: bool
    first_day: int


async def count(conn: AsyncConnection, job_id: int, *, most: int = 0) -> Count | None:
    """Count the days of a job that are not counted for good. None if that takes looking at more than `most` runs."""
    last = (
        await conn.execute(
            select(_MINE.day, _MINE.open_id)
            .where(_MINE.job_id == job_id, _MINE.kind == LIVE, _MINE.counted_ms >= _end(_MINE.day) + GRACE_MS)
            .order_by(_MINE.day.desc())
            .limit(1)
        )
    ).first()
    from_ms, floor = 0, 0
    if last is not None:
        from_ms = (last.day + 1) * DAY_MS
        floor = await _floor(conn, job_id, from_ms, last.open_id)
    is_open = run.c.state.in_(sorted(OPEN))
    day = case((is_open, 0), else_=run.c.finished_ms // DAY_MS).label("day")
    if most:
        there = select(run.c.id).where(run.c.job_id == job_id, run.c.id >= floor).order_by(run.c.id)
        beyond = there.offset(most).limit(1).with_hint(run, INDEX, "mysql")
        if (await conn.execute(beyond)).first() is not None:
            return None
    guards = [run.c.job_id == job_id, run.c.id >= floor, or_(is_open, run.c.finished_ms >= from_ms)]
    query = select(day, func.min(run.c.id).label("first_id"), *_sums()).where(*guards).group_by(day)
    rows = (await conn.execute(query.with_hint(run, INDEX, "mysql"))).mappings().all()
    found: dict[int, tuple[Tally, int]] = {}
    open_id = 0
    # From the newest day back: what ends after a day is what is open, and what has ended on a later one.
    for row in sorted(rows, key=lambda row: (int(row["day"]) != 0, -int(row["day"]))):
        first_id = int(row["first_id"])
        if int(row["day"]):
            found[int(row["day"])] = (_tally(row), open_id)
        open_id = min(open_id or first_id, first_id)
    return Count(found, any(int(row["day"]) == 0 for row in rows), day_of(from_ms))


async def _floor(conn: AsyncConnection, job_id: int, from_ms: int, open_id: int) -> int:
    """No run with a smaller id has ended since then."""
    older = select(run.c.id).where(run.c.job_id == job_id, run.c.created_ms < from_ms - SLACK_MS)
    query = older.order_by(run.c.id.desc()).limit(1).with_hint(run, INDEX, "mysql")
    floor = int((await conn.execute(query)).scalar() or 0)
    return min(floor, open_id) if open_id else floor


async def write_down(
    conn: AsyncConnection,
    job_id: int,
    app_id: int,
    found: Count,
    now_ms: int,
) -> None:
    """Instead of what was counted before of these days."""
    await conn.execute(
        delete(run_daily).where(
            _MINE.job_id == job_id,
            _MINE.day >= found.first_day,
            _MINE.kind == LIVE,
            _MINE.day <= day_of(now_ms),
        )
    )
    rows = [
        {
            "day": day,
            "job_id": job_id,
            "kind": LIVE,
            "app_id": app_id,
            "open_id": open_id,
            "counted_ms": now_ms,
            **_values(counts),
        }
        for day, (counts, open_id) in sorted(found.days.items())
        if day <= day_of(now_ms)
    ]
    if rows:
        await conn.execute(insert(run_daily), rows)


async def move_to_removed(conn: AsyncConnection, job_id: int, app_id: int, days: Mapping[int, Tally]) -> None:
    """In the transaction that removes the runs that these counts are of."""
    for day, counts in sorted(days.items()):
        of_day = and_(_MINE.day == day, _MINE.job_id == job_id)
        there = and_(of_day, _MINE.kind == LIVE)
        less = {name: _MINE[name] - getattr(counts, name) for name in SUMS}
        await conn.execute(update(run_daily).where(there).values(**less))
        gone = and_(of_day, _MINE.kind == REMOVED)
        row = (await conn.execute(select(run_daily).where(gone))).mappings().first()
        if row is None:
            values = {"day": day, "job_id": job_id, "kind": REMOVED, "app_id": app_id, **_values(counts)}
            await conn.execute(insert(run_daily).values(values))
            continue
        total = _tally(row)
        total.add(counts)
        await conn.execute(update(run_daily).where(gone).values(**_values(total)))


async def drop_live(conn: AsyncConnection, job_id: int, before_day: int) -> None:
    """Nothing that had ended before that day is left of the job."""
    await conn.execute(
        delete(run_daily).where(_MINE.job_id == job_id, _MINE.day < before_day, _MINE.kind == LIVE)
    )


def _values(counts: Tally) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _NAMES}


def _end(day: ColumnElement[int]) -> ColumnElement[int]:
    return (day + 1) * DAY_MS


def _sums() -> list[ColumnElement[Any]]:
    """As `core.daily.tally` counts one row."""
    mine = run.c
    sent = and_(mine.sent_ms > 0, mine.shard >= 0)
    timed = and_(sent, mine.finished_ms >= mine.sent_ms)
    late_ms = case((mine.sent_ms > mine.due_ms, mine.sent_ms - mine.due_ms), else_=0)
    took_ms = mine.finished_ms - mine.sent_ms
    skipped = mine.state == int(RunState.SKIPPED)

    def total(what: ColumnElement[bool], value: Any = 1) -> ColumnElement[Any]:
        return func.sum(case((what, value), else_=0))

    sums = {name: total(mine.state == int(RunState[name.upper()])) for name in STATES} | {
        "skipped_slots": total(skipped, mine.slot_count),
        "sent": total(sent),
        "late": total(and_(sent, late_ms > LATE_MS)),
        "lateness_ms": total(sent, late_ms),
        "timed": total(timed),
        "duration_ms": total(timed, took_ms),
        "lateness_max_ms": func.max(case((sent, late_ms), else_=0)),
        "duration_max_ms": func.max(case((timed, took_ms), else_=0)),
    }
    return [sums[name].label(name) for name in _NAMES]
