"""Second delay: the next run is due so long after the end of the one before, and there is one chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import update

from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.exclusions import Once
from gateway.core.job_state import state_of
from gateway.core.model import Job, Route, Run
from gateway.core.states import OPEN, RunState
from gateway.core.timing import Timing, Window
from gateway.store import tables
from gateway.store.calendars import CalendarStore
from tests.kit.fake_link import FAILING, NOT_SENT, SILENT, Behaviour
from tests.kit.flow_world import A, B, World

DELAY = 5000
CHAINED = {"kind": "second_delay", "expression": "5s"}


async def first_rows(world: World, job: Job) -> list[Run]:
    return [run for run in await world.rows(job_id=job.id) if run.attempt == 1 and run.shard <= 0]


async def gaps(world: World, job: Job) -> list[int]:
    """From the last end of each slot to the next slot, as the rows say it."""
    firsts = await first_rows(world, job)
    rows = await world.rows(job_id=job.id)
    ends = [max(row.finished_ms for row in rows if row.slot_key == run.slot_key) for run in firsts]
    return [after.due_ms - end for end, after in zip(ends, firsts[1:], strict=False)]


async def next_fire(world: World, job: Job) -> dict[str, int]:
    (row,) = [row for row in await world.table(tables.job_next_fire) if row["job_id"] == job.id]
    return row


async def test_it_begins_at_once_and_goes_on_after_each_end(world):
    executor = await world.executor()
    executor.plan.extend([Behaviour(runs_s=7.5), FAILING, Behaviour(code=502), Behaviour(runs_s=0.2)])
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(45)
    runs = await first_rows(world, job)
    assert runs[0].due_ms == job.created_ms
    assert [run.state.word for run in runs[:4]] == ["succeeded", "failed", "timed_out", "succeeded"]
    assert set(await gaps(world, job)) == {DELAY}
    starts = [request.at_ms for request in executor.executed]
    assert len(starts) == len([run for run in runs if run.sent_ms]) >= 6
    assert all(start - run.due_ms < 100 for start, run in zip(starts[1:], runs[1:], strict=False))


async def test_attempts_belong_to_their_run(world):
    executor = await world.executor(usual=FAILING)
    job = await world.job(schedule=CHAINED, max_attempts=3)
    await world.clock.advance(20)
    assert set(await gaps(world, job)) == {DELAY}
    ended = [run for run in await first_rows(world, job) if run.state is RunState.RETRYING]
    assert len(executor.executed) == 3 * len(ended) > 9


async def test_a_run_that_is_lost_ends_its_cycle_and_its_late_result_does_not_end_another(world):
    executor = await world.executor()
    executor.plan.append(SILENT)
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(2)
    (first,) = await first_rows(world, job)
    silent = executor.running.pop(job.id)
    await world.until_final(first.id, at_most_s=240)
    lost = await world.row(first.id)
    assert lost.state is RunState.LOST
    await world.clock.advance(6)
    executor._report(silent, 200, None)
    await world.clock.advance(20)
    assert (await world.row(first.id)).state is RunState.SUCCEEDED
    runs = await first_rows(world, job)
    assert runs[1].due_ms == lost.finished_ms + DELAY
    assert all(after.due_ms > before.finished_ms for before, after in pairwise(runs[1:]))
    assert set((await gaps(world, job))[1:]) == {DELAY}


async def test_a_trigger_by_hand_is_beside_the_chain(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=3))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    manual = await world.trigger(job)
    await world.clock.advance(15)
    chain = [run for run in await first_rows(world, job) if run.id != manual]
    assert [after.due_ms - before.finished_ms for before, after in pairwise(chain)] == [DELAY] * (
        len(chain) - 1
    )


@pytest.mark.parametrize("after_s", [0.5, 3, 600])
async def test_a_restart_goes_on_at_the_stored_instant_or_at_once(world, after_s):
    await world.executor()
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(0.5)
    (first,) = await first_rows(world, job)
    await world.crash()
    await world.clock.advance(after_s)
    await world.start()
    await world.beat(A)
    await world.clock.advance(8)
    second = (await first_rows(world, job))[1]
    assert second.due_ms == first.finished_ms + DELAY
    assert second.state is RunState.SUCCEEDED
    assert max(world.executions.values()) == 1


@pytest.mark.parametrize("point", ["after_claim", "after_send", "after_answer", "before_result_commit"])
async def test_a_crash_at_any_point_neither_ends_nor_doubles_the_chain(world, point):
    executor = await world.executor()
    executor.plan.extend([Behaviour(runs_s=0.5)] * 20)
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    world.now.signals.crash_at = point
    await world.clock.advance(9)
    assert world.now.dead
    await world.crash()
    await world.start()
    await world.beat(A)
    await world.clock.advance(60)
    runs = await first_rows(world, job)
    assert len(runs) > 5
    assert set(await gaps(world, job)) == {DELAY}
    assert max(world.executions.values()) == 1


@pytest.mark.parametrize("open_run", [True, False])
async def test_an_edit_keeps_one_chain_and_the_new_delay_counts_from_the_last_end(world, open_run):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=4 if open_run else 0.1))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(2)
    await world.change(job, schedule={"kind": "second_delay", "expression": "9s"})
    await world.clock.advance(30)
    runs = await first_rows(world, job)
    assert [after.due_ms - before.finished_ms for before, after in pairwise(runs)][:2] == [
        9000,
        9000,
    ]
    assert len([run for run in runs if run.state in OPEN]) <= 1


async def test_an_edit_takes_back_what_was_planned_ahead(world):
    await world.executor()
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(3.5)
    first, planned = await first_rows(world, job)
    assert planned.state is RunState.PLANNED
    await world.change(job, schedule={"kind": "second_delay", "expression": "20s"})
    assert await first_rows(world, job) == [first]
    assert (await next_fire(world, job))["next_fire_at"] == first.finished_ms + 20_000
    await world.change(job, schedule={"kind": "second_delay", "expression": "1s"})
    assert (await first_rows(world, job))[1].due_ms == world.clock.now_ms()


async def test_an_edit_just_before_it_is_sent_follows_the_new_delay_or_leaves_it_alone(world):
    executor = await world.executor()
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(0.5)
    (first,) = await first_rows(world, job)
    due_ms = first.finished_ms + DELAY
    await world.clock.advance((due_ms - 100 - world.clock.now_ms()) / 1000)
    await world.change(job, priority=9)
    await world.clock.advance(1)
    assert [request.at_ms for request in executor.executed][1:] == [due_ms]
    second = (await first_rows(world, job))[1]
    await world.clock.advance((second.finished_ms + DELAY - 100 - world.clock.now_ms()) / 1000)
    await world.change(job, schedule={"kind": "second_delay", "expression": "8s"})
    await world.clock.advance(10)
    third, fourth = (await first_rows(world, job))[2:4]
    assert third.state is RunState.SKIPPED
    assert fourth.due_ms == third.finished_ms + 8000
    assert len(executor.executed) == 3


async def test_disabled_while_it_runs_and_enabled_again(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=4))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    await world.change(job, enabled=False)
    await world.change(job, enabled=True)
    await world.clock.advance(1)
    assert len(await first_rows(world, job)) == 1  # one chain: the run that is open is it
    await world.change(job, enabled=False)
    await world.clock.advance(30)
    (first,) = await first_rows(world, job)
    assert (await next_fire(world, job))["next_fire_at"] is None
    await world.change(job, enabled=True)
    await world.clock.advance(1)
    assert [run.due_ms - first.finished_ms > 20_000 for run in (await first_rows(world, job))[1:]] == [True]


async def test_to_another_kind_and_back_while_it_runs(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=6))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    await world.change(job, schedule={"kind": "api"})
    await world.change(job, schedule=CHAINED)
    await world.clock.advance(2)
    assert len(await first_rows(world, job)) == 1
    await world.change(job, schedule={"kind": "fixed_rate", "expression": "60s"})
    due_ms = (await next_fire(world, job))["next_fire_at"]
    await world.clock.advance(20)
    assert (await next_fire(world, job))["next_fire_at"] == due_ms


async def test_what_ended_while_the_job_was_of_another_kind_counts_as_well(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=3))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    await world.change(job, schedule={"kind": "fixed_rate", "expression": "60s"})
    await world.clock.advance(2.5)
    await world.change(job, schedule=CHAINED)
    await world.change(job, priority=9)
    await world.clock.advance(20)
    assert set(await gaps(world, job)) == {DELAY}


async def test_the_chain_of_a_broadcast_is_its_parent(world):
    executors = [await world.executor(address) for address in (A, B)]
    executors[1].usual = Behaviour(runs_s=3)
    executors[0].plan.append(FAILING)
    job = await world.job(schedule=CHAINED, route=Route.SHARDING_BROADCAST, max_attempts=2)
    await world.clock.advance(25)
    parents = await world.rows(job_id=job.id, shard=-1)
    ended = [run for run in parents if run.state not in OPEN]
    assert len(ended) >= 2
    assert [after.due_ms - before.finished_ms for before, after in zip(ended, parents[1:], strict=False)] == [
        DELAY
    ] * (len(parents) - 1)


async def test_stopped_before_and_after_it_was_sent(world):
    executor = await world.executor()
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(4)
    planned = (await first_rows(world, job))[1]
    await world.stop(planned.id)
    executor.usual = SILENT
    await world.clock.advance(9)
    running = (await first_rows(world, job))[2]
    await world.stop(running.id)
    executor.usual = Behaviour()
    await world.clock.advance(8)
    assert [run.state.word for run in await first_rows(world, job)][1:3] == ["stopped", "stopped"]
    assert set(await gaps(world, job)) == {DELAY}


async def test_nobody_there_and_nothing_sent_end_a_cycle_as_well(world):
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(2)
    executor = await world.executor()
    executor.plan.append(NOT_SENT)
    await world.clock.advance(14)
    assert [run.state.word for run in await first_rows(world, job)][:3] == ["failed", "failed", "succeeded"]
    assert set(await gaps(world, job)) == {DELAY}


async def test_a_chain_whose_end_nobody_noted_goes_on(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=2))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    (first,) = await first_rows(world, job)
    async with world.now.db.write() as conn:  # as a node of the version before ends it
        ended = {"state": RunState.FAILED, "open_part": None, "finished_ms": world.clock.now_ms()}
        await conn.execute(update(tables.run).where(tables.run.c.id == first.id).values(ended))
    await world.clock.advance(20)
    assert len(await first_rows(world, job)) > 1
    first = await world.row(first.id)
    assert (await first_rows(world, job))[1].due_ms == first.finished_ms + DELAY


async def test_results_that_reach_the_other_node_end_the_chain_too(several):
    executor = await several.executor()
    jobs = [await several.job(schedule=CHAINED, name=f"job {n}") for n in range(6)]
    executor.usual = Behaviour(runs_s=0.3)
    several.pick = lambda lives: lives[-1]
    await several.clock.advance(20)
    assert len({life.context.held.is_all for life in several.nodes.values()}) == 1
    for job in jobs:
        assert set(await gaps(several, job)) == {DELAY}
        assert len(await first_rows(several, job)) >= 4


async def test_deleted_while_it_runs(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=3))
    job = await world.job(schedule=CHAINED)
    await world.clock.advance(1)
    await world.do(world.now.jobs.delete(job.id))
    await world.do(world.now.operations.jobs_changed([job.id]))
    await world.clock.advance(20)
    assert [run.state for run in await first_rows(world, job)] == [RunState.SUCCEEDED]


# ------------------------------------------------------------ bounds


async def bounded(world: World, **timing: object) -> tuple[Job, int]:
    """A chain of runs of 0.1 s with these bounds, and the instant at which it was made."""
    job = await world.job(schedule=CHAINED | {"timezone": "UTC"}, timing=Timing(**timing))  # type: ignore[arg-type]
    return job, job.created_ms


async def test_an_exclusion_moves_the_slot_to_its_end(world):
    await world.executor()
    now_ms = world.clock.now_ms()
    job, made_ms = await bounded(world, exclusions=(Once(now_ms + 7_000, now_ms + 30_000),))
    await world.clock.advance(7)
    first, second = await first_rows(world, job)
    assert (first.due_ms, second.due_ms) == (made_ms, first.finished_ms + DELAY)
    await world.clock.advance(10)
    assert await world.now.jobs.get(job.id) == replace(
        await world.now.jobs.get(job.id), next_fire_at=now_ms + 30_000, chain_run_id=0
    )
    await world.clock.advance(20)
    assert [run.due_ms for run in await first_rows(world, job)][2] == now_ms + 30_000


async def test_an_edit_of_the_exclusions_counts_from_the_last_end(world):
    await world.executor()
    now_ms = world.clock.now_ms()
    job, _ = await bounded(world, exclusions=(Once(now_ms + 3_000, now_ms + 60_000),))
    await world.clock.advance(8)
    assert len(await first_rows(world, job)) == 1
    await world.change(job, timing=Timing(exclusions=(Once(now_ms + 3_000, now_ms + 9_000),)))
    await world.clock.advance(3)
    assert [run.due_ms for run in await first_rows(world, job)][1] == now_ms + 9_000
    await world.change(job, timing=Timing())
    await world.clock.advance(6)
    assert set((await gaps(world, job))[1:]) == {DELAY}


async def test_a_window_begins_and_ends_a_chain(world):
    await world.executor()
    now_ms = world.clock.now_ms()
    job, _ = await bounded(world, window=Window(now_ms + 4_000, now_ms + 12_000))
    await world.clock.advance(30)
    first, second = await first_rows(world, job)
    assert first.due_ms == now_ms + 4_000
    assert second.due_ms == first.finished_ms + DELAY
    assert state_of(await world.now.jobs.get(job.id), None) == "done"


async def test_a_chain_has_as_many_runs_as_its_maximum(world):
    executor = await world.executor(usual=Behaviour(runs_s=2))
    job, _ = await bounded(world, window=Window(max_fires=3))
    await world.clock.advance(9)
    assert state_of(await world.now.jobs.get(job.id), None) == "enabled"
    await world.clock.advance(40)
    stored = await world.now.jobs.get(job.id)
    assert (len(await first_rows(world, job)), stored.fired, state_of(stored, None)) == (3, 3, "done")
    await world.change(job, timing=Timing(Window(max_fires=5)))
    await world.clock.advance(40)
    assert len(executor.executed) == 5


async def test_a_planned_slot_that_an_edit_takes_back_does_not_count(world):
    await world.executor()
    job, _ = await bounded(world, window=Window(max_fires=3))
    for _ in range(4):
        await world.clock.advance(1)
        await world.change(job, timing=Timing(Window(max_fires=3), jitter_ms=world.clock.now_ms() % 3))
    await world.clock.advance(40)
    assert len(await first_rows(world, job)) == 3


async def test_a_claimed_slot_that_an_edit_leaves_counts_once(world):
    await world.executor()
    job, _ = await bounded(world, window=Window(max_fires=3))
    await world.clock.advance(1)
    (first,) = [run for run in await first_rows(world, job) if run.finished_ms]
    await world.clock.advance((first.finished_ms + DELAY - 100 - world.clock.now_ms()) / 1000)
    await world.change(job, priority=9)
    await world.clock.advance(40)
    assert [run.state.word for run in await first_rows(world, job)] == ["succeeded"] * 3


@pytest.mark.parametrize("schedule", [CHAINED, {"kind": "fixed_rate", "expression": "5s"}])
async def test_a_claimed_slot_is_the_first_of_a_maximum_that_is_set_just_before_it(world, schedule):
    await world.executor()
    job = await world.job(schedule=schedule)
    await world.clock.advance(6)
    slot_ms = (await first_rows(world, job))[-1].finished_ms + DELAY
    if schedule is not CHAINED:
        slot_ms = job.created_ms + 2 * DELAY
    await world.clock.advance((slot_ms - 100 - world.clock.now_ms()) / 1000)
    done = len([run for run in await first_rows(world, job) if run.finished_ms])
    await world.change(job, timing=Timing(Window(max_fires=3)))
    await world.clock.advance(40)
    found = [run.state.word for run in await first_rows(world, job)][done:]
    assert found.count("succeeded") + found.count("skipped") == 3


async def test_jitter_only_adds_and_is_the_same_for_a_slot(world):
    await world.executor()
    job, _ = await bounded(world, jitter_ms=3000)
    await world.clock.advance(60)
    runs = await first_rows(world, job)
    assert all(run.due_ms == job.timing.due_ms(job.id, run.slot_key) for run in runs)
    assert {after.slot_key - before.finished_ms for before, after in pairwise(runs)} == {DELAY}
    assert min(await gaps(world, job)) >= DELAY
    assert len({run.due_ms - run.slot_key for run in runs}) > 3


async def test_a_day_that_becomes_excluded_takes_the_planned_slot_back(world):
    executor = await world.executor()
    calendars = CalendarStore(world.now.db, world.now.clock, world.now.ids)
    calendar = await world.do(calendars.create(Calendar("holidays", Days(()))))
    use = CalendarUse("holidays", CalendarMode.EXCLUDE)
    job, _ = await bounded(world, calendars=(use,))
    await world.clock.advance(3.5)
    assert len(await first_rows(world, job)) == 2
    today = datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).date()
    for days in ([today], [today - timedelta(days=1)]):
        calendar, ids = await world.do(calendars.replace(replace(calendar, days=Days(days))))
        await world.do(world.now.operations.jobs_changed(ids))
        if days == [today]:
            await world.clock.advance(30)
            assert len(executor.executed) == 1
            tomorrow = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
            assert (await next_fire(world, job))["next_fire_at"] == tomorrow.timestamp() * 1000
    at_ms = world.clock.now_ms()
    await world.clock.advance(20)
    again = (await first_rows(world, job))[1]
    assert again.due_ms == at_ms
    assert len(executor.executed) >= 4


async def test_a_crash_over_the_end_of_a_delay_does_not_start_it_in_an_excluded_stretch(world):
    executor = await world.executor()
    now_ms = world.clock.now_ms()
    job, _ = await bounded(world, exclusions=(Once(now_ms + 8_000, now_ms + 60_000),))
    await world.clock.advance(0.5)
    await world.crash()
    await world.clock.advance(20)
    await world.start()
    await world.beat(A)
    await world.clock.advance(30)
    assert len(executor.executed) == 1
    await world.beat(A)
    await world.clock.advance(15)
    assert [run.due_ms for run in await first_rows(world, job)][1] == now_ms + 60_000
