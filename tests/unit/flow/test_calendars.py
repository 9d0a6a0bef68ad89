"""A calendar is changed while its jobs fire: nothing starts by the one of before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.states import RunState
from gateway.core.timing import Timing
from gateway.store.calendars import CalendarStore

EVERY_SECOND = {"kind": "fixed_rate", "expression": "1s", "timezone": "UTC"}
EXCLUDE = Timing(calendars=(CalendarUse("holidays", CalendarMode.EXCLUDE),))


def today(world):
    return datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).date()


def calendars_of(life):
    return CalendarStore(life.db, life.clock, life.ids)


async def changed(world, calendar, days, life):
    """As the API does it: committed, then followed by the flow."""
    made, ids = await world.do(calendars_of(life).replace(replace(calendar, days=Days(days))), by=life)
    await world.do(life.operations.jobs_changed(ids), by=life)
    return made


async def test_no_run_starts_after_a_day_has_become_a_holiday(world):
    executor = await world.executor()
    calendar = await world.do(calendars_of(world.now).create(Calendar("holidays", Days(()))))
    job = await world.job(schedule=EVERY_SECOND, timing=EXCLUDE)
    other = await world.job(schedule=EVERY_SECOND)
    await world.clock.advance(7.9)  # some seconds are planned ahead, and the next slot is claimed
    calendar = await changed(world, calendar, [today(world)], world.now)
    changed_ms = world.clock.now_ms()
    await world.clock.advance(10)
    assert max(one.at_ms for one in executor.executed if one.job_id == job.id) <= changed_ms
    assert max(one.at_ms for one in executor.executed if one.job_id == other.id) > changed_ms + 8000
    assert {run.state for run in await world.rows(job_id=job.id)} <= {RunState.SUCCEEDED, RunState.SKIPPED}
    await changed(world, calendar, [today(world) - timedelta(days=9)], world.now)
    again_ms = world.clock.now_ms()
    await world.clock.advance(5)
    slots = [run.slot_key for run in await world.rows(job_id=job.id) if run.slot_key > again_ms]
    assert slots == list(range(slots[0], slots[-1] + 1, 1000))
    assert slots[0] - again_ms <= 1000
    assert max(executor.executions.values()) == 1


async def test_a_change_on_one_node_holds_on_the_other(several):
    world = several
    executor = await world.executor()
    first, second = world.nodes.values()
    calendar = await world.do(calendars_of(first).create(Calendar("holidays", Days(()))), by=first)
    jobs = [await world.job(schedule=EVERY_SECOND, timing=EXCLUDE)]
    while len(jobs) < 50 and (jobs[-1].part in first.context.held) == (jobs[0].part in first.context.held):
        jobs.append(await world.job(schedule=EVERY_SECOND, timing=EXCLUDE))
    assert {job.part in first.context.held for job in jobs} == {True, False}
    await world.clock.advance(6.9)
    await changed(world, calendar, [today(world)], second)
    changed_ms = world.clock.now_ms()
    await world.clock.advance(8)
    assert {one.job_id for one in executor.executed} == {job.id for job in jobs}
    assert max(one.at_ms for one in executor.executed) <= changed_ms
    assert max(executor.executions.values()) == 1


async def test_days_begin_at_midnight_of_the_schedules_zone(world):
    executor = await world.executor()
    zone_ms = (-(world.clock.now_ms() // 1000) % 3600 + 3600) * 1000  # to the second full hour from now
    hours = (datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).hour + 2) % 24
    zone = f"UTC-{hours:02}:00"  # there it is midnight then
    turn_ms = world.clock.now_ms() + zone_ms
    local_day = datetime.fromtimestamp(turn_ms / 1000 - hours * 3600, UTC).date()
    await world.do(calendars_of(world.now).create(Calendar("only", Days([local_day]))))
    schedule = {"kind": "interval", "expression": "10m", "timezone": zone}
    job = await world.job(schedule=schedule, timing=Timing(calendars=(CalendarUse("only"),)))
    assert job.next_fire_at == turn_ms // 600_000 * 600_000
    assert not executor.executed
