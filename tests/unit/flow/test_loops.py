"""The node as a whole: what it takes up after a crash, how it stops, and its clock."""

from __future__ import annotations

import pytest

from gateway.core.model import ExecutorResult
from gateway.core.states import RunState
from gateway.flow.timekeeping import Timekeeper
from tests.kit.fake_link import Behaviour

# ------------------------------------------------------------ recovery


async def test_every_open_state_is_taken_up(world):
    executor = await world.executor()
    planned = await world.job(name="planned")
    busy = await world.job(name="busy", enabled=False)
    await world.clock.advance(8)
    executor.plan.append(Behaviour(runs_s=20))
    running_id = await world.trigger(busy)
    await world.clock.advance(1)
    executor.plan.append(Behaviour(answered=False, runs_s=20))
    doubtful_id = await world.trigger(await world.job(name="doubt", enabled=False))
    await world.clock.advance(0.1)
    world.flow.admitter.run_once = _never
    queued_id = await world.trigger(await world.job(name="queued", enabled=False))
    states = {run.id: run.state for run in await world.rows()}
    assert states[running_id] is RunState.RUNNING
    assert states[doubtful_id] is RunState.DISPATCHING
    assert states[queued_id] is RunState.QUEUED
    assert RunState.PLANNED in states.values()
    await world.crash()
    await world.start()
    await world.beat(executor.address)
    await world.clock.advance(40)
    runs = await world.rows()
    assert {run.state for run in runs if run.due_ms < world.clock.now_ms() - 1000} == {RunState.SUCCEEDED}
    assert set(executor.executions.values()) == {1}
    assert next(run.state for run in runs if run.job_id == planned.id) is RunState.SUCCEEDED


async def _never(_room: int) -> None:
    """Claim nothing."""


async def test_a_waiting_row_that_no_memory_holds_is_taken_up(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    add, world.flow.admitter.add = world.flow.admitter.add, lambda _runs: None
    run_id = await world.trigger(job)
    world.flow.admitter.add = add
    await world.clock.advance(10)
    assert (await world.row(run_id)).state is RunState.QUEUED
    await world.beat(executor.address)
    await world.clock.advance(45)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert set(executor.executions.values()) == {1}


async def test_a_claim_that_no_memory_holds_is_asked_about(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    add, world.flow.dispatcher.add = world.flow.dispatcher.add, lambda _flights: None
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    world.flow.dispatcher.add = add
    world.flow.context.flights.pop(run_id)
    assert (await world.row(run_id)).state is RunState.DISPATCHING
    for _ in range(4):
        await world.beat(executor.address)
        await world.clock.advance(15)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert set(executor.executions.values()) == {1}


async def test_a_crash_between_a_result_and_its_answer(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    world.faults(None, None, None)
    run_id = await world.trigger(job)
    await world.until_final(run_id)
    await world.crash()
    await world.start()
    assert await world.deliver(_again(executor))
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


def _again(executor):
    request = executor.executed[0]
    return ExecutorResult(request.run_id, 500, "again", request.log_time_ms, request.at_ms, True)


# ------------------------------------------------------------ stop


async def test_stop_waits_for_results_and_leaves_nothing_claimed(world):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(9.9)
    slow = await world.job(enabled=False, name="slow")
    executor.plan.append(Behaviour(runs_s=2))
    run_id = await world.trigger(slow)
    await world.clock.advance(0.02)
    await world.do(world.flow.stop())
    states = {run.id: run.state for run in await world.rows()}
    assert states[run_id] is RunState.SUCCEEDED
    assert RunState.DISPATCHING not in states.values()
    assert not world.flow.ready
    await world.crash()
    await world.start()
    await world.beat(executor.address)
    await world.clock.advance(5)
    assert [request.job_id for request in executor.executed].count(job.id) == 1


async def test_stop_does_not_wait_for_ever(world):
    executor = await world.executor(usual=Behaviour(runs_s=1000))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    before = world.clock.monotonic()
    await world.do(world.flow.stop())
    assert world.clock.monotonic() - before < 6
    assert (await world.row(run_id)).state is RunState.RUNNING
    assert executor.executions == {run_id: 1}


# ------------------------------------------------------------ health


async def test_health_says_what_is_wrong(world):
    await world.job(schedule={"kind": "fixed_rate", "expression": "1s"})
    assert world.flow.health().problems == ()
    world.now.faulty.next_fault = lambda: "refused_at_begin"
    await world.clock.advance(10)
    problems = world.flow.health().problems
    assert "the database does not take writes" in problems
    assert any("planned" in problem for problem in problems)
    world.now.faulty.next_fault = lambda: None
    await world.clock.advance(3)
    assert world.flow.health().problems == ()


# ------------------------------------------------------------ time


class StepClock:
    """As much of a `SystemClock` as the timekeeper uses."""

    def __init__(self) -> None:
        self.adjusted: list[float] = []

    def adjust(self, by_ms: float) -> None:
        self.adjusted.append(by_ms)


def test_small_differences_are_smoothed():
    clock = StepClock()
    keeper = Timekeeper(clock, None)
    offset = 400.0
    for _ in range(50):
        keeper.observe(offset)
        offset -= clock.adjusted[-1]
    assert keeper.problem is None
    assert max(map(abs, clock.adjusted)) <= 40
    assert abs(offset) < 5


@pytest.mark.parametrize("jump_ms", [60_000, -60_000])
def test_a_jump_takes_readiness_down_until_it_has_lasted(jump_ms):
    clock = StepClock()
    keeper = Timekeeper(clock, None)
    keeper.observe(jump_ms)
    keeper.observe(jump_ms)
    assert clock.adjusted == []
    assert "jumped" in keeper.problem
    keeper.observe(jump_ms)
    assert clock.adjusted == [jump_ms]
    keeper.observe(0)
    assert keeper.problem is None


def test_a_jump_that_passes_changes_nothing():
    clock = StepClock()
    keeper = Timekeeper(clock, None)
    for offset in (60_000, 60_000, 3, 60_000, 60_000, 3):
        keeper.observe(offset)
    assert all(abs(step) < 1 for step in clock.adjusted)


@pytest.mark.parametrize("jump_ms", [-30_000, 30_000])
async def test_a_jump_of_the_clock_fires_no_slot_twice(world, jump_ms):
    executor = await world.executor()
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "1s"})
    await world.clock.advance(10.5)
    world.clock.jump(jump_ms)
    await world.clock.advance(60)
    assert max(executor.executions.values()) == 1
    slots = [run.slot_key for run in await world.rows(job_id=job.id) if run.state is RunState.SUCCEEDED]
    assert len(slots) == len(set(slots))
    assert world.now.link.early == []
    assert all(request.at_ms >= 0 for request in executor.executed)
