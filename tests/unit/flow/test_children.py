"""What the end of a run starts."""

from __future__ import annotations

import random
from collections import Counter
from itertools import cycle

import pytest

from gateway.core.children import Child, Join, On
from gateway.core.model import Route, TriggerKind
from gateway.core.retry import Retry
from gateway.core.states import RunState
from gateway.store.tables import join_mark
from tests.kit.fake_link import FAILING, SILENT, Behaviour
from tests.kit.flow_world import A, B, C

ON = {On.SUCCESS: "succeeded", On.FAILURE: "failed", On.END: "ended"}


async def family(world, **parent):
    """A job with a child for each kind of end; the children by that kind."""
    children = {on: await world.job(enabled=False, name=name) for on, name in ON.items()}
    links = tuple(Child(job.id, on) for on, job in children.items())
    return await world.job(enabled=False, children=links, **parent), children


async def started(world, children):
    return {on: len(await world.rows(job_id=job.id)) for on, job in children.items()}


async def test_success_starts_those_that_wait_for_it_once(world):
    executor = await world.executor()
    executor.plan += [FAILING, Behaviour(repeats=3)]
    job, children = await family(world, max_attempts=2)
    first = await world.trigger(job, params="mine")
    await world.clock.advance(3)
    second = (await world.rows(job_id=job.id))[-1]
    assert await started(world, children) == {On.SUCCESS: 1, On.FAILURE: 0, On.END: 1}
    (run,) = await world.rows(job_id=children[On.SUCCESS].id)
    assert (run.state, run.trigger_kind, run.params) == (RunState.SUCCEEDED, TriggerKind.CHILD, None)
    assert (run.slot_key, run.parent_id, run.root_id) == (-first, second.id, run.id)


async def test_failure_starts_them_after_the_last_attempt_only(world):
    await world.executor(usual=FAILING)
    job, children = await family(world, max_attempts=2, retry=Retry(intervals_ms=(5000,)))
    await world.trigger(job)
    await world.clock.advance(4)
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 0, On.END: 0}
    await world.clock.advance(4)
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 1, On.END: 1}


async def test_a_stop_starts_only_those_that_wait_for_any_end(world):
    executor = await world.executor()
    executor.plan.append(SILENT)
    job, children = await family(world)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    await world.stop(run_id)
    await world.clock.advance(1)
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 0, On.END: 1}


async def test_a_run_that_never_started_starts_nothing(world):
    job, children = await family(world)
    await world.change(job, enabled=True)
    await world.change(job, misfire_after_s=0, schedule={"kind": "fixed_rate", "expression": "1s"})
    world.now.freeze()
    await world.clock.advance(1.5)
    world.now.thaw()
    await world.clock.advance(0.1)
    assert RunState.SKIPPED in {run.state for run in await world.rows(job_id=job.id)}
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 0, On.END: 0}


async def test_a_broadcast_starts_them_once_with_its_end(world):
    for address in (A, B, C):
        await world.executor(address)
    job, children = await family(world, route=Route.SHARDING_BROADCAST)
    world.executors[B].plan.append(Behaviour(runs_s=3))
    parent_id = await world.trigger(job)
    await world.clock.advance(2)
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 0, On.END: 0}
    await world.clock.advance(3)
    assert await started(world, children) == {On.SUCCESS: 1, On.FAILURE: 0, On.END: 1}
    assert [run.parent_id for run in await world.rows(job_id=children[On.END].id)] == [parent_id]


async def test_a_broadcast_over_one_executor_is_no_plain_run(world):
    await world.executor()
    job, children = await family(world, route=Route.SHARDING_BROADCAST, max_attempts=2)
    world.executors[A].plan.append(FAILING)
    await world.trigger(job)
    await world.clock.advance(3)
    assert await started(world, children) == {On.SUCCESS: 1, On.FAILURE: 0, On.END: 1}


async def test_a_child_may_be_a_broadcast_with_children(world):
    for address in (A, B):
        await world.executor(address)
    last = await world.job(enabled=False)
    middle = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, children=(Child(last.id),))
    first = await world.job(enabled=False, children=(Child(middle.id),))
    await world.trigger(first)
    await world.clock.advance(2)
    assert [run.shard for run in await world.rows(job_id=middle.id)] == [-1, 0, 1]
    assert [run.state for run in await world.rows(job_id=last.id)] == [RunState.SUCCEEDED]


async def test_a_deleted_child_is_noted(world):
    await world.executor()
    job, children = await family(world)
    gone = children[On.SUCCESS]
    await world.do(world.now.jobs.delete(gone.id))
    await world.do(world.now.operations.jobs_changed([gone.id]))
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.reason) == (
        RunState.SUCCEEDED,
        f"not started, because it does not exist any more: child job {gone.id}",
    )
    await world.clock.advance(1)
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 0, On.END: 1}


async def test_an_edit_while_it_runs_counts_for_its_end(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(runs_s=5))
    child = await world.job(enabled=False)
    job = await world.job(enabled=False)
    await world.trigger(job)
    await world.clock.advance(1)
    await world.change(job, children=(Child(child.id),))
    await world.clock.advance(6)
    assert len(await world.rows(job_id=child.id)) == 1


async def test_a_late_success_starts_what_the_loss_has_not(world):
    executor = await world.executor()
    executor.plan.append(SILENT)
    job, children = await family(world)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    request = executor.received[-1]
    executor.restart()
    await world.beat(A)
    assert (await world.until_final(run_id, at_most_s=200)).state is RunState.LOST
    await world.clock.advance(1)
    assert await started(world, children) == {On.SUCCESS: 0, On.FAILURE: 1, On.END: 1}
    for _ in range(2):
        executor._report(request, 200, None)
        await world.clock.advance(2)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert await started(world, children) == {On.SUCCESS: 1, On.FAILURE: 1, On.END: 1}


@pytest.mark.parametrize(
    "fault", ["deadlock", "gone_before_commit", "gone_after_commit", "gone_while_committing"]
)
async def test_a_commit_that_fails_or_is_not_known_starts_them_once(world, fault):
    await world.executor()
    job, children = await family(world)
    await world.trigger(job)
    await world.clock.advance(0.005)
    world.faults(fault, fault, fault)
    await world.clock.advance(10)
    assert await started(world, children) == {On.SUCCESS: 1, On.FAILURE: 0, On.END: 1}
    states = [run.state for one in children.values() for run in await world.rows(job_id=one.id)]
    assert states == [RunState.SUCCEEDED] * 2


@pytest.mark.parametrize("seconds", [0.005, 0.012, 0.015, 0.02, 0.1])
async def test_a_crash_at_any_moment(world, seconds):
    await world.executor()
    job, children = await family(world)
    await world.trigger(job)
    await world.clock.advance(seconds)
    await world.crash()
    await world.start()
    await world.beat(A)
    await world.clock.advance(20)
    assert await started(world, children) == {On.SUCCESS: 1, On.FAILURE: 0, On.END: 1}
    assert sum(world.executions.values()) == 3


async def test_children_of_another_nodes_part(several):
    world = several
    await world.executor()
    nodes = list(world.nodes.values())
    jobs = [await world.job(enabled=False) for _ in range(12)]
    parent = jobs[0]
    children = jobs[1:]
    assert len({job.part in nodes[0].context.held for job in jobs}) == 2
    await world.change(parent, children=tuple(Child(job.id) for job in children))
    for pick in range(2):
        world.pick = lambda lives, pick=pick: lives[pick]
        await world.trigger(parent)
        await world.clock.advance(2)
    assert [len(await world.rows(job_id=job.id)) for job in children] == [2] * 11
    assert {run.state for run in await world.rows()} == {RunState.SUCCEEDED}
    assert set(world.executions.values()) == {1}


# ------------------------------------------------------------ joins


async def joined(world, parents=2, on=On.SUCCESS):
    child = await world.job(enabled=False, join=Join.ALL)
    return child, [await world.job(enabled=False, children=(Child(child.id, on),)) for _ in range(parents)]


async def test_a_join_starts_with_the_last_of_its_parents_and_begins_anew(world):
    await world.executor()
    child, parents = await joined(world, 3)
    for expected, parent in ((0, 0), (0, 1), (0, 0), (1, 2), (1, 2), (1, 1), (2, 0)):
        run_id = await world.trigger(parents[parent])
        await world.clock.advance(1)
        runs = await world.rows(job_id=child.id)
        assert len(runs) == expected
        if (expected, parent) in ((1, 2), (2, 0)) and runs[-1].parent_id == run_id:
            assert (runs[-1].slot_key, runs[-1].state) == (-run_id, RunState.SUCCEEDED)
    assert [bool(mark["used"]) for mark in await world.table(join_mark)] == [True] * 3


async def test_an_end_that_is_not_wanted_does_not_count(world):
    executor = await world.executor()
    child, parents = await joined(world)
    executor.plan.append(FAILING)
    for parent in parents:
        await world.trigger(parent)
        await world.clock.advance(1)
    assert await world.rows(job_id=child.id) == []
    await world.trigger(parents[0])
    await world.clock.advance(1)
    assert len(await world.rows(job_id=child.id)) == 1


async def test_a_corrected_end_counts_once(world):
    executor = await world.executor()
    child, parents = await joined(world, on=On.END)
    executor.plan.append(SILENT)
    run_id = await world.trigger(parents[0])
    await world.clock.advance(1)
    request = executor.received[-1]
    executor.restart()
    await world.beat(A)
    await world.until_final(run_id, at_most_s=200)
    for _ in range(2):
        await world.trigger(parents[1])
        await world.clock.advance(1)
    assert len(await world.rows(job_id=child.id)) == 1
    executor._report(request, 200, None)
    await world.clock.advance(1)
    assert len(await world.rows(job_id=child.id)) == 1


async def test_parents_that_end_at_one_moment_on_two_nodes(several):
    world = several
    await world.executor()
    child, parents = await joined(world, 8)
    turns = cycle((0, 1))
    world.pick = lambda lives: lives[next(turns)]  # the results come to both
    for _ in range(3):
        for parent in parents:
            await world.trigger(parent)
        await world.clock.advance(2)
    assert [run.state for run in await world.rows(job_id=child.id)] == [RunState.SUCCEEDED] * 3


@pytest.mark.parametrize("seed", range(4))
async def test_a_graph_of_jobs_does_as_a_model_of_it(world, seed):
    """Random jobs and links without joins: every run's end starts what its links say, and nothing else is run."""
    rng = random.Random(seed)
    executor = await world.executor()
    codes = iter(rng.choice((200, 200, 500)) for _ in range(10_000))
    executor.next_behaviour = lambda _order: Behaviour(code=next(codes), runs_s=rng.uniform(0.01, 0.3))
    jobs = []
    for n in range(7):
        picked = rng.sample(jobs, min(n, rng.randint(0, 2)))
        links = tuple(Child(job.id, rng.choice(list(On))) for job in picked)
        jobs.append(await world.job(enabled=False, children=links, max_attempts=rng.randint(1, 2)))
    triggered = Counter()
    for _ in range(12):
        job = rng.choice(jobs[4:])
        triggered[job.id] += 1
        await world.trigger(job)
        await world.clock.advance(rng.uniform(0, 0.2))
    await world.clock.advance(30)
    rows = await world.rows()
    expected = Counter(triggered)
    for run in rows:
        for child in next(job for job in jobs if job.id == run.job_id).children:
            good = run.state is RunState.SUCCEEDED
            bad = run.state is RunState.FAILED
            expected[child.job_id] += {On.SUCCESS: good, On.FAILURE: bad, On.END: good or bad}[child.on]
    assert {run.state for run in rows} <= {RunState.SUCCEEDED, RunState.FAILED, RunState.RETRYING}
    assert Counter(run.job_id for run in rows if run.attempt == 1) == +expected
    assert len(rows) > 15
