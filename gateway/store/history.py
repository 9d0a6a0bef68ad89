"""What is kept and for how long: old runs leave in portions, and their counts stay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock, iso_utc
from gateway.core.daily import DAY_MS, day_of, tally
from gateway.core.events import Source
from gateway.core.model import FIRST_LONG_ID, MOST_NAME, Run
from gateway.core.parts import part_of
from gateway.core.retention import PORTION, Kept, Portion, removable
from gateway.store import daily
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.expiry import Expiry
from gateway.store.nodes import LIVE
from gateway.store.tables import (
    deleted_job,
    job,
    job_version,
    node,
    run,
    setting,
)
from gateway.store.transact import reading, transact, upsert

PORTION_OF_SQLITE = 100
NOTE = "history."
_MARK = '%"retention_days"%'
_LOOKED_AT = ("id", "slot_key", "created_ms", "finished_ms", "open_part")
_COUNTED = ("id", "state", "shard", "slot_count", "due_ms", "sent_ms", "finished_ms", "app_id")


class HistoryStore:
    """Implements `core.retention.History` and `RunRemover`. One job at a time: counting and removing exclude each other."""

    def __init__(self, db: Database, clock: Clock, portion: int | None = None) -> None:
        self._db = db
        self._clock = clock
        # SQLite has one connection that writes, and claims must not wait long for it.
        self._portion = portion or (PORTION_OF_SQLITE if db.is_sqlite else PORTION)
        self._expiry = Expiry(db, clock, self._portion)
        self._one_at_a_time = asyncio.Lock()

    # ------------------------------------------------------------ looking

    async def kept(self, parts: Collection[int], after_id: int, limit: int, *, deleted: bool) -> list[Kept]:
        query = (_of_deleted() if deleted else _of_jobs()).limit(limit)
        key = deleted_job.c.job_id if deleted else job.c.id
        table = deleted_job if deleted else job
        query = query.where(key > after_id, table.c.part.in_(sorted(parts))).order_by(key)
        async with reading(self._db) as conn:
            rows = (await conn.execute(query)).all()
            firsts = sorted({first for row in rows for first in (row.first_id, row.first_long_id) if first})
            made = select(run.c.id, run.c.created_ms).where(run.c.id.in_(firsts))
            ages = {row.id: row.created_ms for row in await conn.execute(made)} if firsts else {}
        return [
            Kept(
                job_id=row.job_id,
                app_id=row.app_id,
                part=row.part,
                days=None if row.definition is None else json.loads(row.definition).get("retention_days"),
                oldest_ms=min(ages.get(one, 0) for one in (row.first_id, row.first_long_id or row.first_id)),
                newest_id=_newest(row),
                deleted=deleted,
                keep_history=bool(row.keep_history),
            )
            for row in rows
        ]

    # ------------------------------------------------------------ counting

    async def count(self, kept: Kept) -> bool:
        job_id, app_id, now_ms = kept.job_id, kept.app_id, self._clock.now_ms()

        async def all_of_it(conn: AsyncConnection) -> bool:
            await _lock(conn, job_id)
            found = await daily.count(conn, job_id)
            assert found is not None
            await daily.write_down(conn, job_id, app_id, found, now_ms)
            return found.has_open

        async with self._one_at_a_time:
            if not self._db.is_sqlite:
                return await transact(self._db, self._clock, all_of_it)
            # The one connection that writes is not to wait for a count; nobody else removes anything meanwhile.
            async with reading(self._db) as conn:
                found = await daily.count(conn, job_id)
            assert found is not None

            async def body(conn: AsyncConnection) -> None:
                await daily.write_down(conn, job_id, app_id, found, now_ms)

            await transact(self._db, self._clock, body)
            return found.has_open

    # ------------------------------------------------------------ removing

    async def remove(self, kept: Kept, before_ms: int, after_id: int) -> Portion:
        looked_at = (
            select(*(run.c[name] for name in _LOOKED_AT))
            .where(run.c.job_id == kept.job_id, run.c.id > after_id)
            .order_by(run.c.id)
            .limit(self._portion)
            # Ordered by its key, MySQL would rather walk the whole table.
            .with_hint(run, daily.INDEX, "mysql")
        )
        async with self._one_at_a_time:
            async with reading(self._db) as conn:
                rows = (await conn.execute(looked_at)).all()
                ended = [row for row in rows if row.open_part is None]
                held = await _held(conn, kept.job_id, ended, before_ms)
            ids = removable(ended, held, before_ms)
            await self._remove(kept.job_id, kept.app_id, ids)
        return Portion(len(ids), len(held), self._next(rows, before_ms))

    def _next(self, rows: Sequence[Any], before_ms: int) -> int | None:
        """Where the next look begins. Short ids may be of the time after the long ones, or before."""
        if len(rows) < self._portion:
            return None
        last = rows[-1]
        if last.created_ms < before_ms + daily.SLACK_MS:
            return int(last.id)
        return FIRST_LONG_ID - 1 if last.id < FIRST_LONG_ID else None

    async def settle(self, kept: Kept, before_ms: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            await _lock(conn, kept.job_id)
            await daily.drop_live(conn, kept.job_id, day_of(before_ms))

        async with self._one_at_a_time:
            await transact(self._db, self._clock, body)

    async def remove_runs(self, runs: Sequence[Run]) -> int:
        by_job: dict[int, list[Run]] = {}
        for one in runs:
            by_job.setdefault(one.job_id, []).append(one)
        removed = 0
        for job_id, some in sorted(by_job.items()):
            for start in range(0, len(some), self._portion):
                slots = sorted({one.slot_key for one in some[start : start + self._portion]})
                removed += await self._remove_slots(job_id, some[0].app_id, slots)
        return removed

    async def _remove_slots(self, job_id: int, app_id: int, slots: Sequence[int]) -> int:
        family = and_(run.c.job_id == job_id, run.c.slot_key.in_(slots))
        query = select(run.c.id, run.c.slot_key, run.c.open_part).where(family)
        removed = 0
        async with self._one_at_a_time:
            async with reading(self._db) as conn:
                rows = (await conn.execute(query)).all()
            held = {row.slot_key for row in rows if row.open_part is not None}
            ids = sorted(row.id for row in rows if row.slot_key not in held)
            for start in range(0, len(ids), self._portion):
                some = ids[start : start + self._portion]
                removed += await self._remove(job_id, app_id, some, by_hand=True)
        return removed

    async def _remove(self, job_id: int, app_id: int, ids: Sequence[int], *, by_hand: bool = False) -> int:
        now_ms = self._clock.now_ms()

        async def body(conn: AsyncConnection) -> int:
            await _lock(conn, job_id)
            mine = and_(run.c.id.in_(ids), run.c.open_part.is_(None))
            wanted = select(*(run.c[name] for name in _COUNTED)).where(mine).order_by(run.c.id)
            rows: Sequence[Any] = (await conn.execute(wanted.with_for_update())).all()
            await conn.execute(delete(run).where(run.c.id.in_([row.id for row in rows])))
            if rows:
                await daily.move_to_removed(conn, job_id, app_id or rows[0].app_id, tally(rows))
            if rows and by_hand:
                told = [(job_id, "", f"{len(rows)}: from {rows[0].id} to {rows[-1].id}")]
                await note(conn, now_ms, Source.JOB, "runs_removed", told)
            return len(rows)

        return await transact(self._db, self._clock, body) if ids else 0

    async def forget(self, kept: Kept) -> bool:
        async def body(conn: AsyncConnection) -> bool:
            await _lock(conn, kept.job_id)
            left = select(run.c.id).where(run.c.job_id == kept.job_id).limit(1)
            if (await conn.execute(left)).first() is not None:
                return False
            await conn.execute(delete(job_version).where(job_version.c.job_id == kept.job_id))
            await conn.execute(delete(deleted_job).where(deleted_job.c.job_id == kept.job_id))
            await daily.drop_live(conn, kept.job_id, 1 << 30)
            return True

        return await transact(self._db, self._clock, body)

    async def adopt(self) -> int:
        orphans = (
            select(job_version.c.job_id, job_version.c.definition, job_version.c.created_ms)
            .where(
                job_version.c.version == 1,
                ~exists().where(job.c.id == job_version.c.job_id),
                ~exists().where(deleted_job.c.job_id == job_version.c.job_id),
            )
            .limit(self._portion)
        )
        async with reading(self._db) as conn:
            found = (await conn.execute(orphans)).all()
        now_ms = self._clock.now_ms()
        rows = [
            {
                "job_id": row.job_id,
                "part": part_of(row.job_id),
                "name": str(json.loads(row.definition).get("name", ""))[:MOST_NAME],
                "keep_history": 1,
                "created_ms": row.created_ms,
                "deleted_ms": now_ms,
            }
            for row in found
        ]

        async def body(conn: AsyncConnection) -> None:
            await conn.execute(upsert(self._db, deleted_job, update=("deleted_ms",)), rows)

        if rows:
            await transact(self._db, self._clock, body)
        return len(rows)

    # ------------------------------------------------------------ other records

    async def sweep(self, now_ms: int, run_days: int, event_days: int) -> bool:
        return await self._expiry.sweep(now_ms, run_days, event_days)

    async def note_pass(self, node: str, began_ms: int, ended_ms: int, removed: int) -> None:
        value = json.dumps({"began_ms": began_ms, "ended_ms": ended_ms, "removed": removed})

        async def body(conn: AsyncConnection) -> None:
            row = {"name": (NOTE + node)[:64], "value": value}
            await conn.execute(upsert(self._db, setting, update=("value",)).values(row))

        await transact(self._db, self._clock, body)


async def pass_warnings(db: Database, now_ms: int) -> list[str]:
    """Nodes that cannot remove runs as fast as they end."""
    query = select(setting).where(setting.c.name.like(NOTE + "%")).order_by(setting.c.name)
    async with db.read() as conn:
        rows = (await conn.execute(query)).all()
        live = {row.name for row in await conn.execute(select(node.c.name).where(node.c.live == LIVE))}
    found: list[str] = []
    for row in rows:
        name, last = row.name.removeprefix(NOTE), json.loads(row.value)
        took_ms = last["ended_ms"] - last["began_ms"]
        if name in live and max(took_ms, now_ms - last["ended_ms"]) > DAY_MS:
            found.append(
                f"node {name!r} needs more than a day to go through the runs that are to be removed (last done "
                f"at {iso_utc(last['ended_ms'])}): more end than it can remove"
            )
    return found


def _of_jobs() -> Select[Any]:
    has_days = case((job.c.definition.like(_MARK), job.c.definition)).label("definition")
    return select(job.c.id.label("job_id"), job.c.app_id, job.c.part, has_days, _true(), *_ends(job.c.id))


def _of_deleted() -> Select[Any]:
    mine = deleted_job.c
    none: ColumnElement[Any] = case((mine.job_id < 0, "")).label("definition")
    return select(mine.job_id, mine.app_id, mine.part, none, mine.keep_history, *_ends(mine.job_id))


def _true() -> ColumnElement[int]:
    return case((job.c.id > 0, 1)).label("keep_history")


def _ends(key: ColumnElement[int]) -> tuple[ColumnElement[Any], ...]:
    """The first and the last run of each job, of each of the two sequences of ids: short seeks."""
    mine, is_long = run.c.job_id == key, run.c.id >= FIRST_LONG_ID
    return (
        select(func.min(run.c.id)).where(mine).scalar_subquery().label("first_id"),
        select(func.max(run.c.id)).where(mine).scalar_subquery().label("last_id"),
        select(func.min(run.c.id)).where(mine, is_long).scalar_subquery().label("first_long_id"),
        select(func.max(run.c.id)).where(mine, ~is_long).scalar_subquery().label("last_short_id"),
    )


def _newest(row: Any) -> int:
    """A number that grows with each newer run, whichever sequence its id is of."""
    last, last_short = row.last_id or 0, row.last_short_id or 0
    return int(last if last_short in (0, last) else last + last_short)


async def _lock(conn: AsyncConnection, job_id: int) -> None:
    """The row of the job, or what is left of a deleted one, is held until the transaction ends."""
    there = await conn.execute(select(job.c.id).where(job.c.id == job_id).with_for_update())
    if there.first() is None:
        mine = select(deleted_job.c.job_id).where(deleted_job.c.job_id == job_id)
        await conn.execute(mine.with_for_update())


async def _held(conn: AsyncConnection, job_id: int, rows: Sequence[Any], before_ms: int) -> set[int]:
    """Of the slots of these rows, those some run of which is open or ended later."""
    slots = sorted({row.slot_key for row in rows if row.finished_ms < before_ms})
    if not slots:
        return set()
    later = or_(run.c.open_part.is_not(None), run.c.finished_ms >= before_ms)
    query = select(run.c.slot_key).where(run.c.job_id == job_id, run.c.slot_key.in_(slots), later)
    return {row.slot_key for row in await conn.execute(query)}
