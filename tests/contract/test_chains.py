"""The end of a chain's run and the next fire of its job, in one transaction, on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, update

from gateway.core.chain import ChainEnd
from gateway.core.clock import SystemClock
from gateway.core.model import Counters
from gateway.core.states import RunState
from gateway.core.work import JobFire, Work
from gateway.store import chains
from gateway.store.engine import Database
from gateway.store.tables import job_next_fire
from gateway.store.tables import run as run_table
from gateway.store.writer import GroupWriter
from tests.contract.test_writer import SLOT, end, run

DELAY, END = 5000, SLOT + 777


@pytest.fixture
async def writer(db: Database) -> AsyncIterator[GroupWriter]:
    made = GroupWriter(db, SystemClock(), Counters())
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def chained(db: Database, job_id: int, **values: int | None) -> None:
    row = {"job_id": job_id, "part": 7, "version": 1, "next_fire_at": SLOT, "chain_delay_ms": DELAY}
    async with db.write() as conn:
        await conn.execute(insert(job_next_fire).values(row | values))


async def fires(rows) -> dict[int, tuple[int | None, int, int]]:
    return {
        row["job_id"]: (row["next_fire_at"], row["chain_run_id"], row["chain_end_ms"])
        for row in await rows(job_next_fire)
    }


def running(job_id: int, run_id: int, shard: int = 0) -> JobFire:
    state = RunState.RUNNING
    row = run(run_id, job_id=job_id, slot_key=SLOT, shard=shard, state=state)
    return JobFire(job_id, 7, 1, SLOT, None, (row,), -run_id if shard < 0 else run_id)


def ended(job_id: int, run_id: int, at: int = END, *, shard: int = 0, state: RunState = RunState.FAILED):
    return end(run_id, state, at, chain=ChainEnd(job_id, -run_id if shard < 0 else run_id, at))


async def test_many_chains_of_one_commit(db, writer, rows):
    for job_id in range(1, 9):
        await chained(db, job_id)
    work = Work(fires=[running(job_id, 100 + job_id, -(job_id % 2)) for job_id in range(1, 9)])
    await writer.write(work)
    assert await fires(rows) == {n: (None, -100 - n if n % 2 else 100 + n, 0) for n in range(1, 9)}
    async with db.write() as conn:
        await conn.execute(update(job_next_fire).where(job_next_fire.c.job_id == 3).values(enabled=0))
    moves = [ended(n, 100 + n, END + n % 3, shard=-(n % 2)) for n in range(1, 9)]
    await writer.write(Work(moves=moves))
    at = {n: END + n % 3 for n in range(1, 9)}
    assert await fires(rows) == {n: (None if n == 3 else at[n] + DELAY, 0, at[n]) for n in range(1, 9)}


@pytest.mark.parametrize("careful", [False, True])
async def test_a_chain_is_ended_once_and_only_by_its_own_run(db, writer, rows, careful):
    await chained(db, 1)
    await chained(db, 2, next_fire_at=SLOT + 1)
    other = run(300, job_id=2, state=RunState.SUCCEEDED)
    await writer.write(Work(fires=[running(1, 101)], inserts=[other, run(200, state=RunState.RUNNING)]))
    gone = [end(300)] if careful else []  # one that has ended: each guard is judged alone
    written = await writer.write(Work(moves=[ended(1, 200, END - 1), ended(1, 101), *gone]))
    assert written.lost_moves == {move.run_id for move in gone}
    assert await fires(rows) == {1: (END + DELAY, 0, END), 2: (SLOT + 1, 0, 0)}
    again = await writer.write(Work(moves=[ended(1, 101, END + 99, state=RunState.SUCCEEDED)]))
    assert again.lost_moves == {101}
    assert (await fires(rows))[1] == (END + DELAY, 0, END)


async def test_a_late_result_beside_the_next_end(db, writer, rows):
    await chained(db, 1)
    lost = run(90, slot_key=SLOT - 1, state=RunState.LOST)
    await writer.write(Work(inserts=[lost], fires=[running(1, 101)]))
    late = ended(1, 90, END - 500, state=RunState.SUCCEEDED)
    late.sources = frozenset({RunState.LOST})
    await writer.write(Work(moves=[late, ended(1, 101)]))
    assert (await fires(rows))[1] == (END + DELAY, 0, END)


async def test_a_job_that_has_no_chain_any_more_keeps_its_next_fire(db, writer, rows):
    await chained(db, 1)
    await writer.write(Work(fires=[running(1, 101)]))
    async with db.write() as conn:
        await conn.execute(update(job_next_fire).values(chain_delay_ms=0, next_fire_at=SLOT + 60_000))
    await writer.write(Work(moves=[ended(1, 101)]))
    assert await fires(rows) == {1: (SLOT + 60_000, 0, END)}


async def test_what_is_not_ended_is_found(db, writer, rows):
    for job_id in (1, 2, 3, 4, 5):
        await chained(db, job_id)
    await writer.write(Work(fires=[running(n, 100 + n, -(n == 4)) for n in (1, 2, 3, 4)]))
    over = {"state": RunState.FAILED, "open_part": None, "finished_ms": END}
    async with db.write() as conn:
        await conn.execute(update(run_table).where(run_table.c.id.in_([102, 103, 104])).values(over))
        await conn.execute(update(job_next_fire).where(job_next_fire.c.job_id == 5).values(chain_run_id=999))
    retry = run(500, job_id=3, slot_key=SLOT, root_id=103, attempt=2, state=RunState.QUEUED)
    await writer.write(Work(inserts=[retry]))
    async with db.read() as conn:
        assert await chains.unended(conn, [6]) == []
        found = await chains.unended(conn, [7])
    assert sorted(found) == [(2, 102, END), (4, -104, END), (5, 999, 0)]
    async with db.write() as conn:
        assert [await chains.end(conn, *one) for one in found for _ in range(2)] == [True, False] * 3
    assert (await fires(rows))[2] == (END + DELAY, 0, END)
