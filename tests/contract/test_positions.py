"""Lists by position, on every database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert

from gateway.core.contact import Contact
from gateway.core.model import BROADCAST_PARENT, AddressMode, App, Job, Task
from gateway.core.positions import AppSearch, DayEnds, JobSearch, LogStatus, RunSearch, Window
from gateway.core.states import OPEN, RunState
from gateway.store import ids, positions
from gateway.store.apps import AppStore
from gateway.store.jobs import JobStore
from gateway.store.positions import PositionStore
from gateway.store.tables import run


@pytest.fixture
async def shop(db, clock):
    """Two apps, and five jobs that differ in what is searched for."""
    apps = AppStore(db, clock, ids.app_ids(db, clock))
    made = [
        await apps.create(App(0, 1, name, name.upper(), AddressMode.AUTO, (), 0, 0)) for name in ("b", "a")
    ]
    jobs = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    wanted = [
        ("one", "Handler", "ann", 0),
        ("two", "handle_me", "Bob", 0),
        ("three", 'say "hi"', "bob", 0),
        ("ONE more", "x%y", "Ärger", 1),
        ("five", "other", "a\\b", 1),
    ]
    drafts = [
        Job(
            id=0,
            namespace_id=1,
            app_id=made[place].id,
            part=0,
            version=1,
            name=name,
            enabled=place == 1,
            schedule={"kind": "none"},
            task=Task(handler),
            contact=Contact(author),
        )
        for name, handler, author, place in wanted
    ]
    await jobs.create(drafts)
    return made


async def test_jobs(db, clock, shop, monkeypatch):
    monkeypatch.setattr(positions, "_CHUNK", 2)
    store = PositionStore(db, clock)

    async def found(window=Window(0, 10), **search):  # noqa: B008
        found = await store.jobs(JobSearch(**search), window)
        return found.total, [one.name for one in found.items]

    names = ["five", "ONE more", "three", "two", "one"]
    assert await found() == (5, names)
    assert await found(Window(1, 2)) == (5, names[1:3])
    assert await found(Window(5, 2)) == (5, [])
    assert await found(name="one") == (2, ["ONE more", "one"])
    assert await found(enabled=True) == (2, ["five", "ONE more"])
    assert await found(app_ids=frozenset({shop[0].id})) == (3, names[2:])
    assert await found(app_ids=frozenset()) == (0, [])
    assert await found(handler="HANDLE") == (2, ["two", "one"])
    assert await found(Window(1, 5), handler="handle") == (2, ["one"])
    assert await found(Window(0, 1), handler="handle") == (2, ["two"])
    assert await found(handler='"hi"') == (1, ["three"])
    assert await found(handler="x%") == (1, ["ONE more"])
    assert await found(handler="e_m") == (1, ["two"])
    assert await found(handler="kind") == (0, [])
    assert await found(author="BOB", handler="say") == (1, ["three"])
    assert await found(author="äR") == (1, ["ONE more"])
    assert await found(author="a\\b") == (1, ["five"])
    jobs = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    (one,) = (await store.jobs(JobSearch(name="two"), Window())).items
    await jobs.update(replace(one, name="Übersicht Отчёт/50% 日报"))
    whole = (1, ["Übersicht Отчёт/50% 日报"])
    for name in ("Übersicht", "übersicht", "ОТЧЁТ/5", "0% 日报", "日报", "Übersicht Отчёт/50% 日报"):
        assert await found(name=name) == whole, name
    assert await found(name="Übersicht 50") == (0, [])
    assert await found(name="Ü", handler="HANDLE", author="bob") == whole
    assert await found(Window(1, 1), name="Ü") == (1, [])


async def test_apps(db, clock, shop):
    store = PositionStore(db, clock)

    async def found(window=Window(0, 10), **search):  # noqa: B008
        found = await store.apps(AppSearch(**search), window)
        return found.total, [one.appname for one in found.items]

    assert await found() == (2, ["a", "b"])
    assert await found(Window(1, 1)) == (2, ["b"])
    assert await found(appname="A") == (1, ["a"])
    assert await found(title="b") == (1, ["b"])
    assert await found(title="_") == (0, [])
    apps = AppStore(db, clock, ids.app_ids(db, clock))
    for name, title in (("x-y", ""), ("z", "Überall 全部"), ("y", "Ärger")):
        await apps.create(App(0, 1, name, title, AddressMode.AUTO, (), 0, 0))
    assert await found(title="X-Y") == (1, ["x-y"])
    assert await found(title="全部") == (1, ["z"])
    for title in ("Überall", "ÜBERALL 全", "ü"):
        assert await found(title=title) == (1, ["z"]), title
    assert await found(Window(1, 1), title="Ü") == (1, [])
    assert await found(app_ids=frozenset({shop[0].id})) == (1, ["b"])
    assert await found(app_ids=frozenset()) == (0, [])


async def test_runs(db, clock, shop):
    """Two jobs, newest first, within the newest of them; open parents of shards are no rows."""
    jobs = {one.id: one for one in await all_jobs(db, clock)}
    one, other = min(jobs), max(jobs)
    made = [
        (1, one, RunState.SUCCEEDED, 0),
        (2, other, RunState.FAILED, 0),
        (3, one, RunState.RUNNING, 0),
        (4, one, RunState.RUNNING, BROADCAST_PARENT),
        (5, one, RunState.SKIPPED, 0),
        (6, other, RunState.QUEUED, 0),
    ]
    rows = [
        {
            "id": run_id,
            "job_id": job_id,
            "app_id": jobs[job_id].app_id,
            "slot_key": run_id,
            "shard": shard,
            "state": int(state),
            "open_part": 5 if state in OPEN else None,
            "due_ms": run_id * 1000,
            "claimed_ms": 7,
        }
        for run_id, job_id, state, shard in made
    ]
    async with db.write() as conn:
        await conn.execute(insert(run), rows)
    store = PositionStore(db, clock)

    async def found(window=Window(0, 10), store=store, **search):  # noqa: B008
        found = await store.runs(RunSearch(**search), window)
        return found.total, [one.id for one in found.items]

    assert await found() == (4, [6, 3, 2, 1])
    assert await found(Window(1, 2)) == (4, [3, 2])
    assert await found(job_id=one) == (2, [3, 1])
    assert await found(status=LogStatus.FAILED) == (1, [2])
    assert await found(status=LogStatus.RUNNING) == (1, [3])
    assert await found(status=LogStatus.SUCCEEDED) == (1, [1])
    assert await found(app_ids=frozenset({jobs[other].app_id})) == (2, [6, 2])
    assert await found(app_ids=frozenset()) == (0, [])
    assert await found(from_ms=2000, to_ms=6000) == (2, [3, 2])
    short = PositionStore(db, clock, examined=3)
    assert await found(store=short) == (1, [6])
    assert await found(store=short, job_id=one) == (1, [3])
    assert await store.running(None) == 1
    assert await store.running(frozenset({jobs[other].app_id})) == 0


async def test_runs_of_an_app_that_is_quiet(db, clock, shop):
    """Others are busy, so none of its runs is among the newest of all."""
    jobs = await all_jobs(db, clock)
    busy, quiet = (next(one for one in jobs if one.app_id == app.id) for app in shop)
    await with_runs(db, [(n, busy, RunState.SUCCEEDED, {}) for n in range(100, 110)])
    await with_runs(db, [(n, quiet, RunState.SUCCEEDED, {}) for n in range(1, 8)])
    app = frozenset({quiet.app_id})

    async def found(few, *, examined=9, **search):
        store = PositionStore(db, clock, examined=examined, few=few)
        found = await store.runs(RunSearch(**search), Window(0, 20))
        return found.total, [one.id for one in found.items]

    assert await found(5) == (9, list(range(109, 100, -1)))
    assert await found(0, app_ids=app) == (0, [])
    assert await found(5, app_ids=app) == (4, [7, 6, 5, 4])  # half of what is looked at: the app has two jobs
    assert await found(5, app_ids=app, to_ms=6) == (2, [5, 4])
    assert await found(5, app_ids=app, job_id=quiet.id, examined=6) == (6, [7, 6, 5, 4, 3, 2])
    assert await found(5, app_ids=app, examined=99) == (7, list(range(7, 0, -1)))


async def test_what_ended_between_instants(db, clock, shop):
    jobs = await all_jobs(db, clock)
    one, other = min(jobs, key=lambda one: one.id), max(jobs, key=lambda one: one.id)
    ends = [
        (one, RunState.SUCCEEDED, 99),
        (one, RunState.SUCCEEDED, 100),
        (one, RunState.LOST, 199),
        (other, RunState.SUCCEEDED, 200),
        (other, RunState.RETRYING, 299),
        (other, RunState.SKIPPED, 250),
        (other, RunState.RUNNING, 0),
        (other, RunState.SUCCEEDED, 300),
    ]
    await with_runs(
        db,
        [
            (n, job, state, {"finished_ms": at, "created_ms": n * 10})
            for n, (job, state, at) in enumerate(ends, 1)
        ],
    )
    store = PositionStore(db, clock)
    assert await store.ended(None, [100, 200, 300]) == [DayEnds(1, 1), DayEnds(1, 1)]
    assert await store.ended(frozenset({one.app_id}), [100, 200, 300]) == [DayEnds(1, 1), DayEnds(0, 0)]
    assert await store.ended(frozenset(), [100, 200]) == [DayEnds(0, 0)]
    short = PositionStore(db, clock, examined=5)
    assert await short.ended(None, [30, 200, 300]) == [None, DayEnds(1, 1)]


async def test_when_the_last_run_was_due(db, clock, shop):
    one, other, third, *_ = await all_jobs(db, clock)
    states = [RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED, RunState.PLANNED]
    await with_runs(db, [(n, one, state, {"due_ms": 10 * n}) for n, state in enumerate(states, 1)])
    await with_runs(db, [(9, other, RunState.RUNNING, {"due_ms": 7})])
    store = PositionStore(db, clock)
    assert await store.last_due([one.id, third.id, other.id]) == {one.id: 20, other.id: 7}
    assert await store.last_due([]) == {}


async def test_a_page_is_bounded_by_its_texts(db, clock, shop, monkeypatch):
    for name, value in (("_AT_ONCE", 2), ("_SLICE", 2), ("_CHUNK", 2), ("MAX_TEXT", 10)):
        monkeypatch.setattr(positions, name, value)
    store, jobs = (
        PositionStore(db, clock),
        JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock)),
    )
    for one in await all_jobs(db, clock):
        await jobs.update(replace(one, task=Task(one.task.handler, "12345", glue_source="6")))
    found = await store.jobs(JobSearch(), Window(1, 4))
    assert (found.total, [one.name for one in found.items]) == (5, ["ONE more", "three"])
    found = await store.jobs(JobSearch(author="b"), Window(0, 4))
    assert (found.total, [one.name for one in found.items]) == (3, ["five", "three"])
    job = (await all_jobs(db, clock))[0]
    texts = {"params": "123", "message": "45", "reason": "6"}
    await with_runs(db, [(n, job, RunState.FAILED, texts) for n in range(1, 10)])
    found = await store.runs(RunSearch(), Window(1, 8))
    assert (found.total, [one.id for one in found.items]) == (9, [8])
    monkeypatch.setattr(positions, "MAX_TEXT", 99)
    assert [one.id for one in (await store.runs(RunSearch(), Window(1, 5))).items] == [8, 7, 6, 5, 4]
    assert len((await store.jobs(JobSearch(), Window(0, 9))).items) == 5


async def with_runs(db, rows):
    values = [
        {
            "id": run_id,
            "job_id": job.id,
            "app_id": job.app_id,
            "slot_key": run_id,
            "state": int(state),
            "open_part": job.part if state in OPEN else None,
            "due_ms": run_id,
            **fields,
        }
        for run_id, job, state, fields in rows
    ]
    async with db.write() as conn:
        await conn.execute(insert(run), values)


async def all_jobs(db, clock):
    return (await PositionStore(db, clock).jobs(JobSearch(), Window(0, 10))).items
