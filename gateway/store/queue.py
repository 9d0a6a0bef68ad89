"""Queries on runs that wait for a place. The index on open runs bounds them all."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select

from gateway.core.model import PARTS, Run
from gateway.core.states import WAITING, RunState
from gateway.store.engine import Database
from gateway.store.run_rows import COLUMNS, run_of
from gateway.store.runs import OPEN_INDEX
from gateway.store.tables import run
from gateway.store.transact import reading

_LAST_RUNS = 5
_MOST_JOBS = 30


class QueueStore:
    """Implements `core.waiting.QueueReader`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def waiting(self, app_id: int, now_ms: int, limit: int) -> tuple[list[Run], int]:
        due = (*_open(app_id), run.c.state.in_(sorted(WAITING)), run.c.due_ms <= now_ms)
        order = (run.c.queue_rank.desc(), run.c.priority.desc(), run.c.due_ms, run.c.id)
        first = select(*COLUMNS).where(*due).order_by(*order).limit(limit)
        async with reading(self._db) as conn:
            found = await conn.execute(first.with_hint(run, OPEN_INDEX, "mysql"))
            runs = [run_of(row) for row in found.mappings()]
            count = select(func.count()).select_from(run).where(*due).with_hint(run, OPEN_INDEX, "mysql")
            return runs, (await conn.execute(count)).scalar_one()

    async def durations_ms(self, job_ids: Sequence[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        async with reading(self._db) as conn:
            for job_id in sorted(set(job_ids))[:_MOST_JOBS]:
                last = (
                    select(run.c.sent_ms, run.c.finished_ms)
                    .where(run.c.job_id == job_id, run.c.state == RunState.SUCCEEDED, run.c.sent_ms > 0)
                    .order_by(run.c.id.desc())
                    .limit(_LAST_RUNS)
                )
                took = [max(row.finished_ms - row.sent_ms, 0) for row in await conn.execute(last)]
                if took:
                    found[job_id] = sum(took) // len(took)
        return found

    async def highest_rank(self, app_id: int) -> int:
        query = select(func.max(run.c.queue_rank)).where(*_open(app_id))
        async with reading(self._db) as conn:
            found = await conn.execute(query.with_hint(run, OPEN_INDEX, "mysql"))
            return found.scalar() or 0


def _open(app_id: int) -> tuple[ColumnElement[bool], ...]:
    return run.c.open_part.in_(range(PARTS)), run.c.app_id == app_id
