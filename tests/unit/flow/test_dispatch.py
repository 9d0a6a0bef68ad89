"""Claimed runs go out at their instant, once, to an executor that can take them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.errors import Unreachable
from gateway.core.inflight import Flight
from gateway.core.model import AddressMode, App, NewRun, Route, Task, TriggerKind
from gateway.core.ports import RunOrder
from gateway.core.states import RunState
from gateway.core.work import Move, Work
from tests.kit.fake_link import FAILING, NOT_SENT, REFUSED, SILENT, Behaviour
from tests.kit.flow_world import A, B, C


async def test_never_early_and_on_the_instant(world):
    executor = await world.executor()
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "1s"})
    await world.clock.advance(30)
    assert [request.at_ms for request in executor.executed] == [
        job.anchor_ms + n * 1000 for n in range(1, 31)
    ]
    assert world.now.link.early == []


async def test_a_claim_that_became_too_old_is_made_again(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    slow = [0.8, 0.8]
    world.now.faulty.pause_s = lambda: slow.pop() if slow and world.flow.admitter._claims else 0.0
    run_id = await world.trigger(job)
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}
    assert run.sent_ms - run.due_ms > 1500


async def test_refused_and_unreachable_runs_fail_with_the_reason(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    executor.plan.extend([REFUSED, NOT_SENT])
    refused = await world.until_final(await world.trigger(job))
    unreachable = await world.until_final(await world.trigger(job))
    assert (refused.state, refused.message) == (RunState.FAILED, "no handler of that name")
    assert "refused" in refused.reason
    assert unreachable.state is RunState.FAILED
    assert "connection refused" in unreachable.reason


async def test_a_claim_that_only_the_wall_clock_calls_too_old_is_made_again(world):
    """As after a pause of a virtual machine: nothing is wrong with the executor."""
    executor = await world.executor()
    job = await world.job(enabled=False)
    executor.plan.append(NOT_SENT)
    prepare = world.now.link.prepare

    def pause(order):
        prepare(order)
        order.wall_before_ms = world.clock.wall_ms() + 1
        world.now.link.prepare = prepare

    world.now.link.prepare = pause
    run = await world.until_final(await world.trigger(job))
    assert run.state is RunState.SUCCEEDED
    assert "claimed again" in run.reason


@pytest.mark.parametrize("first", [REFUSED, NOT_SENT, FAILING])
async def test_a_failed_attempt_is_tried_again(world, first):
    executor = await world.executor()
    job = await world.job(enabled=False, max_attempts=3)
    executor.plan.append(first)
    run_id = await world.trigger(job)
    await world.clock.advance(2)
    rows = await world.rows(job_id=job.id)
    assert [(run.attempt, run.state, run.root_id) for run in rows] == [
        (1, RunState.RETRYING, run_id),
        (2, RunState.SUCCEEDED, run_id),
    ]
    assert rows[0].outcome is RunState.FAILED


async def test_a_burst_of_one_app_does_not_hold_up_the_others(world):
    await world.executor()
    other = await world.do(world.now.apps.create(App(0, 1, "other", "", AddressMode.AUTO, (), 0, 0)))
    many, few = await world.job(enabled=False), await world.job(enabled=False, app_id=other.id)
    flights = [_flight(world, index, many) for index in range(200)]
    world.flow.dispatcher.add([*flights, _flight(world, 1000, few)])
    await world.clock.advance(0.1)
    order = [run_id for run_id, _, _ in world.sent]
    assert len(order) == 201
    assert order.index(1000) <= 2


def _flight(world, run_id, job):
    now_ms = world.clock.now_ms()
    order = RunOrder(run_id, job, "shop", A, "rest", None, 0, 1, now_ms, now_ms, 1e9, 1 << 60)
    seed = NewRun(
        run_id,
        1,
        job.id,
        job.app_id,
        0,
        now_ms,
        now_ms,
        now_ms,
        TriggerKind.SCHEDULE,
        RunState.PLANNED,
        run_id,
    )
    return Flight(seed, order, 1)


async def test_a_claim_whose_result_came_meanwhile_is_not_sent(world):
    """Claimed anew after a doubt, and then the first send turned out to have arrived."""
    await world.executor()
    job = await world.job(enabled=False)
    flights = [_flight(world, number, job) for number in (1, 2)]
    flights[0].ended = True
    world.flow.dispatcher.add(flights)
    await world.clock.advance(0.1)
    assert [run_id for run_id, _, _ in world.sent] == [2]
    assert world.flow.dispatcher.held == 0


# ------------------------------------------------------------ FAILOVER, BUSYOVER


async def three(world):
    return [await world.executor(address) for address in (A, B, C)]


async def test_failover_takes_the_first_that_answers(world):
    first, second, third = await three(world)
    first.stop()
    job = await world.job(enabled=False, route=Route.FAILOVER)
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.address) == (RunState.SUCCEEDED, B)
    assert [len(one.executed) for one in (first, second, third)] == [0, 1, 0]


async def test_failover_past_a_frozen_one_outlives_its_claim(world):
    first, second, _ = await three(world)
    first.frozen = True
    job = await world.job(enabled=False, route=Route.FAILOVER)
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.address) == (RunState.SUCCEEDED, B)
    assert second.executions == {run.id: 1}


async def test_a_guard_that_another_run_misses_in_the_same_commit(world):
    """Works share commits: what became of another one's rows says nothing about one's own."""
    first, _, _ = await three(world)
    first.stop()
    job = await world.job(enabled=False, route=Route.FAILOVER)
    miss = Move(1, RunState.RUNNING, frozenset({RunState.DISPATCHING}), {})
    world.now.writer.add_lazy(lambda: Work(moves=[miss]))
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.address) == (RunState.SUCCEEDED, B)


async def test_busyover_takes_the_first_that_is_idle(world):
    first, _, _ = await three(world)
    job = await world.job(enabled=False, route=Route.BUSYOVER)
    first.plan.append(SILENT)
    await world.trigger(job)
    await world.clock.advance(1)
    run = await world.until_final(await world.trigger(job))
    assert run.address == B


@pytest.mark.parametrize("route", [Route.FAILOVER, Route.BUSYOVER])
async def test_nobody_answers(world, route):
    for executor in await three(world):
        executor.stop()
    job = await world.job(enabled=False, route=route)
    run = await world.until_final(await world.trigger(job))
    assert run.state is RunState.FAILED
    assert "no executor answered" in run.reason
    assert A in run.reason


async def test_an_edit_while_a_probe_runs_is_followed(world):
    """P8: when the edit is answered, nothing of the old version is sent any more."""
    first, second, _ = await three(world)
    first.frozen = True  # its probe takes three seconds
    job = await world.job(enabled=False, route=Route.FAILOVER)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    await world.change(job, task=Task("handler", "new"))
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert [(request.params, request.version) for request in second.executed] == [("new", 2)]


async def test_a_stop_while_a_probe_runs(world):
    executors = await three(world)
    executors[0].frozen = True
    job = await world.job(enabled=False, route=Route.FAILOVER)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    report = await world.stop(run_id)
    assert report.state is RunState.STOPPED
    await world.clock.advance(10)
    assert (await world.row(run_id)).state is RunState.STOPPED
    assert sum(len(one.received) for one in executors) == 0


async def test_an_edit_while_a_run_waits_for_a_connection_is_followed(world):
    """P8: handed to the link is not sent."""
    executor = await world.executor()
    executor.plan.append(Behaviour(waits_s=1))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(0.5)
    await world.change(job, task=Task("handler", "new"))
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert [(request.params, request.version) for request in executor.executed] == [("new", 2)]
    await world.clock.advance(10)
    assert len(world.sent) == 1


@pytest.mark.parametrize("reads_s", [0.0, 0.1])
async def test_a_call_that_was_recalled_fails_no_run(world, reads_s):
    """The link says that it was not sent, and does so before the job could be read."""
    executor = await world.executor()
    executor.plan.append(Behaviour(waits_s=1))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance_until(lambda: bool(world.now.link.waiting))
    await world.clock.advance(0.95)
    life = world.now
    await world.do(life.jobs.update(replace(job, task=Task("handler", "new"))), by=life)
    assert life.link.waiting
    if reads_s:
        slow = [reads_s, reads_s]
        life.db.read_pause_s = lambda: slow.pop() if slow else 0.001
    else:
        life.db.refuses = True
    life.process.spawn(life.operations.jobs_changed([job.id]))
    await world.clock.advance(0.001)
    life.db.refuses = False
    run = await world.until_final(run_id)
    assert (run.state, run.job_version) == (RunState.SUCCEEDED, 2)
    assert [request.params for request in executor.executed] == ["new"]


async def test_a_stop_while_a_run_waits_for_a_connection(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(waits_s=1))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(0.5)
    assert (await world.stop(run_id)).state is RunState.STOPPED
    await world.clock.advance(10)
    assert (await world.row(run_id)).state is RunState.STOPPED
    assert executor.received == []


async def test_a_claim_is_not_forgotten_while_the_clock_goes_back_and_forth(world):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(9.9)
    world.clock.jump(-3_600_000)
    await world.clock.advance(0.5)
    world.clock.jump(3_600_000)
    await world.clock.advance(2)
    assert [request.at_ms - job.anchor_ms < 12_000 for request in executor.executed] == [True]


# ------------------------------------------------------------ stop


async def test_stop_before_it_is_sent(world):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(9)
    (planned,) = await world.rows(job_id=job.id)
    assert (await world.stop(planned.id)).state is RunState.STOPPED
    await world.clock.advance(9.95)
    claimed = (await world.rows(job_id=job.id))[1]
    assert claimed.state is RunState.DISPATCHING or claimed.state is RunState.PLANNED
    assert (await world.stop(claimed.id)).state is RunState.STOPPED
    await world.clock.advance(1)
    assert executor.received == []
    assert [run.state for run in await world.rows(job_id=job.id)][:2] == [RunState.STOPPED] * 2


async def test_stop_while_it_runs_takes_its_siblings(world):
    executor = await world.executor(usual=Behaviour(runs_s=100))
    job = await world.job(enabled=False, max_attempts=3)
    first, second = [await world.trigger(job) for _ in range(2)]
    await world.clock.advance(1)
    report = await world.stop(first)
    assert (report.state, report.also_stopped) == (RunState.STOPPING, (second,))
    await world.clock.advance(1)
    rows = {run.id: run for run in await world.rows(job_id=job.id)}
    assert {run.state for run in rows.values()} == {RunState.STOPPED}
    assert str(first) in rows[second].reason or "stopped on request" in rows[second].reason
    assert len(rows) == 2  # a stopped run is not tried again
    assert executor.asked["kill"] == 1


async def test_stop_right_after_the_send_knows_the_siblings(world):
    await world.executor(usual=Behaviour(runs_s=100))
    job = await world.job(enabled=False)
    first, second = [await world.trigger(job) for _ in range(2)]
    await world.clock.advance_until(lambda: len(world.sent) == 2)
    report = await world.stop(first)
    assert report.also_stopped == (second,)


async def test_stop_with_an_executor_that_is_gone(world):
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    executor.stop()
    with pytest.raises(Unreachable):
        await world.stop(run_id)
    assert (await world.row(run_id)).state is RunState.RUNNING


async def test_a_run_that_succeeds_while_it_is_stopped_is_stopped(world):
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    stopping = asyncio.ensure_future(world.now.operations.stop(run_id))
    await world.clock.settle()
    if executor.running:
        executor.finish(job.id)
    await world.clock.advance(1)
    await stopping
    assert (await world.row(run_id)).state in (RunState.STOPPED, RunState.SUCCEEDED)


async def test_a_stop_while_a_claim_is_taken_back_stops_the_run(world):
    """It is neither claimed nor waiting at that moment: what was marked in vain is looked at again."""
    executor = await world.executor()
    job = await world.job(enabled=False)
    slow = [1.2, 0.9]

    def pause() -> float:
        if not slow:
            return 0.1
        return slow.pop() if world.flow.admitter._claims else 0.0

    world.now.faulty.pause_s = pause
    run_id = await world.trigger(job)
    await world.clock.advance_until(lambda: not slow and not world.flow.admitter._claims)
    assert (await world.row(run_id)).state is RunState.DISPATCHING
    assert world.flow.context.flights.get(run_id) is None
    assert (await world.stop(run_id)).state is RunState.STOPPED
    world.now.faulty.pause_s = lambda: 0.0
    await world.clock.advance(60)
    assert (await world.row(run_id)).state is RunState.STOPPED
    assert executor.executed == []
