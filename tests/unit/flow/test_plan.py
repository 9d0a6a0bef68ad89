"""Slots become rows: each one once, also after an outage and through edits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from gateway.core.exclusions import parse_exclusion
from gateway.core.job_state import state_of
from gateway.core.misfire import MisfireLimits
from gateway.core.model import Job, Misfire, NewRun, Route, Run, Task, TriggerKind
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from gateway.core.work import Work
from gateway.core.zones import resolve_zone
from gateway.flow import plan
from gateway.store import tables
from gateway.store.writer import GroupWriter
from tests.kit.fake_link import FAILING, SILENT
from tests.kit.flow_world import World

EVERY_SECOND = {"kind": "fixed_rate", "expression": "1s"}


def covered(runs: list[Run], every_ms: int) -> Counter[int]:
    """How many first rows each slot has."""
    slots: Counter[int] = Counter()
    for run in runs:
        if run.attempt == 1 and run.slot_key > 0 and run.shard <= 0:
            slots.update(range(run.slot_key, (run.last_slot_ms or run.slot_key) + 1, every_ms))
    return slots


def waiting_row(world: World, job: Job, at_ms: int, kind: TriggerKind) -> NewRun:
    """A row of a slot so long after the job's anchor, for the test to insert."""
    (run_id,) = world.now.ids.take(1)
    return NewRun(
        id=run_id,
        namespace_id=1,
        job_id=job.id,
        app_id=job.app_id,
        part=job.part,
        slot_key=job.anchor_ms + at_ms,
        due_ms=job.anchor_ms + at_ms,
        created_ms=job.anchor_ms,
        trigger_kind=kind,
        state=RunState.QUEUED,
        root_id=run_id,
    )


async def outage(world: World, seconds: float) -> None:
    await world.crash()
    await world.clock.advance(seconds)
    await world.start()
    for address in world.executors:
        await world.beat(address)


async def test_a_slot_has_its_row_before_it_is_due(world):
    await world.executor()
    job = await world.job()
    await world.clock.advance(8.5)
    (planned,) = await world.rows(job_id=job.id)
    assert (planned.state, planned.slot_key) == (RunState.PLANNED, job.anchor_ms + 10_000)


async def test_every_slot_once(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND)
    await world.clock.advance(60.5)
    due = [run for run in await world.rows(job_id=job.id) if run.state is RunState.SUCCEEDED]
    assert [run.slot_key for run in due] == [job.anchor_ms + n * 1000 for n in range(1, 61)]
    assert [request.at_ms for request in executor.executed] == [run.slot_key for run in due]


@pytest.mark.parametrize(("misfire", "extra"), [(Misfire.SKIP, 0), (Misfire.FIRE_ONCE, 1)])
@pytest.mark.parametrize("seconds", [30.25, 6000.25])
async def test_an_outage_longer_than_the_misfire_limit(world, misfire, extra, seconds):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND, misfire=misfire, misfire_after_s=5)
    await world.clock.advance(3.5)
    await outage(world, seconds)
    await world.clock.advance(3)
    runs = await world.rows(job_id=job.id)
    slots = covered(runs, 1000)
    assert all(slots[slot] == 1 for slot in range(job.anchor_ms + 1000, world.clock.now_ms(), 1000))
    late = [run for run in runs if run.trigger_kind is TriggerKind.MISFIRE]
    assert [run.state for run in late] == [RunState.SUCCEEDED] * extra
    skipped = [run for run in runs if run.state is RunState.SKIPPED]
    assert all("misfire" in run.reason for run in skipped)
    assert len(skipped) <= 8  # consecutive ones share a row
    assert max(executor.executions.values()) == 1


@pytest.mark.parametrize(("window_s", "most", "fired"), [(3600, 100, 25), (15, 100, 10), (3600, 1, 1)])
async def test_fire_all_after_an_outage(world, monkeypatch, window_s, most, fired):
    monkeypatch.setattr(plan, "SLOTS_PER_JOB", 7)  # so that they come in portions
    executor = await world.executor()
    limits = MisfireLimits(window_s, most)
    job = await world.job(
        schedule=EVERY_SECOND, misfire=Misfire.FIRE_ALL, misfire_after_s=5, misfire_limits=limits
    )
    await world.clock.advance(3.5)
    await outage(world, 30)
    back_ms = world.clock.now_ms()
    await world.clock.advance(3)
    runs = await world.rows(job_id=job.id)
    slots = covered(runs, 1000)
    assert all(slots[slot] == 1 for slot in range(job.anchor_ms + 1000, back_ms, 1000))
    late = [
        run
        for run in runs
        if run.state is RunState.SUCCEEDED and job.anchor_ms + 3500 < run.due_ms < back_ms - 5000
    ]
    assert len(late) == fired
    assert [run.due_ms for run in late] == sorted(run.due_ms for run in late)
    reasons = {run.reason for run in runs if run.state is RunState.SKIPPED}
    assert all(f"fire_all, at most {most} slots of the last {window_s} s" in reason for reason in reasons)
    assert max(executor.executions.values()) == 1


async def test_an_outage_within_the_misfire_limit_runs_all_late(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND, misfire_after_s=60)
    await world.clock.advance(3.5)
    await outage(world, 30)
    await world.clock.advance(10)
    runs = [run for run in await world.rows(job_id=job.id) if run.due_ms < world.clock.now_ms()]
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert len(executor.executed) == len(runs) == 43


async def test_a_database_that_stands_still_makes_slots_late_by_the_same_policy(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND, misfire=Misfire.FIRE_ONCE, misfire_after_s=5)
    await world.clock.advance(3.5)
    world.now.faulty.up.clear()
    await world.clock.advance(30)
    world.now.faulty.up.set()
    await world.clock.advance(5)
    runs = await world.rows(job_id=job.id)
    slots = covered(runs, 1000)
    assert all(slots[slot] == 1 for slot in range(job.anchor_ms + 1000, world.clock.now_ms(), 1000))
    assert max(executor.executions.values()) == 1
    old = [run for run in runs if run.due_ms < job.anchor_ms + 27_000 and run.state is RunState.SUCCEEDED]
    assert len([run for run in old if run.due_ms > job.anchor_ms + 4000]) <= 2


async def test_a_slot_that_comes_back_after_the_catch_up_fire_is_no_second_one(world):
    """As a claim that was on its way to the database when that stood still, and proved too old to send."""
    await world.executor()
    job = await world.job(misfire=Misfire.FIRE_ONCE, misfire_after_s=5)
    await outage(world, 37)
    await world.clock.advance(1)
    back = waiting_row(world, job, 20_000, TriggerKind.SCHEDULE)
    await world.do(world.now.writer.write(Work(inserts=(back,))))
    world.flow.queued([back])
    await world.clock.advance(1)
    runs = await world.rows(job_id=job.id)
    assert [run.slot_key - job.anchor_ms for run in runs if run.state is RunState.SUCCEEDED] == [30_000]
    assert "misfire" in (await world.row(back.id)).reason


async def test_a_catch_up_fire_that_later_slots_have_overtaken_gives_way_to_the_last(world):
    """The database stood still after slots had been judged: by the claim more of them are late."""
    executor = await world.executor()
    job = await world.job(misfire=Misfire.FIRE_ONCE, misfire_after_s=5, enabled=False)
    await world.now.jobs.set_enabled(job.id, enabled=True)
    await world.clock.advance(7)
    waiting = [
        waiting_row(world, job, -20_000, TriggerKind.MISFIRE),
        *(waiting_row(world, job, at_ms, TriggerKind.SCHEDULE) for at_ms in (-15_000, -10_000)),
    ]
    await world.do(world.now.writer.write(Work(inserts=tuple(waiting))))
    world.flow.queued(waiting)
    await world.clock.advance(1)
    assert [request.run_id for request in executor.executed] == [waiting[-1].id]
    assert {(await world.row(run.id)).state for run in waiting[:-1]} == {RunState.SKIPPED}


async def test_the_late_one_says_so(world):
    await world.executor()
    job = await world.job(misfire=Misfire.FIRE_ONCE, misfire_after_s=5)
    await outage(world, 37)
    await world.clock.advance(1)
    runs = await world.rows(job_id=job.id)
    assert [(run.trigger_kind, run.state, run.slot_count) for run in runs][:2] == [
        (TriggerKind.SCHEDULE, RunState.SKIPPED, 2),
        (TriggerKind.MISFIRE, RunState.SUCCEEDED, 1),
    ]


async def test_a_changed_schedule_takes_back_what_was_planned_ahead(world):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(9)
    await world.change(job, schedule={"kind": "fixed_rate", "expression": "4s"})
    edited_ms = world.clock.now_ms()
    await world.clock.advance(20)
    assert [request.at_ms - edited_ms for request in executor.executed] == [
        4000,
        8000,
        12_000,
        16_000,
        20_000,
    ]


async def test_one_time_runs_once_and_the_job_stays(world):
    executor = await world.executor()
    at_ms = world.clock.now_ms() + 20_000
    job = await world.job(schedule={"kind": "one_time", "expression": at_ms}, misfire_after_s=60)
    await outage(world, 25)
    await world.clock.advance(5)
    await world.change(job, description="changed")
    await world.clock.advance(60)
    (run,) = await world.rows(job_id=job.id)
    assert (run.slot_key, run.state) == (at_ms, RunState.SUCCEEDED)
    assert len(executor.executed) == 1
    assert state_of(await world.now.jobs.get(job.id), None) == "done"


async def test_late_slots_are_counted_apart_from_one_that_kept_its_row(world):
    """A slot that was claimed when its job was changed has a row; another that stands for many must not be lost to it."""
    await world.executor(usual=SILENT)
    job = await world.job(schedule=EVERY_SECOND, misfire=Misfire.SKIP, misfire_after_s=5)
    await world.clock.advance(0.9)
    (claimed,) = [run for run in await world.rows(job_id=job.id) if run.state is RunState.DISPATCHING]
    assert claimed.slot_key == job.anchor_ms + 1000
    await world.now.jobs.update(replace(await world.now.jobs.get(job.id), description="changed"))
    await outage(world, 30)
    slots = covered(await world.rows(job_id=job.id), 1000)
    assert set(slots) >= {job.anchor_ms + n * 1000 for n in range(1, 31)}
    assert set(slots.values()) == {1}


async def test_a_job_whose_late_slots_all_have_rows_goes_on(world):
    await world.executor()
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "20s"}, misfire_after_s=5)
    await world.clock.advance(18)
    (planned,) = await world.rows(job_id=job.id)
    await world.stop(planned.id)
    await world.now.jobs.update(replace(await world.now.jobs.get(job.id), description="changed"))
    await outage(world, 15)
    await world.clock.advance(10)
    runs = await world.rows(job_id=job.id)
    assert [(run.slot_key - job.anchor_ms, run.state) for run in runs] == [
        (20_000, RunState.STOPPED),
        (40_000, RunState.SUCCEEDED),
    ]


async def test_many_slots_at_once_are_many_transactions(world, monkeypatch):
    """One that takes too long would be given up and begun again for ever."""
    monkeypatch.setattr(plan, "ROWS_PER_WORK", 20)
    await world.executor()
    jobs = [await world.job(schedule=EVERY_SECOND, misfire_after_s=3600) for _ in range(5)]
    await world.crash()
    await world.clock.advance(30)
    sizes: list[int] = []
    submit = GroupWriter.submit

    def watched(writer, work, on_written):
        sizes.append(sum(len(fire.rows) for fire in work.fires))
        submit(writer, work, on_written)

    monkeypatch.setattr(GroupWriter, "submit", watched)
    await world.start()
    await world.clock.advance(2)
    assert max(sizes) < 40
    for job in jobs:
        slots = covered(await world.rows(job_id=job.id), 1000)
        assert set(slots.values()) == {1}
        assert set(slots) >= {job.anchor_ms + n * 1000 for n in range(1, 31)}


async def test_a_schedule_that_cannot_be_read_stops_only_its_own_job(world):
    executor = await world.executor()
    good, bad = await world.job(name="good"), await world.job(name="bad")
    mine = tables.job.c.id == bad.id
    async with world.now.db.write() as conn:
        text = (await conn.execute(select(tables.job.c.definition).where(mine))).scalar_one()
        text = text.replace("fixed_rate", "phase_of_the_moon")
        await conn.execute(update(tables.job).where(mine).values(definition=text))
    world.now.context.specs.invalidate([good.id, bad.id])
    await world.clock.advance(30.5)
    assert {request.job_id for request in executor.executed} == {good.id}
    assert len(executor.executed) == 3
    assert not world.flow.health().problems


# ---------------------------------------------------------------- bounds


async def test_a_maximum_holds_over_an_outage_and_edits(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND, timing=Timing(Window(max_fires=20)), misfire_after_s=5)
    await world.clock.advance(6.5)
    await world.change(job, description="changed")  # some seconds are planned ahead
    await world.clock.advance(1)
    await outage(world, 8)
    await world.clock.advance(2)
    await world.change(job, task=replace(job.task, params="changed"))
    await world.clock.advance(60)
    slots = covered(await world.rows(job_id=job.id), 1000)
    assert slots == Counter(range(job.anchor_ms + 1000, job.anchor_ms + 21_000, 1000))
    now = await world.now.jobs.get(job.id)
    assert (state_of(now, None), now.fired, now.next_fire_at) == ("done", 20, None)
    assert max(executor.executions.values()) == 1
    await world.change(now, timing=Timing(Window(max_fires=22)))
    await world.clock.advance(10)
    assert len(covered(await world.rows(job_id=job.id), 1000)) == 22


async def test_a_window_and_exclusions_leave_no_rows(world):
    executor = await world.executor()
    start = world.clock.now_ms() // 5000 * 5000 + 10_000
    first, last = (datetime.fromtimestamp(start / 1000 + s, UTC) for s in (20, 40))
    pause = {"from": f"{first:%H:%M:%S}", "to": f"{last:%H:%M:%S}"}
    timing = Timing(Window(start, start + 60_000), (parse_exclusion(pause, resolve_zone("UTC"), field="e"),))
    job = await world.job(schedule={"kind": "interval", "expression": "5s"}, timing=timing)
    await world.clock.advance(80)
    wanted = [start + s * 1000 for s in (*range(0, 20, 5), *range(40, 60, 5))]
    assert [run.slot_key for run in await world.rows(job_id=job.id)] == wanted
    assert [request.at_ms for request in executor.executed] == wanted
    assert state_of(await world.now.jobs.get(job.id), None) == "done"


async def test_jitter_moves_the_run_and_not_the_slot(world):
    executor = await world.executor()
    job = await world.job(timing=Timing(jitter_ms=4000))
    await world.clock.advance(101)
    runs = [run for run in await world.rows(job_id=job.id) if run.state is RunState.SUCCEEDED]
    slots = [job.anchor_ms + n * 10_000 for n in range(1, len(runs) + 1)]
    assert [run.slot_key for run in runs] == slots
    assert [run.due_ms for run in runs] == [job.timing.due_ms(job.id, slot) for slot in slots]
    assert [request.at_ms for request in executor.executed] == [run.due_ms for run in runs]
    assert len({run.due_ms - run.slot_key for run in runs}) > 3


async def test_edits_while_jitter_runs_lose_no_slot_and_double_none(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND, timing=Timing(jitter_ms=7000), misfire_after_s=30)
    for n in range(12):
        await world.clock.advance(1.7)
        await world.change(job, description=f"change {n}")
    await outage(world, 9)
    await world.clock.advance(20)
    slots = covered(await world.rows(job_id=job.id), 1000)
    assert set(slots) >= set(range(job.anchor_ms + 1000, world.clock.now_ms(), 1000))
    assert set(slots.values()) == {1}
    assert max(executor.executions.values()) == 1
    await world.change(job, schedule={"kind": "fixed_rate", "expression": "1h"})
    changed_ms = world.clock.now_ms()
    await world.clock.advance(20)
    assert all(request.at_ms <= changed_ms for request in executor.executed)
    runs = await world.rows(job_id=job.id)
    assert {run.state for run in runs} == {RunState.SUCCEEDED, RunState.SKIPPED}
    skipped = [run for run in runs if run.state is RunState.SKIPPED]
    assert {run.reason.rpartition(" before")[0] for run in skipped} <= {
        "the job was changed",
        "the schedule was changed",
    }
    assert set(covered(runs, 1000)) >= set(
        range(job.anchor_ms + 1000, changed_ms // 1000 * 1000 - 1000, 1000)
    )


@pytest.mark.parametrize(("misfire", "extra"), [(Misfire.SKIP, 0), (Misfire.FIRE_ONCE, 1)])
async def test_an_outage_with_jitter(world, misfire, extra):
    executor = await world.executor()
    timing = Timing(jitter_ms=2000)
    job = await world.job(schedule=EVERY_SECOND, timing=timing, misfire=misfire, misfire_after_s=5)
    await world.clock.advance(3.5)
    await outage(world, 60)
    await world.clock.advance(10)
    runs = await world.rows(job_id=job.id)
    slots = covered(runs, 1000)
    assert set(slots) >= set(range(job.anchor_ms + 1000, world.clock.now_ms(), 1000))
    assert set(slots.values()) == {1}
    late = [run for run in runs if run.sent_ms - run.due_ms > 5000]
    assert len(late) == extra
    assert max(executor.executions.values()) == 1


@pytest.mark.parametrize("route", [Route.ROUND, Route.SHARDING_BROADCAST])
async def test_the_data_time_is_that_of_the_slot_for_every_attempt(world, route):
    executor = await world.executor()
    job = await world.job(
        task=Task("handler", "at ${data_time_ms}"),
        timing=Timing(jitter_ms=3000, data_offset_s=-3600),
        max_attempts=2,
        route=route,
    )
    executor.plan.append(FAILING)
    await world.clock.advance(25)
    runs = [run for run in await world.rows(job_id=job.id) if run.claimed_ms and run.shard >= 0]
    assert [run.attempt for run in runs].count(2) == 1
    for run in runs:
        assert run.data_ms == run.slot_key - 3_600_000
    assert {request.run_id: request.params for request in executor.executed} == {
        run.id: f"at {run.data_ms}" for run in runs
    }


async def test_the_data_time_of_a_trigger(world):
    executor = await world.executor()
    api = {"kind": "api"}
    job = await world.job(schedule=api, timing=Timing(data_offset_s=60), max_attempts=2)
    executor.plan.append(FAILING)
    first = await world.until_final(await world.trigger(job, params="${data_time_ms} of all"))
    await world.clock.advance(5)
    assert [run.data_ms for run in await world.rows(job_id=job.id)] == [first.due_ms + 60_000] * 2
    assert [request.params for request in executor.executed] == [f"{first.due_ms + 60_000} of all"] * 2
    plain = await world.job(schedule=api)
    run = await world.until_final(await world.trigger(plain, params="${data_time_ms}"))
    assert (run.data_ms, executor.executed[-1].params) == (0, "${data_time_ms}")
