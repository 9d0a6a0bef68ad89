"""Backfills on every database: a slot gets its run once, whoever tries."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, update

from gateway.core.backfill import Backfill, BackfillState, run_for
from gateway.core.errors import Conflict, NotFound
from gateway.core.parts import part_of
from gateway.core.states import RunState
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.backfills import BackfillStore
from gateway.store.jobs import JobStore
from gateway.store.tables import run
from tests.contract.test_catalog import a_job, an_app

FIRST = 1_794_000_000_000


@pytest.fixture
def store(db, clock):
    return BackfillStore(db, clock)


@pytest.fixture
async def job(db, clock):
    app = await AppStore(db, clock, ids.app_ids(db, clock)).create(an_app("billing"))
    jobs = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    return (await jobs.create([a_job(app)]))[0]


def new(job, slots: int) -> Backfill:
    return Backfill(
        0,
        job.id,
        FIRST,
        FIRST + 1000 * slots,
        slots,
        2,
        params="day=${data_time}",
        author="ann",
        created_ms=5,
    )


async def test_from_its_slots_to_its_end(db, clock, store, job, rows):
    made = await store.create(new(job, 1200), [FIRST + 1000 * n for n in range(1200)])
    assert await store.get(made.id) == made
    assert await store.running([part_of(job.id) ^ 1]) == []
    (found,) = await store.running([part_of(job.id)])
    assert found == made
    slots = await store.next_slots(found, 2)
    assert slots == [FIRST, FIRST + 1000]
    runs = {at: run_for(found, job, at, 70 + n, clock.now_ms()) for n, at in enumerate(slots)}
    again = {at: run_for(found, job, at, 80 + n, clock.now_ms()) for n, at in enumerate(slots)}
    done = await asyncio.gather(
        store.start(found, runs, clock.now_ms()), store.start(found, again, clock.now_ms())
    )
    assert sorted(done) == [False, True]
    won = 70 if done[0] else 80
    stored = await rows(run)
    assert [(row["id"], row["slot_key"], row["data_ms"], row["params"]) for row in stored] == [
        (won, -won, FIRST, "day=${data_time}"),
        (won + 1, -won - 1, FIRST + 1000, "day=${data_time}"),
    ]
    assert await store.started_runs(made.id) == {won, won + 1}
    assert await store.next_slots(found, 1) == [FIRST + 2000]
    assert await store.open_runs(job.id, {won, won + 1}) == {won, won + 1}
    async with db.write() as conn:
        over = {"state": RunState.RETRYING, "open_part": None}
        await conn.execute(update(run).where(run.c.id == won).values(over))
        attempt = {name: stored[0][name] for name in ("job_id", "slot_key", "root_id", "part")}
        attempt |= {"id": 99, "attempt": 2, "state": RunState.RUNNING, "open_part": stored[0]["part"]}
        await conn.execute(insert(run).values(attempt))
        await conn.execute(
            update(run).where(run.c.id == won + 1).values(state=RunState.SUCCEEDED, open_part=None)
        )
    assert await store.open_runs(job.id, {won, won + 1}) == {won}
    found = await store.get(made.id)
    assert (found.started, found.outcomes) == (2, {"running": 1, "succeeded": 1})
    await store.finish(found, BackfillState.DONE)
    await store.finish(found, BackfillState.CANCELLED)  # it is over already
    assert (await store.get(made.id)).state is BackfillState.DONE
    assert [one.state for one in await store.of_job(job.id, 5)] == [BackfillState.DONE]


async def test_cancelled_it_starts_nothing(clock, store, job):
    made = await store.create(new(job, 3), [FIRST, FIRST + 1000, FIRST + 2000])
    await store.cancel(made.id)
    assert await store.running([part_of(job.id)]) == []
    assert not await store.start(made, {FIRST: run_for(made, job, FIRST, 70, 1)}, clock.now_ms())
    with pytest.raises(Conflict, match="is cancelled"):
        await store.cancel(made.id)
    for wanted in (store.cancel(99), store.get(99)):
        with pytest.raises(NotFound):
            await wanted
