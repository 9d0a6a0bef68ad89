"""Endings, retries and the end of a broadcast."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.core.model import Route
from gateway.core.retry import Retry
from gateway.core.states import OPEN, RunState
from tests.kit.fake_link import FAILING, NOT_SENT, SILENT, Behaviour
from tests.kit.flow_world import A, B, C


async def test_attempts_end_at_their_limit(world):
    executor = await world.executor(usual=FAILING)
    job = await world.job(enabled=False, max_attempts=3)
    run_id = await world.trigger(job, params="mine")
    await world.clock.advance(2)
    rows = await world.rows(job_id=job.id)
    assert [run.state for run in rows] == [RunState.RETRYING, RunState.RETRYING, RunState.FAILED]
    assert {run.slot_key for run in rows} == {-run_id}
    assert [request.params for request in executor.executed] == ["mine"] * 3


async def test_attempts_wait_as_the_job_says(world):
    executor = await world.executor(usual=FAILING)
    retry = Retry(initial_ms=2000, coefficient=3, maximum_ms=10_000)
    job = await world.job(enabled=False, max_attempts=4, retry=retry)
    await world.trigger(job)
    await world.clock.advance(30)
    rows = await world.rows(job_id=job.id)
    assert len(executor.executed) == len(rows) == 4
    assert [later.due_ms - run.finished_ms for run, later in pairwise(rows)] == [2000, 6000, 10_000]
    assert all(0 <= run.sent_ms - run.due_ms < 50 for run in rows)


async def test_an_attempt_that_waits_survives_a_crash_and_is_stopped_as_any_other(world):
    executor = await world.executor(usual=FAILING)
    job = await world.job(enabled=False, max_attempts=9, retry=Retry(intervals_ms=(60_000, 86_400_000)))
    await world.trigger(job)
    await world.clock.advance(20)
    await world.crash()
    await world.clock.advance(5)
    await world.start()
    await world.beat(A)
    await world.clock.advance(41)
    assert len(executor.executed) == 2
    waiting = (await world.rows(job_id=job.id))[-1]
    assert (waiting.state, waiting.attempt) == (RunState.QUEUED, 3)
    assert (await world.stop(waiting.id)).state is RunState.STOPPED
    assert [run.state for run in await world.rows(job_id=job.id)] == [
        RunState.RETRYING,
        RunState.RETRYING,
        RunState.STOPPED,
    ]


async def test_only_what_the_job_names_is_tried_again(world):
    executor = await world.executor()
    executor.plan += [Behaviour(code=502), FAILING]
    job = await world.job(enabled=False, max_attempts=9, retry=Retry(on=frozenset({RunState.TIMED_OUT})))
    await world.trigger(job)
    await world.clock.advance(2)
    assert [run.state for run in await world.rows(job_id=job.id)] == [RunState.RETRYING, RunState.FAILED]


async def test_a_retry_waits_for_no_schedule_and_goes_on_when_disabled(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(code=500, runs_s=3))
    job = await world.job(max_attempts=2)
    await world.clock.advance(11)
    await world.change(job, enabled=False)
    await world.clock.advance(5)
    assert [run.state for run in await world.rows(job_id=job.id)] == [RunState.RETRYING, RunState.SUCCEEDED]


# ------------------------------------------------------------ broadcast


async def broadcast(world, **job):
    executors = [await world.executor(address) for address in (A, B, C)]
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, **job)
    return executors, job


async def test_a_broadcast_runs_everywhere_and_its_parent_ends_with_the_last(world):
    executors, job = await broadcast(world)
    executors[2].plan.append(Behaviour(runs_s=3))
    parent_id = await world.trigger(job)
    await world.clock.advance(2)
    assert (await world.row(parent_id)).state is RunState.RUNNING
    await world.clock.advance(2)
    parent, *shards = await world.rows(job_id=job.id)
    assert (parent.id, parent.state, parent.shard_total) == (parent_id, RunState.SUCCEEDED, 3)
    assert [(run.shard, run.shard_total, run.root_id, run.state) for run in shards] == [
        (n, 3, parent_id, RunState.SUCCEEDED) for n in range(3)
    ]
    assert [[(one.shard, one.shard_total) for one in executor.executed] for executor in executors] == [
        [(n, 3)] for n in range(3)
    ]


async def test_a_failed_shard_is_tried_again_alone_and_on_its_executor(world):
    executors, job = await broadcast(world, max_attempts=2)
    executors[1].plan.append(FAILING)
    parent_id = await world.trigger(job)
    await world.clock.advance(3)
    assert (await world.row(parent_id)).state is RunState.SUCCEEDED
    assert [len(executor.executed) for executor in executors] == [1, 2, 1]


async def test_a_shard_that_fails_for_good_fails_the_parent(world):
    executors, job = await broadcast(world)
    executors[1].plan.append(FAILING)
    parent_id = await world.trigger(job)
    await world.clock.advance(3)
    parent = await world.row(parent_id)
    assert (parent.state, parent.reason) == (RunState.FAILED, "shards that did not succeed: [1]")


async def test_a_broadcast_nobody_can_take_is_tried_again_and_then_runs(world):
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, max_attempts=2)
    parent_id = await world.trigger(job)
    await world.clock.advance(3)
    rows = await world.rows(job_id=job.id)
    assert [(run.attempt, run.state) for run in rows] == [(1, RunState.RETRYING), (2, RunState.FAILED)]
    assert rows[0].id == parent_id


async def test_the_second_attempt_of_a_parent_ends_as_well(world):
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, max_attempts=2)
    await world.trigger(job)
    for _ in range(200):
        await world.clock.advance(0.001)
        if len(await world.rows(job_id=job.id)) == 2 and not world.executors:
            break
    await world.executor(A)
    await world.clock.advance(5)
    assert [run for run in await world.rows(job_id=job.id) if run.state in OPEN] == []


async def test_a_broadcast_of_the_schedule_has_one_first_row_a_slot(world):
    executors = [await world.executor(address) for address in (A, B)]
    job = await world.job(route=Route.SHARDING_BROADCAST)
    await world.clock.advance(31)
    parents = await world.rows(job_id=job.id, shard=-1)
    assert [run.slot_key - job.anchor_ms for run in parents][:3] == [10_000, 20_000, 30_000]
    assert [run.state for run in parents][:3] == [RunState.SUCCEEDED] * 3
    assert [len(executor.executed) for executor in executors] == [3, 3]


async def test_stop_of_a_broadcast_stops_its_shards(world):
    executors, job = await broadcast(world)
    for executor in executors:
        executor.usual = SILENT
    parent_id = await world.trigger(job)
    await world.clock.advance(1)
    report = await world.stop(parent_id)
    assert len(report.also_stopped) == 3
    await world.clock.advance(1)
    assert {run.state for run in await world.rows(job_id=job.id)} == {RunState.STOPPED}


async def test_stop_of_a_broadcast_whose_shards_wait(world):
    executors, job = await broadcast(world)
    world.flow.admitter.run_once = _never  # the shards are not claimed any more
    parent_id = await world.trigger(job)
    await world.clock.advance(1)
    del world.flow.admitter.run_once
    assert (await world.stop(parent_id)).state in (RunState.STOPPED, RunState.STOPPING)
    await world.clock.advance(40)
    assert {run.state for run in await world.rows(job_id=job.id)} == {RunState.STOPPED}
    assert [executor.received for executor in executors] == [[], [], []]


async def _never(_room: int) -> None:
    """Claim nothing."""


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.2])
async def test_a_crash_while_a_broadcast_runs(world, seconds):
    executors, job = await broadcast(world)
    executors[0].plan.append(Behaviour(runs_s=8))
    parent_id = await world.trigger(job)
    await world.clock.advance(seconds)
    await world.crash()
    await world.start()
    for address in world.executors:
        await world.beat(address)
    assert (await world.until_final(parent_id, at_most_s=100)).state is RunState.SUCCEEDED
    assert [len(executor.executed) for executor in executors] == [1, 1, 1]


async def test_a_stop_that_got_no_answer_holds_and_can_be_asked_again(world):
    executor = await world.executor(usual=Behaviour(runs_s=1000))
    heard, deaf = [await world.trigger(await world.job(enabled=False, max_attempts=3)) for _ in range(2)]
    await world.clock.advance(1)
    executor.frozen = True
    assert (await world.stop(heard)).state is RunState.STOPPING
    executor.thaw()
    await world.clock.advance(1)
    assert (await world.row(heard)).state is RunState.STOPPED  # and no further attempt
    executor.kill_code = None
    assert (await world.stop(deaf)).state is RunState.STOPPING
    await world.clock.advance(31)
    assert executor.asked["kill"] == 2
    executor.kill_code = 500
    assert (await world.stop(deaf)).state is RunState.STOPPING
    await world.clock.advance(1)
    assert ((await world.row(deaf)).state, executor.asked["kill"]) == (RunState.STOPPED, 3)
    assert {run.attempt for run in await world.rows()} == {1}


async def test_an_unreachable_shard_fails_alone(world):
    executors, job = await broadcast(world)
    executors[0].plan.append(NOT_SENT)
    await world.trigger(job)
    await world.clock.advance(3)
    assert [run.state for run in await world.rows(job_id=job.id)] == [
        RunState.FAILED,
        RunState.FAILED,
        RunState.SUCCEEDED,
        RunState.SUCCEEDED,
    ]
