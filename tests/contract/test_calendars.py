"""Calendars and the jobs that use them: the same on every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import insert

from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.clock import SystemClock
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.listing import JobFilter
from gateway.core.model import DEFAULT_NAMESPACE, FIRST_LONG_ID, AddressMode, App, Counters, Job, Task
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from gateway.core.work import JobFire, Work
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.calendars import CalendarStore
from gateway.store.jobs import JobStore
from gateway.store.tables import job_calendar, job_next_fire, job_version, run
from gateway.store.writer import GroupWriter

TODAY = date(2026, 11, 18)  # by the test's clock, 11:06:40
DAY_MS = 86_400_000
MIDNIGHT = 1_795_000_000_000 // DAY_MS * DAY_MS
NOON = {"kind": "cron", "expression": "0 0 12 * * ?", "timezone": "UTC"}
USE = Timing(calendars=(CalendarUse("c"),))


def days(*ahead):
    return Days(TODAY + timedelta(days=n) for n in ahead)


def noon(ahead):
    return MIDNIGHT + ahead * DAY_MS + DAY_MS // 2


@pytest.fixture
def calendars(db, clock):
    return CalendarStore(db, clock, ids.run_ids(db, clock))


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))


@pytest.fixture
async def app(db, clock):
    one = App(0, DEFAULT_NAMESPACE, "billing", "", AddressMode.AUTO, (), 0, 0)
    return await AppStore(db, clock, ids.app_ids(db, clock)).create(one)


def a_job(app, schedule=NOON, **fields):
    values = {"name": "n", "enabled": True, "task": Task("h"), "timing": USE, **fields}
    return Job(0, DEFAULT_NAMESPACE, app.id, 0, 0, schedule=schedule, **values)


async def test_a_calendar_comes_back_as_it_was_stored(calendars):
    made = await calendars.create(Calendar("工作日", days(1, 400, 9), "词"))
    assert await calendars.get("工作日") == made
    assert (await calendars.page(cursor=None, limit=9)).items == (made,)
    with pytest.raises(Conflict, match="already"):
        await calendars.create(Calendar("工作日", days()))
    for missing in (calendars.get("x"), calendars.delete("x"), calendars.replace(Calendar("x", days()))):
        with pytest.raises(NotFound):
            await missing


async def test_calendars_in_pages_by_name(calendars):
    for name in ("b", "a", "c"):
        await calendars.create(Calendar(name, days(1)))
    first = await calendars.page(cursor=None, limit=2)
    second = await calendars.page(cursor=first.next_cursor, limit=2)
    assert [one.name for one in (*first.items, *second.items)] == ["a", "b", "c"]
    assert second.next_cursor is None


async def test_jobs_follow_their_calendar(calendars, jobs, app, rows):
    made = await calendars.create(Calendar("c", days(3)))
    await calendars.create(Calendar("other", days(8)))
    exclude = Timing(calendars=(CalendarUse("c", CalendarMode.EXCLUDE),))
    other = Timing(calendars=(CalendarUse("other"),))
    stored = await jobs.create([a_job(app), a_job(app, timing=exclude), a_job(app, timing=other)])
    assert [one.next_fire_at for one in stored] == [noon(3), noon(0), noon(8)]
    (off,) = await jobs.create([a_job(app, enabled=False)])
    changed, followed = await calendars.replace(replace(made, days=days(0, 5)))
    assert followed == [stored[0].id, stored[1].id, off.id]
    assert (changed.version, changed.days) == (2, days(0, 5))
    found = await jobs.load([one.id for one in (*stored, off)])
    assert [one.next_fire_at for one in found.values()] == [noon(0), noon(1), noon(8), None]
    assert [one.edition for one in found.values()] == [1, 1, 0, 1]
    assert [one.days for one in found.values()] == [(days(0, 5),), (days(0, 5),), (days(8),), (days(0, 5),)]
    assert {one.version for one in found.values()} == {1}
    assert len(await rows(job_version)) == 4
    assert (await jobs.set_enabled(off.id, enabled=True)).next_fire_at == noon(0)
    assert await calendars.replace(changed) == (changed, [])


async def test_what_was_planned_by_the_old_calendar_is_taken_back(db, calendars, jobs, app, clock, rows):
    made = await calendars.create(Calendar("c", days(0)))
    (one,) = await jobs.create([a_job(app, timing=replace(USE, window=Window(max_fires=5)))])
    async with db.write() as conn:
        for n, (at_ms, state) in enumerate(
            [
                (noon(0), RunState.PLANNED),
                (clock.ms - 1000, RunState.PLANNED),
                (noon(1), RunState.DISPATCHING),
            ]
        ):
            row = {"id": FIRST_LONG_ID + n, "job_id": one.id, "app_id": app.id, "part": one.part}
            row |= {"open_part": one.part, "slot_key": at_ms, "due_ms": at_ms, "state": state, "root_id": n}
            await conn.execute(insert(run).values(row))
        await conn.execute(job_next_fire.update().values(next_fire_at=None, fired=3))
    await calendars.replace(replace(made, days=days(2)))
    assert [row["slot_key"] for row in await rows(run)] == [clock.ms - 1000, noon(1)]
    now = await jobs.get(one.id)
    assert (now.next_fire_at, now.fired) == (noon(2), 1)


async def test_slots_due_but_not_planned_keep_a_row_with_the_reason(calendars, jobs, app, clock, rows):
    made = await calendars.create(Calendar("c", days(0, 1)))
    (one,) = await jobs.create([a_job(app)])
    clock.ms = noon(1) + 5
    await calendars.replace(replace(made, days=days(7)))
    (late,) = await rows(run)
    assert (late["slot_key"], late["slot_count"], late["state"]) == (noon(0), 2, RunState.SKIPPED)
    assert late["reason"] == "calendar 'c' was changed before this slot was planned"
    assert (await jobs.get(one.id)).next_fire_at == noon(7)


async def test_rows_planned_by_a_calendar_of_before_are_not_inserted(db, calendars, jobs, app, clock, rows):
    """The planner had read the job before the calendar was changed, and the next fire is the same by both."""
    made = await calendars.create(Calendar("c", days(0, 1)))
    (one,) = await jobs.create([a_job(app)])
    await calendars.replace(replace(made, days=days(0, 2)))
    assert (await jobs.get(one.id)).next_fire_at == one.next_fire_at == noon(0)
    writer = GroupWriter(db, SystemClock(), Counters())
    task = asyncio.create_task(writer.run())
    try:
        fire = JobFire(one.id, one.part, one.version, noon(0), noon(1), (), edition=one.edition)
        assert (await writer.write(Work(fires=[fire]))).lost_fires == {one.id}
        assert (await writer.write(Work(fires=[replace_edition(fire, 1)]))).lost_fires == frozenset()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    (row,) = await rows(job_next_fire)
    assert (row["next_fire_at"], row["fired"]) == (noon(1), 0)


def replace_edition(fire, edition):
    return JobFire(
        fire.job_id, fire.part, fire.version, fire.expected, fire.next_fire_at, (), edition=edition
    )


async def test_a_calendar_that_is_used_is_not_deleted(calendars, jobs, app):
    await calendars.create(Calendar("c", days(1)))
    (one,) = await jobs.create([a_job(app)])
    with pytest.raises(Conflict, match=rf"used by the jobs {one.id} 'n': change them first"):
        await calendars.delete("c")
    free = await jobs.update(replace(one, timing=Timing()))
    await calendars.delete("c")
    with pytest.raises(InvalidValue, match=r"calendar.name: 'c' is not valid"):
        await jobs.update(replace(free, timing=USE))
    with pytest.raises(InvalidValue, match=r"jobs\[1\].calendar.name"):
        await jobs.create([a_job(app, timing=Timing()), a_job(app)])


async def test_changes_of_a_calendar_and_its_jobs_at_the_same_time(calendars, jobs, app):
    """Whatever comes first, the job's next fire is in the calendar as it is at the end."""
    made = await calendars.create(Calendar("c", days(1)))
    (one, other) = await jobs.create([a_job(app), a_job(app, timing=Timing())])

    async def change(n):
        await calendars.replace(replace(made, days=days(1 + n)))

    async def use():
        await jobs.update(replace(other, timing=USE))

    async def switch():
        await jobs.set_enabled(one.id, enabled=False)
        await jobs.set_enabled(one.id, enabled=True)

    async def add():
        while True:
            try:
                return await jobs.create([a_job(app)])
            except Conflict:
                continue

    done = await asyncio.gather(
        change(1), use(), change(2), switch(), add(), change(3), return_exceptions=True
    )
    assert [one for one in done if isinstance(one, BaseException)] == []
    last = (await calendars.get("c")).days
    page = await jobs.page(JobFilter(), cursor=None, limit=9)
    assert len(page.items) == 3
    for found in page.items:
        assert found.days == (last,)
        assert (found.next_fire_at - noon(0)) // DAY_MS + TODAY.toordinal() - date(
            1970, 1, 1
        ).toordinal() in last


async def test_a_chain_goes_on_by_the_new_days_and_an_open_run_keeps_it(calendars, jobs, app, db, rows):
    made = await calendars.create(Calendar("c", days(3)))
    schedule = {"kind": "second_delay", "expression": 5, "timezone": "UTC"}
    waits, runs = await jobs.create([a_job(app, schedule), a_job(app, schedule)])
    assert waits.next_fire_at == MIDNIGHT + 3 * DAY_MS
    values = {"id": 900, "job_id": runs.id, "slot_key": MIDNIGHT, "part": runs.part, "open_part": runs.part}
    async with db.write() as conn:
        await conn.execute(insert(run).values(root_id=900, state=int(RunState.RUNNING), **values))
        link = job_next_fire.update().where(job_next_fire.c.job_id == runs.id)
        await conn.execute(link.values(next_fire_at=None, chain_run_id=900))
    _, followed = await calendars.replace(replace(made, days=days(2, 3)))
    assert followed == [waits.id, runs.id]
    fires = {row["job_id"]: (row["next_fire_at"], row["chain_run_id"]) for row in await rows(job_next_fire)}
    assert fires == {waits.id: (MIDNIGHT + 2 * DAY_MS, 0), runs.id: (None, 900)}


async def test_a_job_follows_each_of_its_calendars(calendars, jobs, app, rows):
    open_days = await calendars.create(Calendar("open", days(1, 2, 3, 4)))
    holidays = await calendars.create(Calendar("holidays", days(1)))
    both = Timing(calendars=(CalendarUse("open"), CalendarUse("holidays", CalendarMode.EXCLUDE)))
    (one, single) = await jobs.create(
        [a_job(app, timing=both), a_job(app, timing=Timing(calendars=both.calendars[:1]))]
    )
    assert (one.next_fire_at, one.days) == (noon(2), (days(1, 2, 3, 4), days(1)))
    holidays, followed = await calendars.replace(replace(holidays, days=days(2, 3)))
    assert followed == [one.id]
    assert (await jobs.get(one.id)).next_fire_at == noon(1)
    _, followed = await calendars.replace(replace(open_days, days=days(2, 3, 4)))
    assert followed == [one.id, single.id]
    found = await jobs.load([one.id, single.id])
    assert [(job.next_fire_at, job.edition) for job in found.values()] == [(noon(4), 2), (noon(2), 1)]
    for name in ("open", "holidays"):
        with pytest.raises(Conflict, match=rf"used by the jobs {one.id} "):
            await calendars.delete(name)
    less = await jobs.update(replace(found[one.id], timing=Timing(calendars=both.calendars[:1])))
    assert less.next_fire_at == noon(2)
    await calendars.delete("holidays")
    assert await rows(job_calendar) == []
    missing = Timing(calendars=(CalendarUse("open"), CalendarUse("x")))
    with pytest.raises(InvalidValue, match=r"calendar\[1\].name: 'x'"):
        await jobs.update(replace(less, timing=missing))
    await calendars.create(Calendar("late", days(9)))
    swapped = Timing(calendars=(CalendarUse("late"), CalendarUse("open")))
    await jobs.update(replace(less, timing=swapped))
    await jobs.delete(less.id)
    assert await rows(job_calendar) == []
    await calendars.delete("late")
