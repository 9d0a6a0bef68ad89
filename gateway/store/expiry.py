"""Records beside runs that are old enough to go: names, events, results of strangers, backfills, counts, executors."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.backfill import BackfillState
from gateway.core.clock import Clock
from gateway.core.daily import DAY_MS, day_of
from gateway.core.retention import DAILY_DAYS, TASK_DAYS, cut_ms
from gateway.store.apps import FORGOTTEN_MS
from gateway.store.engine import Database
from gateway.store.tables import (
    backfill,
    backfill_slot,
    event,
    executor,
    foreign_result,
    idempotency_key,
    run_daily,
    task,
    user_session,
)
from gateway.store.transact import reading, transact


class Expiry:
    """Works in portions: a transaction removes so many rows of one table at most."""

    def __init__(self, db: Database, clock: Clock, portion: int) -> None:
        self._db = db
        self._clock = clock
        self._portion = portion

    async def sweep(self, now_ms: int, run_days: int, event_days: int) -> bool:
        """Remove a portion of each kind. Whether there may be more."""
        week_ms = now_ms - TASK_DAYS * DAY_MS
        is_more = False
        for table, key, at_ms, before_ms, order in (
            (task, task.c.task_id, task.c.created_ms, week_ms, task.c.created_ms),
            (
                idempotency_key,
                idempotency_key.c.key_text,
                idempotency_key.c.created_ms,
                week_ms,
                idempotency_key.c.created_ms,
            ),
            (event, event.c.id, event.c.at_ms, now_ms - event_days * DAY_MS, event.c.at_ms),
            (
                foreign_result,
                foreign_result.c.id,
                foreign_result.c.received_ms,
                week_ms,
                foreign_result.c.id,
            ),
            (
                user_session,
                user_session.c.token_hash,
                user_session.c.expires_ms,
                now_ms,
                user_session.c.expires_ms,
            ),
        ):
            is_more |= await self._oldest(table, key, at_ms < before_ms, order) == self._portion
        is_more |= await self._backfill(cut_ms(now_ms, run_days))
        await transact(self._db, self._clock, lambda conn: _rest(conn, now_ms))
        return is_more

    async def _oldest(
        self, table: Table, key: ColumnElement[Any], is_old: ColumnElement[bool], order: ColumnElement[Any]
    ) -> int:
        """Remove what is old among the first rows of that order; how many."""
        async with reading(self._db) as conn:
            first = select(key, is_old.label("is_old")).order_by(order).limit(self._portion)
            keys = sorted(row[0] for row in await conn.execute(first) if row.is_old)

        async def body(conn: AsyncConnection) -> None:
            await conn.execute(delete(table).where(key.in_(keys), is_old))

        if keys:
            await transact(self._db, self._clock, body)
        return len(keys)

    async def _backfill(self, before_ms: int) -> bool:
        """A portion of the slots of the oldest backfill that is over; itself with the last of them."""
        mine, slots = backfill.c, backfill_slot.c
        over = and_(mine.state != int(BackfillState.RUNNING), mine.finished_ms.between(1, before_ms - 1))
        async with reading(self._db) as conn:
            oldest = select(mine.id).where(over).order_by(mine.id).limit(1)
            backfill_id = (await conn.execute(oldest)).scalar()
            if backfill_id is None:
                return False
            of_it = slots.backfill_id == backfill_id
            some = select(slots.slot_ms).where(of_it).order_by(slots.slot_ms).limit(self._portion)
            found = list((await conn.execute(some)).scalars())

        async def body(conn: AsyncConnection) -> None:
            await conn.execute(delete(backfill_slot).where(of_it, slots.slot_ms.in_(found)))
            if len(found) < self._portion:
                await conn.execute(delete(backfill).where(mine.id == backfill_id))

        await transact(self._db, self._clock, body)
        return True


async def _rest(conn: AsyncConnection, now_ms: int) -> None:
    await conn.execute(delete(run_daily).where(run_daily.c.day < day_of(now_ms) - DAILY_DAYS))
    gone = and_(executor.c.gone == 1, executor.c.last_beat_ms < now_ms - FORGOTTEN_MS)
    await conn.execute(delete(executor).where(gone))
