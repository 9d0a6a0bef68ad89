"""Backfills: a slot gets its run in one transaction, under a compare-and-set on the time of the last start."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.backfill import Backfill, BackfillState
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.model import NewRun
from gateway.core.states import OPEN, RunState
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.sqltext import join_addresses
from gateway.store.tables import backfill, backfill_slot, job, job_next_fire, run
from gateway.store.transact import reading, transact

_CHUNK = 500
_b, _slot = backfill.c, backfill_slot.c
_NOT_STORED = {"id", "started", "outcomes"}


class BackfillStore:
    """Implements `core.backfill.BackfillStore`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    # ------------------------------------------------------------ people

    async def create(self, new: Backfill, slots: Sequence[int]) -> Backfill:
        names = (name for name in Backfill.__dataclass_fields__ if name not in _NOT_STORED)
        row = {name: getattr(new, name) for name in names}
        row |= {"state": int(new.state), "newest_first": int(new.newest_first)}

        async def body(conn: AsyncConnection) -> int:
            lock = select(job.c.name).where(job.c.id == new.job_id).with_for_update()
            name = (await conn.execute(lock)).scalar()
            if name is None:
                raise NotFound("job", new.job_id)
            made = await conn.execute(insert(backfill).values(row))
            made_id = made.inserted_primary_key[0]  # type: ignore[index]  # it has one
            for start in range(0, len(slots), _CHUNK):
                some = slots[start : start + _CHUNK]
                await conn.execute(
                    insert(backfill_slot),
                    [{"backfill_id": made_id, "slot_ms": at, "run_id": 0} for at in some],
                )
            text = f"backfill {made_id}: {new.total} slots"
            await note(conn, new.created_ms, Source.JOB, "backfill", [(new.job_id, name, text)])
            return int(made_id)

        return replace(new, id=await transact(self._db, self._clock, body))

    async def get(self, backfill_id: int) -> Backfill:
        async with reading(self._db) as conn:
            row = (await conn.execute(_with_started().where(_b.id == backfill_id))).first()
            if row is None:
                raise NotFound("backfill", backfill_id)
            last = (run.c.shard <= 0, run.c.state != RunState.RETRYING)
            outcomes = (
                select(run.c.state, func.count())
                .select_from(backfill_slot.join(run, run.c.slot_key == -_slot.run_id))
                .where(_slot.backfill_id == backfill_id, _slot.run_id > 0, run.c.job_id == row.job_id, *last)
                .group_by(run.c.state)
            )
            found = {RunState(state).word: count for state, count in await conn.execute(outcomes)}
        return replace(_backfill_of(row), outcomes=found)

    async def of_job(self, job_id: int, limit: int) -> list[Backfill]:
        query = _with_started().where(_b.job_id == job_id).order_by(_b.id.desc()).limit(limit)
        async with reading(self._db) as conn:
            return [_backfill_of(row) for row in await conn.execute(query)]

    async def cancel(self, backfill_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            lock = select(_b.state, _b.job_id).where(_b.id == backfill_id).with_for_update()
            row = (await conn.execute(lock)).first()
            if row is None:
                raise NotFound("backfill", backfill_id)
            if row.state != BackfillState.RUNNING:
                word = BackfillState(row.state).word
                raise Conflict(f"backfill {backfill_id} is {word}: only one that runs can be cancelled")
            now_ms = self._clock.now_ms()
            values = {"state": int(BackfillState.CANCELLED), "finished_ms": now_ms}
            await conn.execute(update(backfill).where(_b.id == backfill_id).values(values))
            text = f"backfill {backfill_id} cancelled"
            await note(conn, now_ms, Source.JOB, "backfill", [(row.job_id, "", text)])

        await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ the flow

    async def running(self, parts: Collection[int]) -> list[Backfill]:
        mine = or_(job_next_fire.c.part.in_(sorted(parts)), job_next_fire.c.part.is_(None))
        query = (
            select(backfill)
            .select_from(backfill.outerjoin(job_next_fire, job_next_fire.c.job_id == _b.job_id))
            .where(_b.state == int(BackfillState.RUNNING), mine)
            .order_by(_b.id)
        )
        async with reading(self._db) as conn:
            return [_backfill_of(row) for row in await conn.execute(query)]

    async def started_runs(self, backfill_id: int) -> set[int]:
        query = select(_slot.run_id).where(_slot.backfill_id == backfill_id, _slot.run_id > 0)
        async with reading(self._db) as conn:
            return {row.run_id for row in await conn.execute(query)}

    async def open_runs(self, job_id: int, run_ids: Collection[int]) -> set[int]:
        ordered, found = sorted(run_ids), set[int]()
        async with reading(self._db) as conn:
            for start in range(0, len(ordered), _CHUNK):
                keys = [-run_id for run_id in ordered[start : start + _CHUNK]]
                query = select(run.c.slot_key).where(
                    run.c.job_id == job_id, run.c.slot_key.in_(keys), run.c.state.in_(sorted(OPEN))
                )
                found.update(-row.slot_key for row in await conn.execute(query))
        return found

    async def next_slots(self, wanted: Backfill, count: int) -> list[int]:
        order = _slot.slot_ms.desc() if wanted.newest_first else _slot.slot_ms
        query = select(_slot.slot_ms).where(_slot.backfill_id == wanted.id, _slot.run_id == 0)
        async with reading(self._db) as conn:
            return [row.slot_ms for row in await conn.execute(query.order_by(order).limit(count))]

    async def start(self, wanted: Backfill, runs: Mapping[int, NewRun], now_ms: int) -> bool:
        as_read = (
            _b.id == wanted.id,
            _b.state == int(BackfillState.RUNNING),
            _b.last_start_ms == wanted.last_start_ms,
        )
        start_ms = max(now_ms, wanted.last_start_ms + 1)

        async def body(conn: AsyncConnection) -> bool:
            moved = update(backfill).where(*as_read).values(last_start_ms=start_ms)
            if (await conn.execute(moved)).rowcount != 1:
                return False
            free = (_slot.backfill_id == wanted.id, _slot.slot_ms == bindparam("at"), _slot.run_id == 0)
            given = [{"at": slot_ms, "run": one.id} for slot_ms, one in sorted(runs.items())]
            await conn.execute(update(backfill_slot).where(*free).values(run_id=bindparam("run")), given)
            await conn.execute(
                insert(run), [_row(one) for one in sorted(runs.values(), key=lambda one: one.id)]
            )
            return True

        return await transact(self._db, self._clock, body)

    async def finish(self, wanted: Backfill, state: BackfillState) -> None:
        async def body(conn: AsyncConnection) -> None:
            now_ms = self._clock.now_ms()
            here = and_(_b.id == wanted.id, _b.state == int(BackfillState.RUNNING))
            values = {"state": int(state), "finished_ms": now_ms}
            if (await conn.execute(update(backfill).where(here).values(values))).rowcount == 1:
                text = f"backfill {wanted.id} {state.word}"
                await note(conn, now_ms, Source.JOB, "backfill", [(wanted.job_id, "", text)])

        await transact(self._db, self._clock, body)


def _with_started() -> Select[Any]:
    started = (
        select(func.count())
        .where(_slot.backfill_id == _b.id, _slot.run_id > 0)
        .correlate(backfill)
        .scalar_subquery()
    )
    return select(backfill, started.label("started"))


def _backfill_of(row: Any) -> Backfill:
    fields = {name: getattr(row, name) for name in Backfill.__dataclass_fields__ if hasattr(row, name)}
    fields |= {"state": BackfillState(row.state), "newest_first": bool(row.newest_first)}
    return Backfill(**fields)


def _row(one: NewRun) -> dict[str, Any]:
    return {
        "id": one.id,
        "namespace_id": one.namespace_id,
        "job_id": one.job_id,
        "app_id": one.app_id,
        "part": one.part,
        "slot_key": one.slot_key,
        "shard": one.shard,
        "root_id": one.root_id,
        "trigger_kind": int(one.trigger_kind),
        "state": int(one.state),
        "open_part": one.part,
        "priority": one.priority,
        "due_ms": one.due_ms,
        "created_ms": one.created_ms,
        "params": one.params,
        "addresses": join_addresses(one.addresses),
        "reason": one.reason,
        "data_ms": one.data_ms,
        "author": one.author,
    }
