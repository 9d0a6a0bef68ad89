"""Replace with several places: what a kill takes along runs again, and nothing of it is lost or done twice."""

from __future__ import annotations

import random

import pytest

from gateway.core.children import Child, On
from gateway.core.model import Route, TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.states import IN_FLIGHT, RunState
from tests.kit.fake_link import FAILING, SILENT, Behaviour
from tests.kit.flow_world import A, B

NEVER = {"kind": "api"}
LONG = Behaviour(runs_s=500)
S = RunState


async def full(world, places=3, **job):
    """As many runs as there are places, on the only executor; and one more, which replaces the first."""
    executor = await world.executor(usual=LONG)
    job = await world.job(schedule=NEVER, concurrency=Concurrency(Overlap.REPLACE, places), **job)
    runs = []
    for number in range(places):
        runs.append(await world.trigger(job, params=f"p{number}"))
        await world.clock.advance(1)
    return executor, job, runs


async def replaced(world, job):
    run_id = await world.trigger(job, params="new")
    await world.clock.advance(2)
    return run_id


def chain(rows, root):
    return [row for row in rows if row.root_id == root]


async def test_what_goes_along_is_queued_again_as_it_was(world):
    executor, job, (first, *others) = await full(world)
    new = await replaced(world, job)
    rows = await world.rows(job_id=job.id)
    (stopped,) = chain(rows, first)
    assert (stopped.state, stopped.reason) == (S.STOPPED, f"replaced by run {new}: overlap replace")
    for number, root in enumerate(others, 1):
        gone, again = chain(rows, root)
        assert (gone.state, gone.outcome) == (S.RETRYING, S.STOPPED)
        assert gone.reason == f"stopped together with run {first}: a kill takes the whole job; it runs again"
        assert (again.state, again.attempt, again.uncounted) == (S.RUNNING, 2, 1)
        assert (again.params, again.slot_key, again.data_ms) == (f"p{number}", gone.slot_key, gone.data_ms)
        assert (again.trigger_kind, again.due_ms >= gone.finished_ms) == (TriggerKind.RETRY, True)
    assert chain(rows, new)[0].state is S.RUNNING
    assert executor.asked["kill"] == 1
    assert len([row for row in rows if row.state is S.RUNNING]) == 3


async def test_it_is_no_retry_of_the_policy(world):
    executor, job, (_, second) = await full(world, places=2, max_attempts=2)
    executor.plan += [LONG, FAILING, FAILING]
    await replaced(world, job)
    executor.finish(job.id)
    await world.clock.advance(5)
    tries = chain(await world.rows(job_id=job.id), second)
    assert [(one.state, one.attempt, one.uncounted) for one in tries] == [
        (S.RETRYING, 1, 0),
        (S.RETRYING, 2, 1),
        (S.FAILED, 3, 1),
    ]


async def test_children_start_once_with_the_attempt_that_ends_it(world):
    ends = await world.job(schedule=NEVER, name="on end")
    good = await world.job(schedule=NEVER, name="on success")
    children = (Child(ends.id, On.END), Child(good.id))
    executor, job, (first, second) = await full(world, places=2, children=children)
    new = await replaced(world, job)
    assert [run.slot_key for run in await world.rows(job_id=ends.id)] == [-first]
    for _ in range(2):
        executor.finish(job.id)
        await world.clock.advance(1)
    assert sorted(run.slot_key for run in await world.rows(job_id=good.id)) == [-new, -second]


async def test_a_stop_by_a_person_takes_the_others_for_good(world):
    _, job, (first, *others) = await full(world)
    report = await world.stop(first)
    await world.clock.advance(2)
    assert sorted(report.also_stopped) == others
    assert {run.state for run in await world.rows(job_id=job.id)} == {S.STOPPED}
    assert len(await world.rows(job_id=job.id)) == 3


async def test_a_success_that_came_before_the_kill_stands(world):
    executor, job, (_, second) = await full(world, places=2)
    executor.kill_code = 200
    await replaced(world, job)
    (run,) = chain(await world.rows(job_id=job.id), second)
    assert (run.state, run.reason) == (S.SUCCEEDED, "it had ended before the kill that was to take it along")


async def test_clients_that_call_a_killed_run_a_success_are_not_believed(world):
    executor, job, (first, second) = await full(world, places=2)
    executor.kill_code, executor.strict_time = 200, False
    await replaced(world, job)
    rows = await world.rows(job_id=job.id)
    assert [run.state for run in chain(rows, first)] == [S.STOPPED]
    assert [run.state for run in chain(rows, second)] == [S.RETRYING, S.RUNNING]


async def test_a_stop_of_its_own_wins(world):
    executor, job, (first, second) = await full(world, places=2)
    executor.kill_code = None
    await replaced(world, job)
    assert (await world.row(second)).sequel == 1
    await world.stop(second)
    row = await world.row(second)
    assert (row.state, row.sequel, row.reason) == (S.STOPPING, 0, "stopped on request")
    for _ in range(2):
        executor.finish(job.id, 500)
        await world.clock.advance(1)
    assert [run.state for run in chain(await world.rows(job_id=job.id), second)] == [S.STOPPED]
    assert (await world.row(first)).state is S.STOPPED


async def test_when_its_job_is_gone_it_does_not_start_again(world):
    executor, job, (_, second) = await full(world, places=2)
    executor.kill_code = None
    await replaced(world, job)
    await world.do(world.now.jobs.delete(job.id))
    await world.do(world.now.operations.jobs_changed([job.id]))
    executor.finish(job.id, 500)
    await world.clock.advance(0.1)
    executor.finish(job.id, 500)
    await world.clock.advance(1)
    tries = chain(await world.rows(job_id=job.id), second)
    assert [(run.state, run.sent_ms > 0) for run in tries] == [(S.RETRYING, True), (S.INVALID, False)]


async def test_one_that_is_given_up_runs_again_too(world):
    executor, job, (_, second) = await full(world, places=2)
    executor.kill_code = None
    await replaced(world, job)
    executor.restart()
    for _ in range(2):
        await world.clock.advance(65)
        await world.beat(A)
    assert [run.state for run in chain(await world.rows(job_id=job.id), second)] == [S.RETRYING, S.RUNNING]


@pytest.mark.parametrize("point", ["before_result_commit", "after_claim"])
async def test_a_crash_around_its_end_loses_and_doubles_nothing(world, point):
    _, job, (first, second, third) = await full(world)
    world.now.signals.crash_at = point
    new = await world.trigger(job, params="new")
    await world.clock.advance(5)
    assert world.now.dead
    await world.crash()
    await world.start()
    await world.clock.advance(40)
    rows = await world.rows(job_id=job.id)
    assert [run.state for run in chain(rows, first)] == [S.STOPPED]
    for root in (second, third):
        assert [run.state for run in chain(rows, root)] == [S.RETRYING, S.RUNNING]
    assert chain(rows, new)[-1].state is S.RUNNING
    assert all(count == 1 for count in world.executions.values())


async def test_the_end_may_reach_any_node(several):
    world = several
    executor = await world.executor(usual=LONG)
    world.pick = lambda lives: lives[-1]
    jobs = [
        await world.job(name=f"j{n}", schedule=NEVER, concurrency=Concurrency(Overlap.REPLACE, 2))
        for n in range(4)
    ]
    for job in jobs * 2:
        await world.trigger(job)
        await world.clock.advance(1)
    firsts = {job.id: min(run.id for run in await world.rows(job_id=job.id)) for job in jobs}
    for job in jobs:
        await world.trigger(job)
    await world.clock.advance(5)
    for job in jobs:
        rows = await world.rows(job_id=job.id)
        again = [run for run in rows if run.uncounted]
        assert [run.state for run in rows if run.id == firsts[job.id]] == [S.STOPPED]
        assert [run.state for run in again] == [S.RUNNING]
        assert sum(run.state is S.RUNNING for run in rows) == 2
    assert executor.asked["kill"] == len(jobs)


async def test_shards_of_the_replaced_parent_stay_stopped(world):
    executor = await world.executor(usual=SILENT)
    how = {"concurrency": Concurrency(Overlap.REPLACE, 2), "route": Route.SHARDING_BROADCAST}
    job = await world.job(schedule=NEVER, **how)
    parents = []
    for _ in range(3):
        parents.append(await world.trigger(job))
        await world.clock.advance(2)
    rows = await world.rows(job_id=job.id)
    first, second, third = (chain(rows, root) for root in parents)
    assert {run.state for run in first} == {S.STOPPED}
    assert [(run.shard, run.state) for run in second] == [(-1, S.RUNNING), (0, S.RETRYING), (0, S.RUNNING)]
    assert [(run.shard, run.state) for run in third] == [(-1, S.RUNNING), (0, S.RUNNING)]
    for _ in range(2):
        executor.finish(job.id)
        await world.clock.advance(1)
    assert (await world.row(parents[1])).state is S.SUCCEEDED


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_each_run_ends_once_and_only_the_replaced_stop(world, seed):
    chance = random.Random(seed)
    executors = [await world.executor(address, usual=SILENT) for address in (A, B)]
    job = await world.job(schedule=NEVER, concurrency=Concurrency(Overlap.REPLACE, 3))
    asked = []
    for _ in range(25):
        if chance.random() < 0.5:
            asked.append(await world.trigger(job))
        busy = [executor for executor in executors if executor.running]
        if busy and chance.random() < 0.4:
            chance.choice(busy).finish(job.id)
        await world.clock.advance(chance.choice([0.05, 0.5, 3]))
        under_way = [run for run in await world.rows(job_id=job.id) if run.state in IN_FLIGHT]
        assert len(under_way) <= 3
    for _ in range(20):
        for executor in executors:
            if executor.running:
                executor.finish(job.id)
        await world.clock.advance(0.5)
    rows = await world.rows(job_id=job.id)
    for root in asked:
        *before, last = chain(rows, root)
        assert all((run.state, run.outcome) == (S.RETRYING, S.STOPPED) for run in before)
        assert last.uncounted == len(before)
        if last.state is S.STOPPED:
            assert last.reason.startswith("replaced by run ")
        elif last.state is S.SKIPPED:
            assert last.reason.startswith("overlap replace: ")
        else:
            assert last.state is S.SUCCEEDED
    assert all(count == 1 for count in world.executions.values())
