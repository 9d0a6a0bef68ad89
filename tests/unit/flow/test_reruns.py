"""Runs that are run again, or marked by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.acting import acting_for
from gateway.core.children import Child, On
from gateway.core.errors import Conflict, NotFound
from gateway.core.listing import RunFilter
from gateway.core.model import Route, TriggerKind
from gateway.core.named_shards import NamedShard
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.reruns import Rerun
from gateway.core.retry import FAILURES
from gateway.core.states import RunState
from gateway.flow.reruns import FlowReruns
from tests.kit.fake_link import FAILING, SILENT, Behaviour
from tests.kit.flow_world import A, B, C

ONLY_FAILED = Rerun(only_failed=True)
OPEN_FAILURES = RunFilter(states=FAILURES, no_shards=True, not_rerun=True)


def desk(world, life=None):
    life = life or world.now
    return FlowReruns(life.flow, life.operations, life.runs)


async def by(name, work):
    with acting_for(name):
        return await work


async def rerun(world, run_id, how=None):
    return await world.do(desk(world).rerun(run_id, how or Rerun()))


async def failed(world, **job):
    executor = await world.executor()
    executor.plan.append(FAILING)
    job = await world.job(enabled=False, **job)
    run_id = await world.trigger(job, params="mine", addresses=(A,))
    assert (await world.until_final(run_id)).state is RunState.FAILED
    return executor, job, run_id


async def started(world, job):
    return len(await world.rows(job_id=job.id))


# ------------------------------------------------------------ rerun


async def test_a_run_is_run_again_as_it_was(world):
    executor, _job, run_id = await failed(world)
    again = await world.do(by("ann", desk(world).rerun(run_id, Rerun())))
    run = await world.until_final(again)
    assert (run.state, run.params, run.addresses) == (RunState.SUCCEEDED, "mine", (A,))
    assert (run.parent_id, run.root_id, run.attempt, run.slot_key) == (run_id, again, 1, -again)
    assert (run.trigger_kind, run.author) == (TriggerKind.MANUAL, "ann")
    old = await world.row(run_id)
    assert (old.state, old.rerun_id) == (RunState.FAILED, again)
    assert len(executor.executed) == 2
    third = await rerun(world, run_id)
    assert (await world.row(run_id)).rerun_id == third


async def test_it_keeps_the_business_time_of_its_slot(world):
    await world.executor()
    job = await world.job()
    await world.change(job, timing=replace(job.timing, data_offset_s=-3600))
    await world.clock.advance(12)
    slot = (await world.rows(job_id=job.id))[0]
    again = await world.until_final(await rerun(world, slot.id))
    assert again.data_ms == slot.slot_key - 3_600_000


async def test_what_cannot_be_run_again(world):
    executor = await world.executor()
    executor.plan += [FAILING, SILENT]
    job = await world.job(enabled=False, max_attempts=2)
    first = await world.trigger(job)
    await world.clock.advance(1)
    second = (await world.rows(job_id=job.id))[-1].id
    for run_id, words in ((second, "is running"), (first, "was tried again")):
        with pytest.raises(Conflict, match=words):
            await rerun(world, run_id)
    with pytest.raises(NotFound):
        await rerun(world, 77)
    executor.finish(job.id)
    await world.clock.advance(1)
    await world.do(world.now.jobs.delete(job.id, keep_history=True))
    await world.do(world.now.operations.jobs_changed([job.id]))
    with pytest.raises(Conflict, match="does not exist"):
        await rerun(world, second)


async def test_its_end_starts_children_unless_told_otherwise(world):
    child = await world.job(enabled=False)
    _, _, run_id = await failed(world, children=(Child(child.id),))
    await world.until_final(await rerun(world, run_id, Rerun(children=False)))
    await world.clock.advance(1)
    assert await started(world, child) == 0
    await world.until_final(await rerun(world, run_id))
    await world.clock.advance(1)
    assert await started(world, child) == 1


async def test_attempts_of_one_without_children_have_none_either(world):
    child = await world.job(enabled=False)
    executor, _, run_id = await failed(world, children=(Child(child.id, On.END),))
    await world.clock.advance(1)
    assert await started(world, child) == 1
    executor.plan.append(FAILING)
    job = (await world.rows(id=run_id))[0].job_id
    await world.change(await world.now.jobs.get(job), max_attempts=2)
    await rerun(world, run_id, Rerun(children=False))
    await world.clock.advance(3)
    assert [run.state for run in await world.rows(job_id=job)][1:] == [RunState.RETRYING, RunState.SUCCEEDED]
    assert await started(world, child) == 1


# ------------------------------------------------------------ shards


async def broadcast(world, **job):
    executors = [await world.executor(address) for address in (A, B, C)]
    executors[1].plan.append(FAILING)
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, **job)
    parent_id = await world.trigger(job, params="p")
    assert (await world.until_final(parent_id)).state is RunState.FAILED
    return executors, job, parent_id


async def test_only_the_failed_shards_of_a_broadcast(world):
    child = await world.job(enabled=False)
    executors, job, parent_id = await broadcast(world, children=(Child(child.id),))
    again = await rerun(world, parent_id, ONLY_FAILED)
    assert (await world.until_final(again)).state is RunState.SUCCEEDED
    parent, *shards = await world.rows(job_id=job.id, slot_key=-again)
    assert (parent.id, parent.parent_id, parent.shard_total) == (again, parent_id, 3)
    assert [(run.shard, run.shard_total, run.address, run.params) for run in shards] == [(1, 3, B, "p")]
    assert [sum(one.job_id == job.id for one in executor.executed) for executor in executors] == [1, 2, 1]
    await world.clock.advance(1)
    assert await started(world, child) == 1


async def test_a_parent_that_nobody_could_take_runs_as_a_whole(world):
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST)
    parent_id = await world.trigger(job)
    assert (await world.until_final(parent_id)).state is RunState.FAILED
    executors = [await world.executor(address) for address in (A, B)]
    again = await rerun(world, parent_id, ONLY_FAILED)
    assert (await world.until_final(again)).state is RunState.SUCCEEDED
    assert [len(executor.executed) for executor in executors] == [1, 1]
    with pytest.raises(Conflict, match="none of its shards has failed"):
        await rerun(world, again, ONLY_FAILED)


async def test_all_shards_where_that_is_wanted(world):
    executors, _job, parent_id = await broadcast(world)
    assert (await world.until_final(await rerun(world, parent_id))).state is RunState.SUCCEEDED
    assert [len(executor.executed) for executor in executors] == [2, 2, 2]


async def test_a_failed_shard_whose_executor_has_left_gets_another(world):
    _executors, job, parent_id = await broadcast(world)
    await world.do(world.flow.remove("shop", B))
    again = await rerun(world, parent_id, ONLY_FAILED)
    assert (await world.until_final(again)).state is RunState.SUCCEEDED
    (shard,) = [run for run in await world.rows(job_id=job.id, slot_key=-again) if run.shard >= 0]
    assert (shard.shard, shard.address) == (1, C)


async def test_named_shards_keep_their_names(world):
    executor = await world.executor()
    executor.plan += [FAILING, Behaviour(), FAILING]
    shards = tuple(NamedShard(name, name.upper()) for name in ("eu", "us", "asia"))
    job = await world.job(enabled=False, shards=shards)
    parent_id = await world.trigger(job)
    await world.until_final(parent_id)
    executor.plan.append(FAILING)
    second = await rerun(world, parent_id, ONLY_FAILED)
    assert (await world.until_final(second)).state is RunState.FAILED
    third = await rerun(world, second, ONLY_FAILED)
    assert (await world.until_final(third)).state is RunState.SUCCEEDED
    rows = await world.rows(job_id=job.id)
    assert [(run.shard_name, run.params) for run in rows if run.root_id == second][1:] == [
        ("eu", "EU"),
        ("asia", "ASIA"),
    ]
    assert len([run for run in rows if run.root_id == third]) == 2
    with pytest.raises(Conflict, match="is a shard"):
        await rerun(world, rows[1].id)


async def test_failed_shards_wait_for_a_place_as_any_run_and_survive_a_crash(world):
    _executors, job, parent_id = await broadcast(
        world, concurrency=Concurrency(Overlap.QUEUE, places=1, queue_limit=10)
    )
    world.executors[A].plan.append(Behaviour(runs_s=8))
    other = await world.trigger(job)
    await world.clock.advance(1)
    again = await rerun(world, parent_id, ONLY_FAILED)
    await world.clock.advance(1)
    assert (await world.row(again)).state is RunState.QUEUED
    await world.crash()
    await world.start()
    for address in (A, B, C):
        await world.beat(address)
    assert (await world.until_final(again, at_most_s=90)).state is RunState.SUCCEEDED
    assert (await world.row(other)).finished_ms <= (await world.row(again)).claimed_ms
    assert [run.shard for run in await world.rows(job_id=job.id, slot_key=-again)] == [-1, 1]


# ------------------------------------------------------------ mark


async def mark(world, run_id, reason="done by hand"):
    return await world.do(desk(world).mark_succeeded(run_id, reason))


async def test_a_mark_starts_children_on_success_once(world):
    children = {on: await world.job(enabled=False) for on in On}
    links = tuple(Child(job.id, on) for on, job in children.items())
    _, _, run_id = await failed(world, children=links)
    await world.clock.advance(1)
    marked = await world.do(by("ann", desk(world).mark_succeeded(run_id, "done by hand")))
    await world.clock.advance(1)
    assert (marked.state, marked.outcome, marked.result_code) == (RunState.SUCCEEDED, RunState.FAILED, 500)
    assert marked.reason == "marked as succeeded by ann: done by hand (it was failed)"
    assert [await started(world, job) for job in children.values()] == [1, 1, 1]
    with pytest.raises(Conflict, match="is succeeded"):
        await mark(world, run_id)


async def test_two_marks_at_once_are_one(world):
    child = await world.job(enabled=False)
    _, _, run_id = await failed(world, children=(Child(child.id),))
    both = asyncio.gather(
        *(desk(world).mark_succeeded(run_id, "x") for _ in range(2)), return_exceptions=True
    )
    results = await world.do(_await(both))
    await world.clock.advance(1)
    assert sum(isinstance(one, Conflict) for one in results) == 1
    assert await started(world, child) == 1


async def _await(future):
    return await future


async def test_what_cannot_be_marked(world):
    executor = await world.executor()
    executor.plan += [FAILING, SILENT]
    job = await world.job(enabled=False, max_attempts=2)
    await world.trigger(job)
    await world.clock.advance(1)
    first, second = await world.rows(job_id=job.id)
    for run, words in ((first, "was tried again"), (second, "is running")):
        with pytest.raises(Conflict, match=words):
            await mark(world, run.id)
    _, broad, parent_id = await broadcast(world)
    shard = (await world.rows(job_id=broad.id))[1]
    with pytest.raises(Conflict, match=f"its parent, run {parent_id}, can be marked"):
        await mark(world, shard.id)
    assert (await mark(world, parent_id)).state is RunState.SUCCEEDED


async def test_a_result_never_moves_what_has_failed(world):
    """Only a person does: the move of a mark is none that results may make."""
    executor, _job, run_id = await failed(world)
    executor._report(executor.received[-1], 200, None)
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.FAILED


# ------------------------------------------------------------ redrive


async def test_failures_are_run_again_once_each_with_a_result_each(world):
    executor, job, first = await failed(world)
    executor.plan += [FAILING, Behaviour()]
    second, good = [await world.trigger(job) for _ in range(2)]
    await world.until_final(good)
    results = await world.do(desk(world).redrive([first, 77, good, second, first], Rerun()))
    assert [one.run_id for one in results] == [first, 77, good, second]
    assert [bool(one.new_run_id) for one in results] == [True, False, False, True]
    assert "does not exist" in results[1].error
    assert "it has not failed" in results[2].error
    again = await world.do(desk(world).redrive([first], Rerun()))
    assert f"run again already, as run {results[0].new_run_id}" in again[0].error
    await world.clock.advance(2)
    assert [run.state for run in await world.rows(job_id=job.id)][3:] == [RunState.SUCCEEDED] * 2


async def test_redrives_at_once_make_one_run(world):
    executor, job, run_id = await failed(world)
    both = asyncio.gather(*(desk(world).redrive([run_id], Rerun()) for _ in range(3)))
    results = [result for (result,) in await world.do(_await(both))]
    assert [bool(one.new_run_id) for one in results].count(True) == 1
    await world.clock.advance(2)
    assert await started(world, job) == 2
    assert len(executor.executed) == 2


async def test_redrive_of_all_that_fit_in_bounded_pieces(several):
    world = several
    executor = await world.executor(usual=FAILING)
    jobs = [await world.job(enabled=False) for _ in range(3)]
    for job in jobs * 3:
        await world.trigger(job)
    await world.clock.advance(3)
    executor.usual = Behaviour()
    wanted = replace(OPEN_FAILURES, job_id=None)
    for life in world.nodes.values():
        results, cursor = await world.do(desk(world, life).redrive_where(wanted, Rerun(), 4, None), by=life)
        assert len(results) == 4
        assert all(one.new_run_id for one in results)
    results, cursor = await world.do(desk(world).redrive_where(wanted, Rerun(), 100, None))
    assert (len(results), cursor) == (1, None)
    await world.clock.advance(3)
    rows = await world.rows()
    assert [run.state for run in rows].count(RunState.SUCCEEDED) == 9
    assert (await world.now.runs.page(wanted, cursor=None, limit=50)).items == ()


async def test_a_failure_list_has_parents_and_no_shards(world):
    _, _, parent_id = await broadcast(world)
    _, _, run_id = await failed(world)
    found = await world.now.runs.page(OPEN_FAILURES, cursor=None, limit=50)
    assert [run.id for run in found.items] == [run_id, parent_id]
    (result,) = await world.do(desk(world).redrive([parent_id], ONLY_FAILED))
    found = await world.now.runs.page(OPEN_FAILURES, cursor=None, limit=50)
    assert [run.id for run in found.items] == [run_id]
    assert (await world.until_final(result.new_run_id)).state is RunState.SUCCEEDED
