"""Apps, jobs, runs, tokens and ids: the same on every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert, update

from gateway.core.clock import SystemClock
from gateway.core.errors import Conflict, InvalidValue, NotFound, StoreError
from gateway.core.listing import Covered, JobFilter, RunFilter
from gateway.core.model import DEFAULT_NAMESPACE, FIRST_LONG_ID, PARTS, AddressMode, App, Executor, Job, Task
from gateway.core.parts import part_of
from gateway.core.retry import Retry
from gateway.core.states import OPEN, RunState
from gateway.core.timing import PLAIN, Timing, Window
from gateway.store import ids
from gateway.store.apps import AppStore, insert_app
from gateway.store.jobs import JobStore
from gateway.store.runs import RunStore
from gateway.store.tables import app as app_table
from gateway.store.tables import deleted_job, executor, job, job_next_fire, job_version, run
from gateway.store.tokens import TokenStore

EVERY_10_S = {"kind": "fixed_rate", "expression": 10}
NIGHTLY = {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "Asia/Shanghai"}


@pytest.fixture
def apps(db, clock):
    return AppStore(db, clock, ids.app_ids(db, clock))


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))


@pytest.fixture
def runs(db):
    return RunStore(db, SystemClock(), examined=20)


@pytest.fixture
async def app(apps):
    return await apps.create(an_app("billing"))


def an_app(appname, addresses=()):
    mode = AddressMode.MANUAL if addresses else AddressMode.AUTO
    return App(0, DEFAULT_NAMESPACE, appname, "Billing", mode, tuple(addresses), 0, 0)


def a_job(app, schedule=None, **fields):
    values = {"name": "close the day", "enabled": True, "task": Task("closeDay", "x=1"), **fields}
    return Job(0, DEFAULT_NAMESPACE, app.id, 0, 0, schedule=schedule or EVERY_10_S, **values)


async def add_runs(db, *rows):
    async with db.write() as conn:
        for row in rows:
            values = {"job_id": 1, "app_id": 1, "slot_key": -row["id"], "root_id": row["id"], **row}
            values.setdefault("open_part", part_of(values["job_id"]) if values["state"] in OPEN else None)
            await conn.execute(insert(run).values(values))


# ---------------------------------------------------------------- ids


async def test_ids_ascend_over_blocks_and_are_unique_over_processes(db, clock):
    one, other = (ids.Sequence(db, clock, "run", FIRST_LONG_ID, 3) for _ in range(2))
    taken = [*await one.draw(2), *await other.draw(4), *await one.draw(5)]
    assert min(taken) == FIRST_LONG_ID
    assert len(set(taken)) == 11


async def test_two_processes_that_begin_a_sequence_at_once(db, clock):
    sequences = [ids.Sequence(db, clock, "job", 1, 1) for _ in range(6)]
    taken = await asyncio.gather(*(sequence.draw(2) for sequence in sequences))
    assert sorted(one for some in taken for one in some) == list(range(1, 13))


async def test_a_reserve_that_is_used_up_says_so(db, clock):
    sequence = ids.Sequence(db, clock, "run", 1, 2)
    await sequence.refill()
    assert list(sequence.take(1)) == [1]
    with pytest.raises(StoreError, match="used up"):
        sequence.take(2)
    await sequence.refill()
    assert list(sequence.take(2)) == [2, 3]


async def test_what_can_wait_for_ids_leaves_some_for_what_cannot(db, clock):
    sequence = ids.Sequence(db, clock, "run", 1, 100)
    await sequence.refill()
    for _ in range(30):
        await sequence.draw(9)
        assert len(sequence.take(1)) == 1


async def test_a_sequence_that_ends_says_how_much_of_it_is_used_and_when_it_is_over(db, clock):
    sequence = ids.Sequence(db, clock, "run_int", 11, 5, 20)
    assert sequence.used() == 0
    await sequence.refill()
    assert list(await sequence.draw(5)) == [11, 12, 13, 14, 15]
    await sequence.refill()
    assert sequence.used() > 0.9
    assert list(sequence.take(5)) == [16, 17, 18, 19, 20]
    with pytest.raises(StoreError, match="above 20"):
        await sequence.refill()


# ---------------------------------------------------------------- apps


async def test_jobs_get_the_ids_they_wish_where_these_are_free(apps, jobs, db, clock):
    app = await apps.create(an_app("billing"))
    first, second = await jobs.create([a_job(app), a_job(app)])
    await jobs.delete(second.id, keep_history=True)
    batch = [a_job(app) for _ in range(5)]
    made = await jobs.create(batch, [first.id, None, 70, second.id, 15])
    got = [one.id for one in made]
    assert (got[2], got[4]) == (70, 15)
    assert all(one > 70 for one in (got[0], got[1], got[3]))
    assert len(set(got)) == 5
    assert sorted(await jobs.load(got)) == sorted(got)
    # What comes after them is above them, in a process that has ids of before as well.
    other = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    assert min(one.id for one in await other.create([a_job(app)])) > 70


async def test_an_id_that_another_process_holds(apps, jobs, db, clock):
    """A wish may be one of a block that another process has in reserve: that one draws again."""
    app = await apps.create(an_app("billing"))
    other = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    (held,) = await other.create([a_job(app)])
    (mine,) = await jobs.create([a_job(app)], [held.id + 1])
    assert mine.id == held.id + 1
    (later,) = await other.create([a_job(app)])
    assert later.id > mine.id


async def test_what_old_executors_need_comes_back_too(apps):
    old = replace(
        an_app("old", ["http://10.0.0.1:9999/"]), dialect="form15", tokenless_from=("10.0.0.0/8", "::1/128")
    )
    made = await apps.create(old)
    assert await apps.get("old") == made
    assert (made.dialect, made.tokenless_from, made.int_ids) == ("form15", ("10.0.0.0/8", "::1/128"), False)
    for _ in range(2):
        await apps.use_int_ids(made.id)
    assert await apps.get("old") == replace(made, int_ids=True)


async def test_an_app_comes_back_as_it_was_stored(apps):
    made = await apps.create(an_app("billing", ["http://10.0.0.1:9999/", "http://10.0.0.2:9999/"]))
    assert await apps.get("billing") == made
    assert await apps.all_apps() == [made]
    assert await apps.names([made.id, 99]) == {made.id: "billing"}


async def test_an_id_that_was_given_again_has_the_name_of_its_app(apps, app, db):
    """As an import gives it that was undone and begun anew. The node looks at all apps when they have changed."""
    assert await apps.names([app.id]) == {app.id: "billing"}
    await apps.delete(app.id)
    assert await apps.all_apps() == []
    assert await apps.names([app.id]) == {}
    async with db.write() as conn:
        await insert_app(conn, replace(an_app("mail"), id=app.id))
    assert await apps.names([app.id]) == {app.id: "mail"}


async def test_an_appname_is_taken_once(apps, app):
    with pytest.raises(Conflict, match="'billing' already"):
        await apps.create(an_app("billing"))


async def test_an_app_changes_but_for_its_name(apps, app, clock):
    clock.ms += 1000
    changed, _ = await apps.update(replace(app, title="New", addresses=("http://h/",)))
    assert await apps.get("billing") == changed
    assert changed.updated_ms == app.updated_ms + 1000
    with pytest.raises(NotFound):
        await apps.update(replace(app, id=77))


async def test_apps_in_pages(apps):
    for name in ("aaaa", "bbbb", "cccc"):
        await apps.create(an_app(name))
    first = await apps.page(cursor=None, limit=2)
    second = await apps.page(cursor=first.next_cursor, limit=2)
    assert [one.appname for one in (*first.items, *second.items)] == ["aaaa", "bbbb", "cccc"]
    assert second.next_cursor is None
    with pytest.raises(InvalidValue, match="cursor"):
        await apps.page(cursor="j1", limit=2)


async def test_an_app_with_jobs_stays(apps, jobs, app, rows):
    (made,) = await jobs.create([a_job(app)])
    with pytest.raises(Conflict, match="still has 1 jobs"):
        await apps.delete(app.id)
    await jobs.delete(made.id)
    await apps.save_executors([Executor(app.id, "http://h:1/", "rest", "", 1, 1)], [])
    await apps.delete(app.id)
    assert await rows(app_table) == await rows(executor) == []
    with pytest.raises(NotFound):
        await apps.delete(app.id)


async def test_a_job_is_not_created_under_an_app_that_goes(apps, jobs, app):
    await apps.delete(app.id)
    with pytest.raises(Conflict, match="was deleted"):
        await jobs.create([a_job(app)])


async def test_executors_are_saved_over_and_removed(apps, app, clock):
    first = [Executor(app.id, f"http://h{n}:1/", "rest", "java", 1, clock.ms) for n in range(3)]
    await apps.save_executors(first, [])
    later = replace(first[0], last_beat_ms=clock.ms + 9, dialect="rest35")
    await apps.save_executors([later], [first[1]])
    assert await apps.executors_since(-1) == ([later, first[2]], [first[1]])
    assert await apps.executors_since(1) == ([later], [first[1]])  # what another node has not read yet
    assert await apps.executors_since(2) == ([], [])


async def test_an_executor_that_has_beaten_elsewhere_since_is_not_removed(apps, app, clock):
    seen = Executor(app.id, "http://h1:1/", "rest", "java", 1, clock.ms)
    later = replace(seen, last_beat_ms=clock.ms + 50)
    await apps.save_executors([later], [])
    await apps.save_executors([], [seen])
    assert await apps.executors_since(-1) == ([later], [])
    await apps.save_executors([], [later])
    await apps.save_executors([replace(later, last_beat_ms=clock.ms + 60)], [])  # and it is back
    assert await apps.executors_since(-1) == ([replace(later, last_beat_ms=clock.ms + 60)], [])


# ---------------------------------------------------------------- jobs


async def test_a_job_comes_back_as_it_was_stored(jobs, app):
    retry = Retry(initial_ms=500, coefficient=1.5, maximum_ms=9000, on=frozenset({RunState.LOST}))
    wanted = a_job(app, (NIGHTLY, EVERY_10_S), description="每天", max_attempts=3, retry=retry)
    (made,) = await jobs.create([wanted])
    assert await jobs.get(made.id) == made
    assert made.part == part_of(made.id)
    assert made.version == 1


async def test_the_first_fire_is_after_now(jobs, app, clock):
    (made,) = await jobs.create([a_job(app)])
    assert made.next_fire_at == clock.ms + 10_000
    assert [one.job_id for one in await jobs.due(clock.ms + 10_001, 9, range(PARTS))] == [made.id]
    assert await jobs.due(clock.ms + 10_000, 9, range(PARTS)) == []


async def test_due_jobs_come_earliest_first_over_all_parts(jobs, app, clock):
    made = await jobs.create([a_job(app, {"kind": "fixed_rate", "expression": 20 - n}) for n in range(12)])
    found = await jobs.due(clock.ms + 60_000, 10, range(PARTS))
    assert [one.job_id for one in found] == [one.id for one in reversed(made)][:10]


async def test_a_batch_is_stored_as_a_whole_or_not_at_all(jobs, app, rows):
    bad = a_job(app, {"kind": "cron", "expression": "0 0 0 30 2 ?"})
    with pytest.raises(InvalidValue, match=r"schedule\.expression"):
        await jobs.create([a_job(app), bad])
    assert await rows(job) == await rows(job_next_fire) == await rows(job_version) == []
    made = await jobs.create([a_job(app, name=f"n{n}") for n in range(1201)])
    assert len(await rows(job)) == len(await rows(job_next_fire)) == len(await rows(job_version)) == 1201
    assert len({one.id for one in made}) == 1201


async def test_a_disabled_job_has_no_next_fire(jobs, app, clock):
    (made,) = await jobs.create([a_job(app, enabled=False)])
    assert made.next_fire_at is None
    on = await jobs.set_enabled(made.id, enabled=True)
    assert (on.version, on.next_fire_at) == (2, clock.ms + 10_000)
    assert await jobs.set_enabled(made.id, enabled=True) == on
    off = await jobs.set_enabled(made.id, enabled=False)
    assert (off.version, off.next_fire_at) == (3, None)
    assert await jobs.due(clock.ms + 10**9, 9, range(PARTS)) == []
    with pytest.raises(NotFound):
        await jobs.set_enabled(99, enabled=True)


async def test_a_schedule_that_has_ended_is_not_enabled(jobs, app, clock):
    (made,) = await jobs.create(
        [a_job(app, {"kind": "cron", "expression": "0 0 0 1 1 ? 2027"}, enabled=False)]
    )
    clock.ms += 400 * 86_400_000
    with pytest.raises(InvalidValue, match="fires again"):
        await jobs.set_enabled(made.id, enabled=True)
    assert (await jobs.get(made.id)).enabled is False


async def test_every_change_makes_a_version(jobs, app, rows):
    (made,) = await jobs.create([a_job(app)])
    changed = await jobs.update(replace(made, task=Task("other")))
    assert changed.version == 2
    assert await jobs.get(made.id) == changed
    assert await jobs.update(changed) == changed
    history = await rows(job_version)
    assert sorted(row["version"] for row in history) == [1, 2]
    (fire,) = await rows(job_next_fire)
    assert fire["version"] == 2


async def test_a_change_made_from_an_old_version_is_refused(jobs, app):
    (made,) = await jobs.create([a_job(app)])
    await jobs.update(replace(made, name="first"))
    with pytest.raises(Conflict, match="version 2, not 1"):
        await jobs.update(replace(made, name="second"))
    assert (await jobs.get(made.id)).name == "first"


async def test_a_change_takes_back_what_was_planned_ahead(db, jobs, app, clock, rows):
    (made,) = await jobs.create([a_job(app)])
    mine = {"job_id": made.id, "part": made.part, "created_ms": 0}
    base = FIRST_LONG_ID
    await add_runs(
        db,
        {**mine, "id": base + 1, "state": RunState.PLANNED, "slot_key": clock.ms, "due_ms": clock.ms},
        {**mine, "id": base + 2, "state": RunState.PLANNED, "slot_key": clock.ms + 1, "due_ms": clock.ms + 1},
        {**mine, "id": base + 3, "state": RunState.DISPATCHING, "slot_key": 3, "due_ms": clock.ms + 1},
        {**mine, "id": base + 4, "state": RunState.QUEUED, "slot_key": 4, "due_ms": clock.ms + 1},
        {
            **mine,
            "id": base + 5,
            "job_id": 77,
            "state": RunState.PLANNED,
            "slot_key": clock.ms + 1,
            "due_ms": clock.ms + 1,
        },
    )
    changed = await jobs.update(replace(made, schedule={"kind": "fixed_rate", "expression": 60}))
    assert changed.next_fire_at == clock.ms + 60_000
    assert sorted(row["id"] - base for row in await rows(run)) == [1, 3, 4, 5]


async def test_slots_that_are_over_while_their_jitter_is_not_keep_their_rows(db, jobs, app, clock, rows):
    (made,) = await jobs.create([a_job(app, timing=Timing(jitter_ms=60_000))])
    mine = {"job_id": made.id, "part": made.part, "created_ms": 0, "state": RunState.PLANNED}
    late, ahead = clock.ms - 5000, clock.ms + 3000
    await add_runs(
        db,
        {**mine, "id": FIRST_LONG_ID + 1, "slot_key": late, "due_ms": clock.ms + 20_000},
        {**mine, "id": FIRST_LONG_ID + 2, "slot_key": ahead, "due_ms": clock.ms + 20_000},
    )
    other = await jobs.update(
        replace(made, description="other")
    )  # which version it is sent with is not decided yet
    assert [row["slot_key"] for row in await rows(run)] == [late]
    await jobs.update(replace(other, schedule={"kind": "fixed_rate", "expression": 60}))
    ((state, reason, part),) = [(row["state"], row["reason"], row["open_part"]) for row in await rows(run)]
    assert (state, part) == (RunState.SKIPPED, None)
    assert reason == "the job was changed before this slot was sent"


async def test_a_maximum_counts_from_when_it_is_set(jobs, app, clock, db, rows):
    (made,) = await jobs.create([a_job(app)])
    limited = await jobs.update(replace(made, timing=Timing(Window(max_fires=3))))
    async with db.write() as conn:
        await conn.execute(
            update(job_next_fire).values(fired=3, next_fire_at=None).where(job_next_fire.c.job_id == made.id)
        )
    ahead = {"job_id": made.id, "part": made.part, "created_ms": 0, "due_ms": clock.ms + 10_000}
    planned = {**ahead, "id": FIRST_LONG_ID + 1, "state": RunState.PLANNED, "slot_key": clock.ms + 10_000}
    await add_runs(db, planned)
    # What is taken back will be planned again: it is not counted twice.
    other = await jobs.update(replace(await jobs.get(made.id), description="other"))
    assert (other.fired, other.next_fire_at) == (2, limited.next_fire_at)
    less = await jobs.update(replace(other, timing=Timing(Window(max_fires=2))))
    assert (less.fired, less.next_fire_at) == (2, None)
    free = await jobs.update(replace(less, timing=PLAIN))
    assert (free.fired, free.next_fire_at) == (0, limited.next_fire_at)
    assert await jobs.get(made.id) == free


async def test_overdue_slots_count_up_to_the_maximum(jobs, app, clock, rows):
    (made,) = await jobs.create([a_job(app, timing=Timing(Window(max_fires=3)))])
    clock.ms += 45_000
    off = await jobs.set_enabled(made.id, enabled=False)
    assert (off.fired, off.next_fire_at) == (3, None)
    (late,) = await rows(run)
    assert (late["slot_count"], late["last_slot_ms"]) == (3, made.next_fire_at + 20_000)
    on = await jobs.set_enabled(made.id, enabled=True)
    assert (on.enabled, on.next_fire_at) == (True, None)


@pytest.mark.parametrize("how", ["edit", "disable", "delete"])
async def test_slots_due_but_not_planned_keep_a_row_with_the_reason(db, jobs, app, clock, rows, how):
    (made,) = await jobs.create([a_job(app)])
    clock.ms += 35_000
    await add_runs(
        db,
        {
            "id": 5,
            "job_id": made.id,
            "slot_key": made.next_fire_at + 10_000,
            "state": RunState.RUNNING,
            "due_ms": 1,
            "created_ms": 0,
        },
    )
    if how == "edit":
        await jobs.update(replace(made, schedule=NIGHTLY))
    elif how == "disable":
        await jobs.set_enabled(made.id, enabled=False)
    else:
        await jobs.delete(made.id)
    (late,) = [row for row in await rows(run) if row["id"] != 5]
    assert (late["state"], late["slot_count"]) == (RunState.SKIPPED, 2)
    assert (late["slot_key"], late["last_slot_ms"]) == (made.next_fire_at, made.next_fire_at + 20_000)
    assert late["open_part"] is None
    assert "before this slot was planned" in late["reason"]


async def test_a_change_of_something_else_leaves_due_slots_to_the_planner(jobs, app, clock, rows):
    (made,) = await jobs.create([a_job(app)])
    clock.ms += 35_000
    changed = await jobs.update(replace(made, name="other"))
    assert changed.next_fire_at == made.next_fire_at
    assert await rows(run) == []


async def test_a_fixed_rate_keeps_its_phase_over_edits_of_other_fields(jobs, app, clock):
    (made,) = await jobs.create([a_job(app)])
    clock.ms += 3_000
    changed = await jobs.update(replace(made, name="other"))
    assert changed.next_fire_at == made.next_fire_at


async def test_a_deleted_job_leaves_its_history(db, jobs, app, clock, rows):
    (made,) = await jobs.create([a_job(app)])
    row = {"id": 5, "job_id": made.id, "state": RunState.SUCCEEDED, "due_ms": 1, "created_ms": 0}
    await add_runs(db, row)
    await jobs.delete(made.id)
    assert [one["id"] for one in await rows(run)] == [5]
    assert await rows(job) == await rows(job_next_fire) == []
    for missing in (jobs.get(made.id), jobs.delete(made.id)):
        with pytest.raises(NotFound):
            await missing


async def test_many_jobs_in_one_transaction(jobs, app, rows, clock):
    over = {"kind": "cron", "expression": "0 0 0 1 1 ? 2027"}
    made = await jobs.create([a_job(app, name=f"job {n}", enabled=False) for n in range(3)])
    ended = (await jobs.create([a_job(app, over, name="over", enabled=False)]))[0]
    ids = [*(one.id for one in made), ended.id, 999]
    clock.ms += 3 * 365 * 86_400_000
    done = await jobs.set_enabled_all(ids, enabled=True)
    assert [done[job_id] for job_id in ids[:3]] == [True] * 3
    assert isinstance(done[ended.id], InvalidValue)
    assert isinstance(done[999], NotFound)
    found = await jobs.load(ids)
    assert [found[job_id].enabled for job_id in ids[:4]] == [True] * 3 + [False]
    assert set((await jobs.set_enabled_all(ids[:3], enabled=True)).values()) == {False}
    assert set((await jobs.delete_all(ids[:2])).values()) == {True}
    assert [row["id"] for row in await rows(job)] == ids[2:4]


async def test_jobs_in_pages_and_filtered(apps, jobs, app):
    other = await apps.create(an_app("other"))
    names = ("Day 100%", "day_2", "NIGHT")
    made = await jobs.create([a_job(app, name=name, enabled=name != "day_2") for name in names])
    await jobs.create([a_job(other)])
    page = await jobs.page(JobFilter(app_id=app.id), cursor=None, limit=2)
    rest = await jobs.page(JobFilter(app_id=app.id), cursor=page.next_cursor, limit=2)
    assert [one.id for one in (*page.items, *rest.items)] == [one.id for one in made]
    assert rest.next_cursor is None
    for wanted, found in (
        (JobFilter(name="DAY"), ["Day 100%", "day_2"]),
        (JobFilter(name="0%"), ["Day 100%"]),
        (JobFilter(name="y_"), ["day_2"]),
        (JobFilter(app_id=app.id, enabled=False), ["day_2"]),
        (JobFilter(has_next=False), ["day_2"]),
        (JobFilter(has_next=True), ["Day 100%", "NIGHT"]),
        (JobFilter(paused=True, pauses=Covered(jobs=frozenset({made[0].id, 999}))), ["Day 100%"]),
        (JobFilter(paused=False, pauses=Covered(jobs=frozenset({made[0].id}))), ["day_2", "NIGHT"]),
        (JobFilter(paused=True, pauses=Covered(apps=frozenset({app.id}))), list(names)),
        (JobFilter(paused=False, pauses=Covered(everything=True)), []),
        (JobFilter(paused=True), []),
        (JobFilter(paused=False), list(names)),
    ):
        assert [
            one.name for one in (await jobs.page(wanted, cursor=None, limit=9)).items if one.app_id == app.id
        ] == found


async def test_of_two_who_make_the_same_jobs_at_once_one_does(apps, app, db, clock):
    both = [JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock)) for _ in range(2)]
    some = [a_job(app, name=f"n{n}") for n in range(150)]
    done = await asyncio.gather(*(one.create(some, known=()) for one in both), return_exceptions=True)
    (refused,) = [one for one in done if isinstance(one, Exception)]
    assert str(refused).startswith("there is a job 'n0' of this app already, job ")
    (made,) = [one for one in done if not isinstance(one, Exception)]
    page = await both[0].page(JobFilter(app_id=app.id), cursor=None, limit=500)
    assert [one.id for one in page.items] == [one.id for one in made]
    # Of another app, of another case, or as one more beside those that are known: these are other jobs.
    other = await apps.create(an_app("other"))
    await both[0].create([a_job(other, name="n0"), a_job(app, name="N0")], known=())
    await both[0].create([a_job(app, name="n0"), a_job(app, name="n0")], known=[made[0].id])
    with pytest.raises(Conflict, match="there is a job 'n0'"):
        await both[0].create([a_job(app, name="n0")], known=[made[0].id])


async def test_changes_at_the_same_time_are_not_lost(jobs, app):
    (made,) = await jobs.create([a_job(app)])
    await asyncio.gather(*(jobs.set_enabled(made.id, enabled=n % 2 == 0) for n in range(8)))
    found = await jobs.get(made.id)
    assert (found.next_fire_at is not None) == found.enabled


# ---------------------------------------------------------------- runs


async def all_pages(runs, wanted, limit=3):
    found, cursor, pages = [], None, 0
    while True:
        page = await runs.page(wanted, cursor=cursor, limit=limit)
        found += [one.id for one in page.items]
        pages += 1
        cursor = page.next_cursor
        if cursor is None:
            return found, pages


@pytest.fixture
async def history(db):
    """60 runs in two stretches of ids: odd ones of job 1, even ones of job 2, every tenth failed, two open."""
    rows = []
    for n in range(60):
        run_id = n + 1 if n < 30 else FIRST_LONG_ID + n
        state = RunState.FAILED if n % 10 == 0 else RunState.RUNNING if n in (7, 41) else RunState.SUCCEEDED
        rows.append(
            {
                "id": run_id,
                "job_id": 1 + n % 2,
                "app_id": 1 + n % 2,
                "part": n % 128,
                "state": state,
                "due_ms": 1000 * n,
                "created_ms": 0,
                "slot_key": 1000 * n + 1,
            }
        )
    await add_runs(db, *rows)
    return rows


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (RunFilter(), lambda row: True),
        (RunFilter(job_id=2), lambda row: row["job_id"] == 2),
        (RunFilter(app_id=1), lambda row: row["app_id"] == 1),
        (RunFilter(states=frozenset({RunState.FAILED})), lambda row: row["state"] == RunState.FAILED),
        (RunFilter(states=OPEN), lambda row: row["state"] in OPEN),
        (RunFilter(states=OPEN, job_id=1), lambda row: False),
        (
            RunFilter(job_id=1, states=frozenset({RunState.FAILED}), from_ms=20_000, to_ms=50_000),
            lambda row: row["state"] == RunState.FAILED and 20_000 <= row["due_ms"] < 50_000,
        ),
        (RunFilter(root_id=3), lambda row: row["id"] == 3),
        (RunFilter(job_id=99), lambda row: False),
    ],
)
async def test_runs_newest_first_each_once(runs, history, wanted, chosen):
    found, _ = await all_pages(runs, wanted)
    assert found == sorted((row["id"] for row in history if chosen(row)), reverse=True)


async def test_a_page_examines_a_bounded_number_of_rows(runs, history):
    page = await runs.page(RunFilter(root_id=1), cursor=None, limit=3)
    assert page.items == ()
    assert page.next_cursor is not None
    _, pages = await all_pages(runs, RunFilter(root_id=1))
    assert pages == 4  # two windows of 20 in each stretch of 30


async def test_a_page_of_all_runs_is_full_though_ids_have_gaps(runs, history):
    page = await runs.page(RunFilter(), cursor=None, limit=40)
    assert len(page.items) == 40


async def test_a_cursor_that_is_none(runs):
    for cursor in ("", "x", "r", "rzz", "j1", "r-1", "r" + "f" * 16):
        with pytest.raises(InvalidValue, match="next_cursor"):
            await runs.page(RunFilter(), cursor=cursor, limit=3)
    assert (await runs.page(RunFilter(), cursor="r0", limit=3)).items == ()


async def test_open_runs_of_one_job(db, runs):
    row = {"job_id": 4, "part": part_of(4), "due_ms": 50, "created_ms": 1, "state": RunState.RUNNING}
    await add_runs(
        db,
        *({**row, "id": n} for n in (1, 2, 3)),
        {**row, "id": 4, "job_id": 5},
        {**row, "id": 5, "state": RunState.FAILED},
    )
    assert [one.id for one in await runs.open_runs_of_job(4, part_of(4), 0, 2)] == [1, 2]
    assert [one.id for one in await runs.open_runs_of_job(4, part_of(4), 2, 2)] == [3]


async def test_runs_for_the_flow(db, runs):
    key = {"job_id": 4, "slot_key": 50, "due_ms": 50, "created_ms": 1, "root_id": 1}
    await add_runs(
        db,
        {**key, "id": 1, "shard": -1, "state": RunState.RUNNING, "addresses": "http://a/\nhttp://b/"},
        {**key, "id": 2, "shard": 0, "state": RunState.RETRYING, "outcome": RunState.FAILED},
        {**key, "id": 3, "shard": 0, "attempt": 2, "state": RunState.DISPATCHING},
        {**key, "id": 4, "shard": 1, "state": RunState.QUEUED, "params": "p"},
        {**key, "id": 9, "slot_key": 60, "state": RunState.QUEUED},
    )
    assert [one.id for one in await runs.family(4, 50)] == [1, 2, 3, 4]
    first = await runs.open_runs(None, 2, OPEN, range(PARTS))
    assert [one.id for one in first] == [1, 3]
    assert [one.id for one in await runs.open_runs(first[-1], 9, {RunState.QUEUED}, range(PARTS))] == [4, 9]
    found = await runs.get_many([2, 1, 77])
    assert sorted(found) == [1, 2]
    assert found[1].addresses == ("http://a/", "http://b/")
    assert (found[2].outcome, found[1].outcome) == (RunState.FAILED, None)
    with pytest.raises(NotFound):
        await runs.get(77)


# ---------------------------------------------------------------- tokens


async def test_a_token_is_accepted_until_it_is_revoked(db, clock):
    tokens = TokenStore(db, clock)
    token, text = await tokens.create("ci")
    assert text.startswith("xg_")
    assert len(text) > 40
    assert await tokens.name_of(text) is not None
    assert await tokens.name_of(text[:-1]) is None
    assert await tokens.name_of("") is None
    assert await tokens.all_tokens() == [token]
    with pytest.raises(Conflict):
        await tokens.create("ci")
    await tokens.revoke(token.id)
    assert await tokens.name_of(text) is None
    with pytest.raises(NotFound):
        await tokens.revoke(token.id)


async def test_a_token_of_another_node_is_known_and_forgotten_within_a_second(db, clock):
    here, there = TokenStore(db, clock), TokenStore(db, clock)
    token, text = await there.create("ci")
    assert await here.name_of(text) is not None
    await there.revoke(token.id)
    clock.ms += 1001
    assert await here.name_of(text) is None


async def test_a_configured_token_follows_the_configuration(db, clock):
    tokens = TokenStore(db, clock)
    await tokens.set_text("admin", "one")
    assert await tokens.name_of("one") is not None
    await tokens.set_text("admin", "two")
    assert await tokens.name_of("two") is not None
    assert await tokens.name_of("one") is None
    assert [one.name for one in await tokens.all_tokens()] == ["admin"]


async def test_what_waits_of_a_deleted_job_is_invalid(db, jobs, app, rows):
    one, other = await jobs.create([a_job(app), a_job(app)])
    await add_runs(
        db,
        {"id": 1, "job_id": one.id, "state": 2, "due_ms": 5},
        {"id": 2, "job_id": one.id, "state": 4, "due_ms": 5},
        {"id": 3, "job_id": one.id, "state": 10, "due_ms": 5},
        {"id": 4, "job_id": one.id, "state": 2, "due_ms": 1 << 50},
        {"id": 5, "job_id": other.id, "state": 2, "due_ms": 5},
    )
    await jobs.delete(one.id, keep_history=True)
    found = {row["id"]: (row["state"], row["open_part"]) for row in await rows(run)}
    assert found == {
        1: (18, None),
        2: (4, one.part),
        3: (10, None),
        4: (18, None),
        5: (2, other.part),
    }
    (row,) = await rows(deleted_job)
    assert (row["job_id"], row["keep_history"], row["author"]) == (one.id, 1, "system")
    assert [row["id"] for row in await rows(job)] == [other.id]
