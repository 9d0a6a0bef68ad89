"""What the limits ask of a store: an app's jobs in one part, and who is under way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from gateway.core.clock import SystemClock
from gateway.core.errors import Conflict, NotFound
from gateway.core.holding import HELD
from gateway.core.model import FIRST_LONG_ID, AddressMode, App, Counters, Job, NewRun, Task, TriggerKind
from gateway.core.parts import part_of, part_of_app
from gateway.core.places import Scope
from gateway.core.reruns import rerun_move
from gateway.core.states import IN_FLIGHT, RunState
from gateway.core.work import JudgedBy, Move, Work
from gateway.store.apps import AppStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.run_rows import count_open
from gateway.store.runs import RunStore
from gateway.store.tables import app as app_table
from gateway.store.tables import job, job_next_fire, job_version, node, request, run
from gateway.store.writer import GroupWriter

COUNT = 7


@pytest.fixture
async def stores(db, clock):
    apps = AppStore(db, clock, app_ids(db, clock))
    jobs = JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))
    app = await apps.create(App(0, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0))
    return apps, jobs, app


async def some_jobs(jobs, app, count=COUNT):
    one = Job(0, 1, app.id, 0, 0, "job", enabled=True, schedule={"kind": "api"}, task=Task("handler"))
    return await jobs.create([one] * count)


async def test_an_app_with_a_limit_has_its_jobs_in_one_part(db, clock, rows, stores):
    apps, jobs, app = stores
    made = await some_jobs(jobs, app)
    other = await apps.create(App(0, 1, "other", "", AddressMode.AUTO, (), 0, 0))
    (untouched,) = await some_jobs(jobs, other, 1)
    states = (RunState.PLANNED, RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED)
    async with db.write() as conn:
        await conn.execute(insert(node).values(name="a", epoch=1, beat=5, live=1))
        for n, one in enumerate(made[:4]):
            is_open = states[n] is not RunState.SUCCEEDED
            values = {"id": n + 1, "job_id": one.id, "app_id": app.id, "part": one.part, "slot_key": n}
            values |= {"root_id": n + 1, "state": states[n], "open_part": one.part if is_open else None}
            await conn.execute(insert(run).values(**values))
    changed, moved = await apps.update(replace(app, max_running=5))
    part = part_of_app(app.id)
    assert (changed.max_running, sorted(moved)) == (5, [one.id for one in made])
    async with db.read() as conn:
        mine = (await conn.execute(select(job.c.part, job.c.version).where(job.c.app_id == app.id))).all()
        fires = (await conn.execute(select(job_next_fire.c.part, job_next_fire.c.version))).all()
        runs = (await conn.execute(select(run.c.part, run.c.open_part).order_by(run.c.id))).all()
        versions = (await conn.execute(select(job_version).where(job_version.c.job_id == made[0].id))).all()
    assert set(map(tuple, mine)) == {(part, 2)}
    assert sorted(map(tuple, fires)) == sorted([(part, 2)] * COUNT + [(untouched.part, 1)])
    assert list(map(tuple, runs)) == [(part, part)] * 3 + [(made[3].part, None)]
    assert {one.version: one.definition for one in versions}[2] == versions[0].definition
    assert {(one["run_id"], one["part"]) for one in await rows(request)} == {(1, part), (2, part)}
    assert [one["beat"] for one in await rows(node)] == [6]  # it waits for claims, and they wait for it

    assert (await some_jobs(jobs, app, 1))[0].part == part
    assert (await apps.update(replace(changed, max_running=9)))[1] == []

    _, back = await apps.update(replace(changed, max_running=None))
    assert len(back) == COUNT + 1
    for one in back:
        stored = await jobs.get(one)
        assert stored.part == part_of(one)
    assert (await jobs.get(made[0].id)).version == 3


async def test_a_limit_that_is_not_there_any_more(stores):
    apps, _, app = stores
    await apps.delete(app.id)
    with pytest.raises(NotFound):
        await apps.update(replace(app, max_running=5))


async def test_jobs_made_while_the_limit_changes_are_refused(db, stores, monkeypatch):
    """Their parts were chosen before."""
    _, jobs, app = stores

    async def before(_apps):
        async with db.write() as conn:
            await conn.execute(update(app_table).values(max_running=3))
        return set()

    monkeypatch.setattr(jobs, "_limited", before)
    with pytest.raises(Conflict, match="limits of the app were changed"):
        await some_jobs(jobs, app, 1)


async def test_who_is_under_way(db, clock):
    runs = RunStore(db, clock)
    states = (RunState.QUEUED, RunState.DISPATCHING, RunState.RUNNING, RunState.STOPPING, RunState.FAILED)
    async with db.write() as conn:
        for n, state in enumerate(states, FIRST_LONG_ID):
            open_part = None if state is RunState.FAILED else 9
            values = {
                "id": n,
                "job_id": 4,
                "app_id": 2,
                "part": 9,
                "slot_key": n,
                "root_id": n,
                "state": state,
            }
            values |= {"open_part": open_part, "claimed_ms": FIRST_LONG_ID + 10 - n, "address": "http://a/"}
            await conn.execute(insert(run).values(**values))
    for scope in (Scope("job", 4, 9), Scope("app", 2, 9)):
        found = await runs.under_way(scope)
        assert [place.run_id - FIRST_LONG_ID for place in found] == [3, 2, 1]  # longest first
        assert {(place.address, place.settled, place.part) for place in found} == {("http://a/", True, 9)}
    assert await runs.under_way(Scope("job", 5, 9)) == []
    assert await runs.under_way(Scope("job", 4, 8)) == []
    ids = [FIRST_LONG_ID + 4, FIRST_LONG_ID + 2, 77]
    assert await runs.states(ids) == {ids[0]: RunState.FAILED, ids[1]: RunState.RUNNING}


async def test_a_place_that_is_kept_after_the_end(db, clock, rows):
    runs, writer = RunStore(db, clock), GroupWriter(db, SystemClock(), Counters())
    writing = asyncio.create_task(writer.run())
    made = [
        NewRun(n, 1, 4, 2, 9, 1, 1, 1, TriggerKind.API, RunState.RUNNING, 1, attempt=n) for n in (1, 2, 3)
    ]
    waiting = NewRun(4, 1, 5, 2, 9, 1, 1, 1, TriggerKind.API, RunState.QUEUED, 4)  # claimed, and taken back
    await writer.write(Work(inserts=[waiting]))
    await writer.write(Work(inserts=made))
    over = {"finished_ms": 7, "open_part": 9}
    ends = [
        Move(1, RunState.RETRYING, IN_FLIGHT, over),
        Move(2, RunState.LOST, IN_FLIGHT, over),
        Move(3, RunState.LOST, IN_FLIGHT, {"finished_ms": 7}),
    ]
    await writer.write(Work(moves=ends))
    held = await runs.under_way(Scope("job", 4, 9))
    assert [(place.run_id, place.held) for place in held] == [(1, True), (2, True)]
    assert await runs.keep_places([1, 2, 3, 4]) == {1, 2}
    assert [run.id for run in await runs.open_runs(None, 10, IN_FLIGHT | HELD, {9})] == [1, 2]
    async with db.read() as conn:
        assert (await conn.execute(select(count_open()))).scalar_one() == 1
    again = rerun_move(await runs.get(2), made[2], token=5)
    again.then = ()
    await writer.write(Work(moves=[again]))
    assert await runs.keep_places([1, 2]) == {1, 2}
    states = (RunState.RETRYING, RunState.LOST)
    free = [Move(n, state, frozenset({state}), optional=True) for n, state in enumerate(states, 1)]
    await writer.write(Work(moves=free))
    assert await runs.under_way(Scope("app", 2, 9)) == []
    ended = [row["state"] for row in await rows(run) if row["id"] < 4]
    assert ended == [RunState.RETRYING, RunState.LOST, RunState.LOST]
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_claims_judged_by_limits_that_have_changed_are_lost(db, clock, stores):
    apps, jobs, app = stores
    limited, _ = await apps.update(replace(app, max_running=5))
    one, other = await some_jobs(jobs, limited, 2)
    rows = [
        NewRun(n, 1, job.id, app.id, job.part, n, 1, 1, TriggerKind.SCHEDULE, RunState.QUEUED, n)
        for n, job in enumerate((one, other), FIRST_LONG_ID)
    ]

    def claim(row: NewRun, job: Job) -> Move:
        sources = frozenset({RunState.QUEUED})
        values = {"claim_token": row.id, "job_version": job.version}
        return Move(row.id, RunState.DISPATCHING, sources, values, job_id=job.id, job_version=job.version)

    writer = GroupWriter(db, SystemClock(), Counters())
    writing = asyncio.create_task(writer.run())
    await writer.write(Work(inserts=rows))
    lowered, _ = await apps.update(replace(limited, max_running=1))
    assert lowered.updated_ms > limited.updated_ms  # though the clock stands still
    judged = (JudgedBy(app.id, limited.updated_ms, {one.id}),)
    written = await writer.write(Work(moves=[claim(rows[0], one), claim(rows[1], other)], judged=judged))
    assert (written.stale_jobs, written.lost_moves) == ({one.id}, {rows[0].id})
    judged = (JudgedBy(app.id, lowered.updated_ms, {one.id}),)
    assert not (await writer.write(Work(moves=[claim(rows[0], one)], judged=judged))).lost_moves
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
