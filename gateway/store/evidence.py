"""What a proof needs of a job: its versions, the first rows of its slots, and what may have been removed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.daily import DAY_MS, STATES
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.evidence import MOST_SLOTS, UNLIMITED, Evidence, Fired, FirstRow
from gateway.core.late import AFTER_ALL, LATE, TRIED_AGAIN
from gateway.core.model import TriggerKind
from gateway.core.retention import cut_ms
from gateway.core.states import RunState
from gateway.core.versions import JobVersion
from gateway.store.daily import REMOVED
from gateway.store.definitions import job_at
from gateway.store.editions import editions_of
from gateway.store.engine import Database
from gateway.store.run_rows import count_open
from gateway.store.tables import deleted_job, job, job_next_fire, job_version, run, run_daily
from gateway.store.transact import reading

_PAGE = 1000
_BACK = 10_000
"""So many slots at most share a row, hence so many rows may lie between it and the last of them."""
_FIRST = (
    "id",
    "slot_key",
    "last_slot_ms",
    "slot_count",
    "state",
    "reason",
    "due_ms",
    "sent_ms",
    "finished_ms",
)
_FIRSTS = (run.c.attempt == 1, run.c.shard <= 0, run.c.trigger_kind != int(TriggerKind.SHARD))
_INDEX = "FORCE INDEX (uq_run_key)"
_VERSIONS = 200


class EvidenceStore:
    """Implements `core.proof.EvidenceReader`. `days`: how long runs of jobs without days of their own are kept."""

    def __init__(self, db: Database, clock: Clock, days: int) -> None:
        self._db = db
        self._clock = clock
        self._days = days

    async def jobs(
        self, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
    ) -> list[int]:
        mine, late = job.c, deleted_job.c
        there = select(mine.id).where(mine.id > after_id, mine.created_ms < to_ms).order_by(mine.id)
        gone = select(late.job_id).where(
            late.job_id > after_id, late.created_ms < to_ms, late.deleted_ms >= from_ms
        )
        gone = gone.order_by(late.job_id)
        if app_id is not None:
            there, gone = there.where(mine.app_id == app_id), gone.where(late.app_id == app_id)
        async with reading(self._db) as conn:
            found = list((await conn.execute(there.limit(limit))).scalars())
            found += (await conn.execute(gone.limit(limit))).scalars()
        return sorted(found)[:limit]

    async def of_job(self, job_id: int, from_ms: int, to_ms: int) -> Evidence:
        now_ms = self._clock.now_ms()
        async with reading(self._db) as conn:
            mine, deleted_ms = await _whose(conn, job_id)
            versions = await _versions(conn, job_id, mine, from_ms, to_ms)
            names = {use.name for one in versions for use in one.job.timing.calendars}
            # The version before the range is looked at as well, at its end.
            first_ms = min([from_ms, *(one.created_ms for one in versions)])
            editions = await editions_of(conn, mine.namespace_id, names, first_ms, to_ms)
            # Read before the rows: what is planned meanwhile has a row then, and is not called missing.
            fire = select(job_next_fire.c.next_fire_at).where(job_next_fire.c.job_id == job_id)
            next_fire_at = (await conn.execute(fire)).scalar()
            rows = await _rows(conn, job_id, from_ms, to_ms)
            removed = await _removed(conn, job_id)
            before = None
            open_at: dict[int, int] = {}
            if any(is_chained(one.job) for one in versions):
                rows = await _with_first_sends(conn, job_id, rows)
                before = await _before(conn, job_id, from_ms)
                open_at = await _open_at(conn, job_id, from_ms, to_ms)
            own = versions[-1].job.retention_days if versions else 0
            is_history_going = deleted_ms and not mine.keep_history
            gone_ms = now_ms + 1 if is_history_going else cut_ms(now_ms, own or self._days)
            fired = await _fired(conn, job_id, versions, from_ms, gone_ms, removed)
        return Evidence(
            versions, rows, next_fire_at, gone_ms, removed, deleted_ms, fired, before, editions, open_at
        )


async def _whose(conn: AsyncConnection, job_id: int) -> tuple[Any, int]:
    """The row of the job, or of a deleted one, and when it was deleted. Raises `NotFound`."""
    row = (await conn.execute(select(job).where(job.c.id == job_id))).first()
    if row is not None:
        return row, 0
    row = (await conn.execute(select(deleted_job).where(deleted_job.c.job_id == job_id))).first()
    if row is None:
        raise NotFound("job", job_id)
    return row, row.deleted_ms if row.author else -1


async def _versions(
    conn: AsyncConnection, job_id: int, mine: Any, from_ms: int, to_ms: int
) -> list[JobVersion]:
    """Those in force in the range, and the one before them."""
    of_job = job_version.c.job_id == job_id
    begun = select(func.max(job_version.c.version)).where(of_job, job_version.c.created_ms < from_ms)
    first = int((await conn.execute(begun)).scalar() or 1)
    wanted = (
        select(job_version)
        .where(of_job, job_version.c.version >= first - 1, job_version.c.created_ms < to_ms)
        .order_by(job_version.c.version)
    )
    rows = (await conn.execute(wanted)).all()
    return [JobVersion(job_at(row, mine), row.author, row.created_ms) for row in rows]


async def _rows(conn: AsyncConnection, job_id: int, from_ms: int, to_ms: int) -> list[FirstRow]:
    latest = _first(job_id, run.c.slot_key < from_ms, run.c.slot_key > 0)
    before = latest.order_by(run.c.slot_key.desc()).limit(_BACK).subquery().c
    reaching = select(*(before[name] for name in _FIRST)).where(before.last_slot_ms >= from_ms)
    rows = [_row_of(row) for row in await conn.execute(reaching)]
    after_ms = from_ms - 1
    while True:
        query = _first(job_id, run.c.slot_key > after_ms, run.c.slot_key < to_ms)
        page = (await conn.execute(query.order_by(run.c.slot_key, run.c.shard).limit(_PAGE))).all()
        rows += map(_row_of, page)
        if len(page) < _PAGE:
            break
        if len(rows) > MOST_SLOTS:
            raise InvalidValue("to", to_ms, f"a range with at most {MOST_SLOTS} slots of a job")
        # Two rows of one slot are on one page: the last slot of a full page is read again.
        after_ms = page[-1].slot_key - 1
        while rows and rows[-1].slot_ms > after_ms:
            rows.pop()
    return await _with_ends(conn, job_id, rows)


async def _removed(conn: AsyncConnection, job_id: int) -> list[tuple[int, int]]:
    """From which instant to which slots may be whose rows were removed."""
    mine = run_daily.c
    query = select(run_daily).where(mine.job_id == job_id, mine.kind == REMOVED)
    found: list[tuple[int, int]] = []
    for row in await conn.execute(query):
        first_ms = row.day * DAY_MS - DAY_MS - row.lateness_max_ms - row.duration_max_ms
        # What was never sent may have been skipped, or have waited, for any time.
        if sum(getattr(row, name) for name in STATES) > row.sent:
            first_ms = 0
        found.append((first_ms, (row.day + 1) * DAY_MS - 1))
    return sorted(found)


async def _before(conn: AsyncConnection, job_id: int, from_ms: int) -> FirstRow | None:
    """The last slot before the range."""
    query = _first(job_id, run.c.slot_key < from_ms, run.c.slot_key > 0).order_by(run.c.slot_key.desc())
    rows = [_row_of(row) for row in await conn.execute(query.limit(1))]
    rows = await _with_first_sends(conn, job_id, await _with_ends(conn, job_id, rows))
    return rows[0] if rows else None


async def _open_at(conn: AsyncConnection, job_id: int, from_ms: int, to_ms: int) -> dict[int, int]:
    """When the job was changed or deleted while a run of its chain was open, and which."""
    found: dict[int, int] = {}
    for mine, at in ((job_version.c, "created_ms"), (deleted_job.c, "deleted_ms")):
        here = (mine.job_id == job_id, mine.chain_run_id > 0, mine[at].between(from_ms, to_ms))
        rows = await conn.execute(select(mine[at], mine.chain_run_id).where(*here))
        found |= {row[0]: row[1] for row in rows}
    return found


async def _fired(
    conn: AsyncConnection,
    job_id: int,
    versions: Sequence[JobVersion],
    from_ms: int,
    gone_ms: int,
    removed: Sequence[tuple[int, int]],
) -> Fired | None:
    """What the rows say of a maximum of fires that was set before the range: all slots since then count."""
    begun = [one for one in versions if one.created_ms < from_ms]
    if not begun or not begun[-1].job.timing.window.max_fires:
        return None
    since_ms = await _maximum_since(conn, job_id, begun[-1].number)
    here = (run.c.slot_key >= since_ms, run.c.slot_key < from_ms)
    few, all_of_it = run.c.slot_count == 1, run.c.last_slot_ms < from_ms
    # One that had ended before its slot may have been taken back, and been planned again.
    certain = case(
        (run.c.slot_key == since_ms, 0),
        (and_(run.c.finished_ms > 0, run.c.finished_ms < run.c.slot_key), 0),
        (or_(few, all_of_it), run.c.slot_count),
        else_=1,
    )
    query = select(func.sum(certain), func.sum(run.c.slot_count)).where(
        run.c.job_id == job_id, *here, *_FIRSTS
    )
    least, most = (await conn.execute(query.with_hint(run, _INDEX, "mysql"))).one()
    is_gone = since_ms < gone_ms or any(first <= from_ms and since_ms <= last for first, last in removed)
    return Fired(begun[-1].number, int(least or 0), UNLIMITED if is_gone else int(most or 0))


async def _maximum_since(conn: AsyncConnection, job_id: int, number: int) -> int:
    """When the maximum that this version has was set where there was none."""
    since_ms = 0
    while True:
        query = select(job_version.c.version, job_version.c.created_ms, job_version.c.definition).where(
            job_version.c.job_id == job_id, job_version.c.version <= number
        )
        page = (await conn.execute(query.order_by(job_version.c.version.desc()).limit(_VERSIONS))).all()
        for row in page:
            if not json.loads(row.definition).get("timing", {}).get("window", {}).get("max_fires"):
                return since_ms
            since_ms = row.created_ms
        if len(page) < _VERSIONS:
            return since_ms
        number = page[-1].version - 1


def _first(job_id: int, *bounds: ColumnElement[bool]) -> Select[Any]:
    """Rows of slots that are neither attempts after the first nor shards of a parent."""
    mine = run.c
    columns = [mine[name] for name in _FIRST]
    return select(*columns).where(mine.job_id == job_id, *bounds, *_FIRSTS).with_hint(run, _INDEX, "mysql")


def _row_of(row: Any) -> FirstRow:
    return FirstRow(
        id=row.id,
        slot_ms=row.slot_key,
        last_slot_ms=row.last_slot_ms or row.slot_key,
        slot_count=row.slot_count,
        state=RunState(row.state),
        reason=row.reason or "",
        due_ms=row.due_ms,
        sent_ms=row.sent_ms,
        ended_ms=row.finished_ms,
        is_belated=LATE in (row.reason or "") and row.state != RunState.LOST,
    )


async def _with_ends(conn: AsyncConnection, job_id: int, rows: list[FirstRow]) -> list[FirstRow]:
    """A slot has ended when the last of its attempts has."""
    retried = [
        row.slot_ms for row in rows if row.state is RunState.RETRYING or row.reason.startswith(TRIED_AGAIN)
    ]
    is_late = and_(run.c.reason.contains(LATE), run.c.state != int(RunState.LOST))
    is_none = run.c.reason.contains(AFTER_ALL)
    in_time = func.max(case((or_(is_late, is_none), 0), else_=run.c.finished_ms))
    late = func.max(case((is_late, run.c.finished_ms), else_=0))
    ends: dict[int, tuple[int, bool]] = {}
    for some in _pages(retried):
        query = (
            select(run.c.slot_key, in_time, late, count_open())
            .where(run.c.job_id == job_id, some, run.c.shard <= 0)
            .group_by(run.c.slot_key)
        )
        for slot_ms, end_ms, late_ms, still_open in await conn.execute(query):
            ends[slot_ms] = (0 if still_open else max(end_ms, late_ms), late_ms > end_ms)
    return [
        replace(row, ended_ms=ends[row.slot_ms][0], is_belated=ends[row.slot_ms][1])
        if row.slot_ms in ends
        else row
        for row in rows
    ]


async def _with_first_sends(conn: AsyncConnection, job_id: int, rows: list[FirstRow]) -> list[FirstRow]:
    """A slot has begun when the first of its attempts or shards was sent."""
    sent_ms = func.min(run.c.sent_ms)
    sent: dict[int, int] = {}
    for some in _pages([row.slot_ms for row in rows]):
        query = (
            select(run.c.slot_key, sent_ms)
            .where(run.c.job_id == job_id, some, run.c.sent_ms > 0)
            .group_by(run.c.slot_key)
        )
        sent.update((row[0], row[1]) for row in await conn.execute(query))
    return [replace(row, first_sent_ms=sent.get(row.slot_ms, 0)) for row in rows]


def _pages(slots: Sequence[int]) -> Iterator[ColumnElement[bool]]:
    """The condition that a row is of one of these slots, some at a time."""
    wanted = sorted(slots)
    for start in range(0, len(wanted), _PAGE):
        yield run.c.slot_key.in_(wanted[start : start + _PAGE])
