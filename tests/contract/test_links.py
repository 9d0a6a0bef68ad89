"""Links between jobs: refused cycles, and joins that are counted exactly, however many transactions run at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert

from gateway.core.children import Child, Join, On, ParentEnd
from gateway.core.clock import SystemClock
from gateway.core.errors import InvalidValue
from gateway.core.model import FIRST_LONG_ID, AddressMode, App, Counters, Job, NewRun, Task, TriggerKind
from gateway.core.states import RunState
from gateway.core.work import JoinEnd, Move, Work
from gateway.store.apps import AppStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.tables import job_link, join_mark, revision, run
from gateway.store.writer import GroupWriter

OPEN = frozenset({RunState.RUNNING})


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))


@pytest.fixture
async def app(db, clock):
    async with db.write() as conn:
        await conn.execute(insert(revision).values(name="job", n=0))  # as a migration leaves it
    return await AppStore(db, clock, app_ids(db, clock)).create(
        App(0, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0)
    )


def a_job(app, *children, **fields):
    links = tuple(Child(child.id) for child in children)
    return Job(0, 1, app.id, 0, 0, "n", True, {"kind": "api"}, Task("h"), children=links, **fields)


async def chain(jobs, app, length):
    """Jobs of which each starts the next; the first one first."""
    made = []
    for _ in range(length):
        made[:0] = await jobs.create([a_job(app, *made[:1])])
    return made


async def links(rows):
    return {(row["parent_id"], row["child_id"]) for row in await rows(job_link)}


async def test_links_follow_the_definitions(jobs, app, rows):
    one, two, three = await jobs.create([a_job(app) for _ in range(3)])
    children = (Child(one.id, On.FAILURE), Child(two.id))
    (parent,) = await jobs.create([replace(a_job(app), children=children, join=Join.ALL)])
    assert await jobs.get(parent.id) == parent
    assert (parent.children, parent.join) == (children, Join.ALL)
    assert await links(rows) == {(parent.id, one.id), (parent.id, two.id)}
    changed = await jobs.update(replace(parent, children=(Child(two.id), Child(three.id))))
    assert await links(rows) == {(parent.id, two.id), (parent.id, three.id)}
    await jobs.delete(two.id)
    assert await links(rows) == {(parent.id, three.id)}
    # A change of something else leaves the one that was deleted where it is.
    renamed = await jobs.update(replace(changed, name="other"))
    assert renamed.children == changed.children
    await jobs.delete(parent.id)
    assert await links(rows) == set()


async def test_a_child_must_exist(jobs, app, rows):
    bad = replace(a_job(app), children=(Child(777),))
    with pytest.raises(
        InvalidValue, match=r"^children\[0\]\.job: 777 is not valid: the id of a job that exists"
    ):
        await jobs.create([bad])
    with pytest.raises(InvalidValue, match=r"^jobs\[1\]\.children\[0\]\.job"):
        await jobs.create([a_job(app), bad])
    (made,) = await jobs.create([a_job(app)])
    with pytest.raises(InvalidValue, match=r"^children\[0\]\.job"):
        await jobs.update(replace(made, children=(Child(777),)))
    assert (await jobs.get(made.id)).version == 1
    assert await links(rows) == set()


@pytest.mark.parametrize("length", [1, 2, 5])
async def test_a_cycle_is_refused_and_named(jobs, app, length, rows):
    made = await chain(jobs, app, length)
    before = await links(rows)
    way = " → ".join(str(one.id) for one in (made[-1], *made))
    (aside,) = await jobs.create([a_job(app)])
    with pytest.raises(InvalidValue, match=rf"^children\[1\]\.job.*a cycle of jobs, {way}$"):
        await jobs.update(replace(made[-1], children=(Child(aside.id), Child(made[0].id))))
    assert await jobs.get(made[-1].id) == made[-1]
    assert await links(rows) == before


async def test_a_diamond_is_no_cycle(jobs, app):
    bottom, left = await chain(jobs, app, 2)
    (right,) = await jobs.create([a_job(app, left)])
    await jobs.create([a_job(app, bottom, right, left)])


async def test_two_changes_at_once_make_no_cycle(jobs, app):
    pairs = [await jobs.create([a_job(app), a_job(app)]) for _ in range(5)]
    for one, other in pairs:
        results = await asyncio.gather(
            jobs.update(replace(one, children=(Child(other.id),))),
            jobs.update(replace(other, children=(Child(one.id),))),
            return_exceptions=True,
        )
        assert [isinstance(result, InvalidValue) for result in results].count(True) == 1


# ------------------------------------------------------------ joins


def a_run(number, job, state=RunState.RUNNING):
    run_id = FIRST_LONG_ID + number
    return NewRun(
        run_id, 1, job.id, job.app_id, job.part, -run_id, 0, 0, TriggerKind.API, state, root_id=run_id
    )


def an_end(seed, child, row, *, sources=OPEN):
    move = Move(seed.id, RunState.SUCCEEDED, sources, {"finished_ms": 5})
    join = JoinEnd(move, ParentEnd(child.id, seed.job_id, seed.root_id), row, is_foreign=True)
    return Work(moves=[move], joins=[join])


@pytest.fixture
async def writers(db):
    """Three at once, as on three nodes."""
    found = [GroupWriter(db, SystemClock(), Counters()) for _ in range(3)]
    tasks = [asyncio.create_task(writer.run()) for writer in found]
    yield found
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_ends_on_several_nodes_at_once_start_a_join_once_a_round(jobs, app, writers, rows):
    (child,) = await jobs.create([replace(a_job(app), join=Join.ALL)])
    parents = await jobs.create([a_job(app, child) for _ in range(3)])
    joined = set()
    for turn in range(8):
        seeds = [a_run(10 * turn + n, parent) for n, parent in enumerate(parents)]
        await writers[0].write(Work(inserts=seeds))
        ends = [
            an_end(seed, child, a_run(1000 + 10 * turn + n, child, RunState.QUEUED))
            for n, seed in enumerate(seeds)
        ]
        # Each is told twice, as a result may be.
        told = [writer.write(end) for writer, end in zip(writers, ends, strict=True)]
        told += [writer.write(end) for writer, end in zip(writers[1:] + writers[:1], ends, strict=True)]
        written = await asyncio.gather(*told)
        now = set().union(*(one.joined for one in written))
        assert len(now) == 1
        joined |= now
    runs = {row["id"] for row in await rows(run) if row["job_id"] == child.id}
    assert runs == joined
    assert len(runs) == 8
    assert {row["used"] for row in await rows(join_mark)} == {1}


async def test_an_end_that_was_not_applied_counts_for_nothing(jobs, app, writers, rows):
    (child,) = await jobs.create([replace(a_job(app), join=Join.ALL)])
    (parent,) = await jobs.create([a_job(app, child)])
    seed = a_run(1, parent, RunState.SKIPPED)
    await writers[0].write(Work(inserts=[seed]))
    written = await writers[0].write(an_end(seed, child, a_run(2, child, RunState.QUEUED)))
    assert (written.lost_moves, written.joined) == ({seed.id}, frozenset())
    assert await rows(join_mark) == []
    assert [row["id"] for row in await rows(run)] == [seed.id]
