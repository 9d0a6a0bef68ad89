"""Attempts that run for longer than their job allows."""

from __future__ import annotations

import pytest

from gateway.core.deadlines import OnDeadline
from gateway.core.kills import kill_state
from gateway.core.model import Route
from gateway.core.states import RunState
from gateway.store.tables import event
from tests.kit.fake_link import GOOD, SILENT, Behaviour
from tests.kit.flow_world import A, B

KILL = OnDeadline.KILL


async def slow(world, **job):
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False, **{"deadline_s": 10, "on_deadline": KILL, **job})
    run_id = await world.trigger(job)
    return executor, job, run_id


async def test_a_kill_ends_it_as_timed_out(world):
    _, _, run_id = await slow(world)
    await world.clock.advance(9.9)
    assert (await world.row(run_id)).state is RunState.RUNNING
    await world.clock.advance(0.5)
    run = await world.row(run_id)
    assert (run.state, run.outcome) == (RunState.TIMED_OUT, RunState.TIMED_OUT)
    assert run.reason == "the deadline of 10 s has passed: stopped"
    assert 10_000 <= run.stop_asked_ms - run.sent_ms <= 10_100
    assert kill_state(run, world.clock.now_ms()) == "confirmed"


async def test_each_attempt_has_its_own(world):
    executor, job, _ = await slow(world, max_attempts=3)
    executor.plan += [SILENT, GOOD]
    await world.clock.advance(25)
    states = [run.state for run in await world.rows(job_id=job.id)]
    assert states == [RunState.RETRYING, RunState.RETRYING, RunState.SUCCEEDED]


async def test_an_alert_lets_it_go_on_and_is_told_of_once(world):
    executor, job, run_id = await slow(world, on_deadline=OnDeadline.ALERT)
    await world.clock.advance(80)
    run = await world.row(run_id)
    assert (run.state, run.reason) == (RunState.RUNNING, "the deadline of 10 s has passed; it goes on")
    assert run.stop_asked_ms == 0
    told = [one for one in await world.table(event) if one["reason"] == "deadline_passed"]
    assert [(one["source_type"], one["source_id"]) for one in told] == [("job", str(job.id))]
    executor.finish(job.id)
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


async def test_one_that_ends_in_time_is_left_alone(world):
    _, job, run_id = await slow(world)
    world.executors[A].finish(job.id)
    await world.clock.advance(30)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert await world.table(event) == [
        one for one in await world.table(event) if one["reason"] != "deadline_passed"
    ]


async def test_a_restart_does_not_forget_it(world):
    _, _, run_id = await slow(world)
    await world.clock.advance(5)
    await world.crash()
    await world.clock.advance(2)
    await world.start()
    await world.beat(A)
    await world.clock.advance(2.5)
    assert (await world.row(run_id)).state is RunState.RUNNING
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.TIMED_OUT


async def test_a_result_taken_by_another_node_knows_why_it_was_stopped(several):
    world = several
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False, deadline_s=3, on_deadline=KILL, max_attempts=2)
    owner = next(life for life in world.nodes.values() if job.part in life.context.held)
    other = next(life for life in world.nodes.values() if life is not owner)
    run_id = await world.trigger(job, by=owner)
    executor.kill = lambda _job_id: None
    await world.clock.advance(4)
    run = await world.row(run_id)
    assert (run.state, kill_state(run, world.clock.now_ms())) == (RunState.STOPPING, "asked")
    world.pick = lambda _lives: other
    executor.usual = GOOD
    executor.finish(job.id)
    await world.clock.advance(2)
    first, second = await world.rows(job_id=job.id)
    assert (first.state, first.outcome) == (RunState.RETRYING, RunState.TIMED_OUT)
    assert second.state is RunState.SUCCEEDED


async def test_a_kill_that_is_ignored_shows_so(world):
    executor, job, run_id = await slow(world)
    executor.kill = lambda _job_id: None
    await world.clock.advance(50)
    run = await world.row(run_id)
    assert (run.state, kill_state(run, world.clock.now_ms())) == (RunState.STOPPING, "ignored")
    executor.finish(job.id)
    await world.clock.advance(1)
    run = await world.row(run_id)
    assert (run.state, kill_state(run, world.clock.now_ms())) == (RunState.TIMED_OUT, "confirmed")


async def test_an_executor_that_cannot_be_reached_is_asked_again(world):
    executor, _, run_id = await slow(world)
    await world.clock.advance(5)
    executor.up = False
    await world.clock.advance(10)
    run = await world.row(run_id)
    assert (run.state, run.stop_asked_ms, run.outcome) == (RunState.RUNNING, 0, None)
    assert run.reason == "the executor could not be reached to stop it"
    executor.up = True
    await world.clock.advance(15)
    assert (await world.row(run_id)).state is RunState.TIMED_OUT


async def test_a_kill_without_an_answer_may_have_been_heard(world):
    """The executor stands still, reads it when it goes on, and ends the run: by this kill."""
    executor, _, run_id = await slow(world)
    executor.frozen = True
    await world.clock.advance(12)
    run = await world.row(run_id)
    assert (run.state, kill_state(run, world.clock.now_ms())) == (RunState.STOPPING, "asked")
    executor.thaw()
    await world.clock.advance(2)
    run = await world.row(run_id)
    assert (run.state, kill_state(run, world.clock.now_ms())) == (RunState.TIMED_OUT, "confirmed")


async def test_what_the_job_says_now_counts(world):
    _, job, run_id = await slow(world)
    await world.clock.advance(5)
    await world.change(job, deadline_s=20)
    await world.clock.advance(10)
    assert (await world.row(run_id)).state is RunState.RUNNING
    await world.clock.advance(6)
    assert (await world.row(run_id)).state is RunState.TIMED_OUT


async def test_a_deadline_that_is_given_while_it_runs(world):
    _, job, run_id = await slow(world, deadline_s=0)
    await world.clock.advance(15)
    await world.change(job, deadline_s=10)
    await world.clock.advance(45)
    assert (await world.row(run_id)).state is RunState.TIMED_OUT


async def test_shards_have_it_and_their_parent_has_not(world):
    for address in (A, B):
        await world.executor(address)
    world.executors[A].plan.append(Behaviour(code=None))
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, deadline_s=5, on_deadline=KILL)
    parent_id = await world.trigger(job)
    await world.clock.advance(8)
    parent, first, second = await world.rows(job_id=job.id)
    assert [first.state, second.state] == [RunState.TIMED_OUT, RunState.SUCCEEDED]
    assert (parent.id, parent.state, parent.stop_asked_ms) == (parent_id, RunState.FAILED, 0)


async def test_an_executor_that_dies_after_the_kill_leaves_it_timed_out(world):
    executor, _, run_id = await slow(world)
    executor.kill = lambda _job_id: None
    await world.clock.advance(12)
    executor.restart()
    for _ in range(8):
        await world.beat(A)
        await world.clock.advance(30)
    run = await world.row(run_id)
    assert run.state is RunState.TIMED_OUT
    assert kill_state(run, world.clock.now_ms()) == "ignored"


@pytest.mark.parametrize(("lost_after_s", "lost"), [(30, True), (300, False)])
async def test_a_job_says_how_long_silence_is_borne(world, lost_after_s, lost):
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False, lost_after_s=lost_after_s)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    executor.restart()
    for _ in range(4):
        await world.beat(A)
        await world.clock.advance(28)
    run = await world.row(run_id)
    assert (run.state is RunState.LOST) == lost
    if lost:
        assert run.reason.endswith("twice in 30 s")
        return
    for _ in range(12):
        await world.beat(A)
        await world.clock.advance(28)
    assert (await world.row(run_id)).state is RunState.LOST
