"""No statement of the hot path walks a table: the plan of each one that was really executed, on tables that are filled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, insert

from gateway.core.chain import ChainEnd
from gateway.core.clock import SystemClock
from gateway.core.model import PARTS, AddressMode, App, Counters, Job, NewRun, Task, TriggerKind
from gateway.core.parts import part_of
from gateway.core.states import IN_FLIGHT, OPEN, WAITING, RunState
from gateway.core.work import JobFire, Lease, Move, TaskName, Work
from gateway.store import transaction
from gateway.store.apps import AppStore
from gateway.store.backfills import BackfillStore
from gateway.store.engine import Database
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.runs import RunStore
from gateway.store.tables import job as job_table
from gateway.store.tables import job_next_fire, node
from gateway.store.tables import run as run_table
from gateway.store.writer import GroupWriter

JOBS = 3000
FINISHED = 6000
SLOT = 1_795_000_000_000
FIRST = 1 << 32


class Statements:
    """All statements that reach the database, with their parameters, each text once."""

    def __init__(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[str, Any] = {}
        self.on = False
        for name in ("execute", "rows"):
            self._listen(monkeypatch, name)
        for engine in {db.reader.sync_engine, db.writer.sync_engine}:
            event.listen(engine, "before_cursor_execute", self._core)

    def _listen(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(transaction.Cursor, name)

        async def noting(cursor: Any, sql: str) -> Any:
            self._note(sql, None)
            return await original(cursor, sql)

        monkeypatch.setattr(transaction.Cursor, name, noting)

    def _core(self, _conn: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        self._note(sql, parameters)

    def _note(self, sql: str, parameters: Any) -> None:
        if self.on and sql.split(maxsplit=1)[0].upper() in ("SELECT", "UPDATE", "DELETE"):
            self.seen.setdefault(sql, parameters)


@pytest.fixture
def statements(db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    recorder = Statements(db, monkeypatch)
    yield recorder
    recorder.on = False


async def fill(db: Database) -> None:
    jobs, fires = [], []
    for n in range(100_000, 100_000 + JOBS):
        values = {
            "id": n,
            "app_id": 1 + n % 9,
            "part": part_of(n),
            "name": f"job {n}",
            "enabled": True,
            "definition": "{}",
        }
        jobs.append(values)
        fires.append({"job_id": n, "part": part_of(n), "next_fire_at": 4_000_000_000_000 + n})
    runs = [
        {
            "id": n + 1,
            "job_id": 100_000 + n % JOBS,
            "app_id": 1,
            "part": 1,
            "slot_key": SLOT - n,
            "root_id": n,
            "state": 10,
            "due_ms": SLOT - n,
        }
        for n in range(FINISHED)
    ]
    async with db.write() as conn:
        await conn.execute(insert(job_table), jobs)
        await conn.execute(insert(job_next_fire), fires)
        await conn.execute(insert(run_table), runs)
        await conn.execute(insert(node).values(name="n", epoch=1))
    if not db.is_sqlite:  # it keeps its statistics by itself; SQLite has none unless somebody asks
        async with db.read() as conn:
            (await conn.exec_driver_sql("ANALYZE TABLE job, job_next_fire, run, node")).close()


def row(run_id: int, job_id: int, **changes: Any) -> NewRun:
    fields: dict[str, Any] = {
        "id": run_id,
        "namespace_id": 1,
        "job_id": job_id,
        "app_id": 1,
        "part": part_of(job_id),
        "slot_key": SLOT + run_id,
        "due_ms": SLOT + run_id,
        "created_ms": SLOT,
        "trigger_kind": TriggerKind.SCHEDULE,
        "state": RunState.PLANNED,
        "root_id": run_id,
    }
    return NewRun(**(fields | changes))


async def live(db: Database, count: int) -> None:
    """A small run of all that the flow asks of the store, `count` rows at a time."""
    clock = SystemClock()
    writer = GroupWriter(db, clock, Counters())
    task = asyncio.create_task(writer.run())
    ids = run_ids(db, clock)
    jobs, runs = JobStore(db, clock, job_ids(db, clock), ids), RunStore(db, clock)
    app = await AppStore(db, clock, app_ids(db, clock)).create(
        App(0, 1, "shop", "", AddressMode.AUTO, (), 0, 0)
    )
    schedule = {"kind": "fixed_rate", "expression": "1s"}
    made = await jobs.create(
        [Job(0, 1, app.id, 0, 1, f"j{n}", True, schedule, Task("h")) for n in range(count)]
    )
    lease = Lease("n", 1)
    due = await jobs.due(clock.now_ms() + 3000, 2000, range(PARTS))
    assert len(due) == count
    await jobs.load([job.id for job in made])
    fires = [
        JobFire(
            one.job_id,
            part_of(one.job_id),
            1,
            one.next_fire_at,
            one.next_fire_at + 3_600_000,
            (row(FIRST + n, one.job_id),),
            FIRST + n if n % 2 else 0,  # every other is a chain
        )
        for n, one in enumerate(due)
    ]
    assert not (await writer.write(Work(fires=fires, lease=lease))).lost_fires
    claims = [
        Move(
            FIRST + n,
            RunState.DISPATCHING,
            WAITING,
            {"claim_token": 7, "address": f"a{n % 3}"},
            None,
            (),
            one.job_id,
            1,
        )
        for n, one in enumerate(due)
    ]
    assert not (await writer.write(Work(moves=claims, lease=lease))).lost_moves
    everyone = [FIRST + n for n in range(count)]
    back = [
        Move(n, RunState.QUEUED, frozenset({RunState.DISPATCHING}), {"claim_token": 0}, claim=7)
        for n in everyone[:1]
    ]
    await writer.write(Work(moves=back))
    answers = [
        Move(n, RunState.RUNNING, frozenset({RunState.DISPATCHING}), {"sent_ms": SLOT}) for n in everyone
    ]
    await writer.write(Work(moves=answers))  # one of them misses, so the careful form is seen as well
    assert len(await runs.get_many(everyone)) == count
    assert len(await runs.open_runs(None, 500, OPEN, range(PARTS))) == min(count, 500)
    await runs.open_runs(None, 500, {RunState.RUNNING, RunState.STOPPING}, range(PARTS))
    await runs.open_runs_of_job(made[0].id, made[0].part, 0, 500)
    await runs.family(made[0].id, SLOT + FIRST)
    assert len(await runs.slots_with_rows([(one.job_id, SLOT, 2 * SLOT) for one in due])) == count
    ends = [
        Move(n, RunState.FAILED, IN_FLIGHT, {"finished_ms": SLOT, "message": f"{n}"}) for n in everyone[1:]
    ]
    for one, end in zip(due[1:], ends, strict=True):
        end.chain = ChainEnd(one.job_id, end.run_id, SLOT)
    await jobs.mend_chains(range(PARTS))
    await writer.write(Work(moves=ends))
    backfills = BackfillStore(db, clock)
    await backfills.running(range(PARTS))
    await backfills.open_runs(made[0].id, everyone)
    name = TaskName(1, "t", FIRST + 90_000, SLOT)
    await writer.write(Work(inserts=(row(FIRST + 90_000, made[0].id, slot_key=-5),), names=(name,)))
    changed = await jobs.update(
        replace(await jobs.get(made[0].id), schedule={"kind": "fixed_rate", "expression": "2h"})
    )
    await jobs.set_enabled(changed.id, enabled=False)
    await jobs.delete(changed.id)
    await writer.drain()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("count", [3, 900])
async def test_no_statement_of_the_hot_path_scans(db: Database, statements: Statements, count: int) -> None:
    await fill(db)
    statements.on = True
    await live(db, count)
    statements.on = False
    assert len(statements.seen) > 15
    scans: list[str] = []
    async with db.read() as conn:
        for sql, parameters in statements.seen.items():
            explain = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
            plan = (await conn.exec_driver_sql(explain + sql, parameters)).mappings().all()
            scans += [f"{sql[:200]} … {dict(step)}" for step in plan if _is_scan(dict(step), db)]
    assert not scans, "\n".join(scans)


def _is_scan(step: dict[str, Any], db: Database) -> bool:
    if db.is_sqlite:
        detail = step["detail"]
        return detail.startswith("SCAN") and "CONSTANT" not in detail
    return step["table"] in ("run", "job", "job_next_fire", "job_version") and step["type"] in (
        "ALL",
        "index",
    )
