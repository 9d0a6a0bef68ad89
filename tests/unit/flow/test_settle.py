"""Doubtful sends are asked about, and nothing is executed twice by guessing."""

from __future__ import annotations

import pytest

from gateway.core.model import Guarantee
from gateway.core.ports import CANNOT_SAY, Answer
from gateway.core.states import RunState
from tests.kit.fake_link import GOOD, LOST_ANSWER, LOST_REQUEST, SILENT, Behaviour


async def test_received_without_an_answer(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(answered=False, runs_s=20))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(8)
    run = await world.row(run_id)
    assert run.state is RunState.RUNNING
    assert "the executor has it" in run.reason
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}


async def test_the_result_comes_while_it_is_asked(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(answered=False, runs_s=3.2))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    await world.clock.advance(30)
    assert executor.executions == {run_id: 1}
    assert len(world.flow.settler) == 0


async def test_never_received_is_sent_again_with_the_same_id(world):
    executor = await world.executor()
    executor.plan.append(LOST_REQUEST)
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}
    assert len(world.sent) == 2
    second_ms = world.sent[1][2]
    assert (
        second_ms - world.sent[0][2] >= 4000
    )  # two askings two seconds apart, the first two seconds after the send


async def test_queued_behind_another_run_is_waited_for(world):
    """No log file yet, and busy: that tells nothing, so nothing is sent."""
    executor = await world.executor()
    executor.plan.extend([Behaviour(runs_s=40), LOST_ANSWER])
    job = await world.job(enabled=False)
    await world.trigger(job)
    await world.clock.advance(1)
    run_id = await world.trigger(job)
    await world.clock.advance(30)
    assert (await world.row(run_id)).state is RunState.DISPATCHING
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    assert executor.executions[run_id] == 1
    assert len(world.sent) == 2


async def test_a_request_that_arrives_between_two_questions(world):
    """One idle answer proves nothing: the request may still be on its way."""
    executor = await world.executor()
    executor.plan.append(Behaviour(answered=False, arrives_after_s=4.5))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    await world.clock.advance(10)
    assert executor.executions == {run_id: 1}
    assert len(world.sent) == 1


async def test_given_up_after_a_minute_and_never_sent_again(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(received=False, answered=False))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(0.5)
    executor.stop()
    run = await world.until_final(run_id, at_most_s=80)
    assert run.state is RunState.LOST
    assert "at_most_once" in run.reason
    assert len(world.sent) == 1


async def test_at_least_once_is_sent_again_and_says_so(world):
    executor = await world.executor()
    executor.plan.append(LOST_REQUEST)
    job = await world.job(enabled=False, guarantee=Guarantee.AT_LEAST_ONCE, max_attempts=1)
    run_id = await world.trigger(job)
    await world.clock.advance(0.5)
    executor.frozen = True
    await world.clock.advance(59)
    executor.thaw()
    run = await world.until_final(run_id, at_most_s=80)
    assert run.state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}


async def test_a_minute_of_answers_is_no_minute_of_silence(world):
    """It waits behind another run for long, then one question goes astray: that is no reason to give up."""
    executor = await world.executor()
    executor.plan.extend([Behaviour(runs_s=90), LOST_ANSWER])
    job = await world.job(enabled=False, guarantee=Guarantee.AT_LEAST_ONCE)
    await world.trigger(job)
    await world.clock.advance(1)
    run_id = await world.trigger(job)
    await world.clock.advance(70)
    executor.frozen = True
    await world.clock.advance(5)
    executor.thaw()
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    assert executor.executions[run_id] == 1
    assert len(world.sent) == 2


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
async def test_a_set_clock_proves_nothing(world, jump_ms):
    """Neither is the time between two questions shorter than it was, nor does anything wait for an hour."""
    executor = await world.executor()
    executor.plan.append(LOST_REQUEST)
    job = await world.job(enabled=False, guarantee=Guarantee.AT_LEAST_ONCE)
    run_id = await world.trigger(job)
    await world.clock.advance(3.5)
    assert executor.asked["idle"] == 1
    world.clock.jump(jump_ms)
    await world.clock.advance(4)
    assert len(world.flow.settler) == 0
    assert executor.asked["idle"] >= 3
    assert (await world.row(run_id)).state in (RunState.QUEUED, RunState.SUCCEEDED)


async def test_a_client_whose_log_is_not_real(world):
    world.now.link.real_log = False
    executor = await world.executor()
    executor.plan.append(LOST_REQUEST)
    job = await world.job(enabled=False)
    run = await world.until_final(await world.trigger(job))
    assert run.state is RunState.LOST
    assert len(world.sent) == 1


# ------------------------------------------------------------ what a crash left behind


@pytest.mark.parametrize("point", ["after_claim", "after_send", "after_answer"])
@pytest.mark.parametrize("behaviour", [GOOD, SILENT, Behaviour(runs_s=30), LOST_REQUEST, LOST_ANSWER])
async def test_a_crash_at_each_point_executes_once(world, point, behaviour):
    executor = await world.executor()
    executor.plan.append(behaviour)
    world.now.signals.crash_at = point
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(2)
    if not world.now.signals.crashed:
        assert not behaviour.answered
    await world.crash()
    await world.clock.advance(2)
    await world.start()
    await world.beat(executor.address)
    await world.clock.advance(45)
    if executor.running:
        executor.finish(job.id)
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}


async def test_a_run_that_was_stopped_while_in_doubt_is_not_tried_again(world):
    executor = await world.executor(usual=Behaviour(answered=False, code=None))
    job = await world.job(enabled=False, max_attempts=3)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    await world.stop(run_id)
    executor.stop()
    await world.clock.advance(200)
    rows = await world.rows(job_id=job.id)
    assert [(run.id, run.state) for run in rows] == [(run_id, RunState.STOPPED)]


async def test_who_never_says_whether_it_is_idle_is_not_waited_for_for_ever(world):
    """Releases before 1.8 have no such question: their log settles what it can, and the guarantee the rest."""

    async def cannot_say(*_asked):
        return Answer(ok=False, code=CANNOT_SAY, message="no such method")

    executor = await world.executor(dialect="netcom17")
    world.now.link.idle = cannot_say
    executor.plan.extend([Behaviour(answered=False, runs_s=20), LOST_REQUEST])
    job = await world.job(enabled=False)
    received = await world.trigger(job)
    await world.clock.advance(4)
    assert (await world.row(received)).state is RunState.RUNNING
    assert (await world.until_final(received)).state is RunState.SUCCEEDED
    lost = await world.trigger(job)
    await world.clock.advance(30)
    assert (await world.row(lost)).state is RunState.DISPATCHING
    run = await world.until_final(lost, 60)
    assert run.state is RunState.LOST
    assert "cannot tell" in run.reason
    assert executor.executions == {received: 1}
