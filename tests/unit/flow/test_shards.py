"""Named shards, and many shards of one triggered run."""

from __future__ import annotations

from gateway.core.model import NewRun, Route, TriggerKind
from gateway.core.named_shards import NamedShard
from gateway.core.states import OPEN, RunState
from gateway.core.work import Work
from tests.kit.fake_link import FAILING, SILENT, Behaviour
from tests.kit.flow_world import A, B, C

NAMES = ("eu", "us", "asia", "africa", "rest")
SHARDS = tuple(NamedShard(name, f"region={name}" if name != "rest" else None) for name in NAMES)


async def test_named_shards_are_spread_over_fewer_executors(world):
    executors = [await world.executor(address) for address in (A, B)]
    job = await world.job(enabled=False, shards=SHARDS)
    parent_id = await world.trigger(job, params="all")
    await world.clock.advance(2)
    parent, *shards = await world.rows(job_id=job.id)
    assert (parent.id, parent.shard, parent.shard_total, parent.state) == (
        parent_id,
        -1,
        5,
        RunState.SUCCEEDED,
    )
    assert [(run.shard, run.shard_name, run.params) for run in shards] == [
        (n, name, "all" if name == "rest" else f"region={name}") for n, name in enumerate(NAMES)
    ]
    assert {run.address for run in shards} == {A, B}
    seen = sorted((one.shard, one.shard_total) for executor in executors for one in executor.executed)
    assert seen == [(n, 5) for n in range(5)]
    found = await world.now.runs.tally(parent)
    assert (found.total, found.pending, found.completed, found.succeeded) == (5, 0, 5, 5)


async def test_only_the_shard_that_failed_is_tried_again_and_where_it_can_be(world):
    first, second = [await world.executor(address) for address in (A, B)]
    job = await world.job(enabled=False, shards=SHARDS[:2], route=Route.FIRST, max_attempts=2)
    first.plan += [FAILING, Behaviour(runs_s=2)]
    parent_id = await world.trigger(job)
    await world.clock.advance(0.5)
    await world.do(world.flow.remove("shop", A))
    await world.clock.advance(5)
    assert (await world.row(parent_id)).state is RunState.SUCCEEDED
    assert len(first.executed) + len(second.executed) == 3


async def test_a_slot_of_the_schedule_has_one_parent(world):
    await world.executor()
    job = await world.job(shards=SHARDS)
    await world.clock.advance(21)
    parents = await world.rows(job_id=job.id, shard=-1)
    assert [run.state for run in parents][:2] == [RunState.SUCCEEDED] * 2
    assert [run.slot_key - job.anchor_ms for run in parents][:2] == [10_000, 20_000]


async def test_how_far_they_are(world):
    executor = await world.executor()
    executor.plan += [Behaviour(), FAILING, SILENT]
    job = await world.job(enabled=False, shards=SHARDS[:3])
    parent_id = await world.trigger(job)
    await world.clock.advance(2)
    found = await world.now.runs.tally(await world.row(parent_id))
    assert (found.total, found.pending, found.succeeded, found.failed) == (3, 1, 1, 1)


async def test_a_parent_whose_job_has_no_shards_any_more_runs_once(world):
    executors = [await world.executor(address) for address in (A, B, C)]
    job = await world.job(shards=SHARDS)
    await world.clock.advance(8)
    assert [run.shard for run in await world.rows(job_id=job.id)] == [-1]
    await world.change(job, shards=())
    await world.clock.advance(4)
    assert sum(len(executor.executed) for executor in executors) == 1
    assert [
        run
        for run in await world.rows(job_id=job.id)
        if run.state in OPEN and run.due_ms < world.clock.now_ms()
    ] == []


async def test_a_parent_may_ask_for_a_number_of_shards(world):
    """As a submission of several replicas does."""
    executors = [await world.executor(address) for address in (A, B)]
    job = await world.job(enabled=False)
    (run_id,) = world.now.ids.take(1)
    now_ms = world.clock.now_ms()
    row = NewRun(
        run_id,
        1,
        job.id,
        job.app_id,
        job.part,
        -run_id,
        now_ms,
        now_ms,
        TriggerKind.API,
        RunState.QUEUED,
        run_id,
    )
    row.shard, row.shard_total = -1, 7
    await world.do(world.now.writer.write(Work(inserts=[row])))
    world.flow.queued([row])
    await world.clock.advance(2)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert sum(len(executor.executed) for executor in executors) == 7


async def test_more_shards_than_there_are_ids_at_hand(world):
    await world.executor()
    many = tuple(NamedShard(str(n)) for n in range(300))
    job = await world.job(enabled=False, shards=many)
    world.now.ids.take(world.now.ids._left - 200)
    parent_id = await world.trigger(job)
    await world.clock.advance(8)
    assert (await world.row(parent_id)).state is RunState.SUCCEEDED
    assert len(await world.rows(job_id=job.id)) == 301
