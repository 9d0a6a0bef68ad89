"""Runs without a result do not stay open for ever, and none is given up in haste."""

from __future__ import annotations

from gateway.core.states import RunState
from tests.kit.fake_link import SILENT, Behaviour
from tests.kit.flow_world import A


async def keep_beating(world, seconds):
    for _ in range(round(seconds / 30)):
        if world.executors[A].up:
            await world.beat(A)
        await world.clock.advance(30)


async def silent_run(world, **job):
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False, **job)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    return executor, job, run_id


async def test_a_long_run_is_left_alone(world):
    executor, job, run_id = await silent_run(world)
    await keep_beating(world, 600)
    assert (await world.row(run_id)).state is RunState.RUNNING
    executor.finish(job.id)
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


async def test_an_executor_that_was_restarted_has_lost_its_run(world):
    executor, _, run_id = await silent_run(world)
    executor.restart()
    await keep_beating(world, 60)
    assert (await world.row(run_id)).state is RunState.RUNNING  # asked once
    await keep_beating(world, 120)
    run = await world.row(run_id)
    assert run.state is RunState.LOST
    assert "nothing of this job" in run.reason
    assert "60 s" in run.reason


async def test_a_lost_run_is_tried_again(world):
    executor, job, _ = await silent_run(world, max_attempts=2)
    executor.restart()
    executor.usual = Behaviour()
    await keep_beating(world, 190)
    assert [run.state for run in await world.rows(job_id=job.id)] == [RunState.RETRYING, RunState.SUCCEEDED]


async def test_an_executor_that_is_gone(world):
    executor, _, run_id = await silent_run(world)
    executor.stop()
    await world.clock.advance(89)
    assert (await world.row(run_id)).state is RunState.RUNNING
    run = await world.until_final(run_id, at_most_s=150)
    assert run.state is RunState.LOST
    assert "gone" in run.reason


async def test_an_executor_that_hangs_for_a_while(world):
    executor, _job, run_id = await silent_run(world)
    executor.frozen = True
    await world.clock.advance(80)
    executor.thaw()
    await keep_beating(world, 300)
    assert (await world.row(run_id)).state is RunState.RUNNING


async def test_a_stop_without_an_end_becomes_stopped(world):
    executor, _, run_id = await silent_run(world)
    executor.kill = lambda _job: executor.restart()  # it dies of it
    await world.stop(run_id)
    await keep_beating(world, 190)
    assert (await world.row(run_id)).state is RunState.STOPPED


async def test_only_one_question_a_place(world):
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False)
    for _ in range(20):
        await world.trigger(job)
    await world.clock.advance(62)
    assert executor.asked["idle"] <= 2


async def test_runs_of_an_earlier_life_are_swept_too(world):
    executor, _, run_id = await silent_run(world)
    await world.crash()
    executor.restart()
    await world.start()
    await keep_beating(world, 190)
    assert (await world.row(run_id)).state is RunState.LOST
