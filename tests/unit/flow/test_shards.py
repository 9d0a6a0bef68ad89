"""Named shards, and many shards of one triggered run."""

from __future__ import annotations

import pytest

from gateway.core.model import NewRun, Route, TriggerKind
from gateway.core.named_shards import NamedShard
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.retry import Retry
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


# ------------------------------------------------------------ jobs that change while their runs wait

PLAIN = {"route": Route.ROUND, "shards": ()}
BROADCAST = {"route": Route.SHARDING_BROADCAST, "shards": ()}
NAMED = {"route": Route.ROUND, "shards": SHARDS[:3]}
FORMS = {"plain": (PLAIN, [0]), "broadcast": (BROADCAST, [-1, 0, 1]), "named": (NAMED, [-1, 0, 1, 2])}
LIMITED = {"concurrency": Concurrency(Overlap.QUEUE, 1)}


async def shape_of(world, run_id):
    rows = await world.rows(root_id=run_id)
    assert {run.state for run in rows} == {RunState.SUCCEEDED}
    assert all(run.job_version == rows[0].job_version for run in rows)
    return sorted(run.shard for run in rows)


@pytest.mark.parametrize("limits", [{}, LIMITED], ids=["free", "limited"])
@pytest.mark.parametrize(
    ("before", "after"), [(a, b) for a in FORMS for b in FORMS if a != b], ids=lambda name: name
)
async def test_a_run_that_waits_takes_the_form_of_its_job(world, before, after, limits):
    for address in (A, B):
        await world.executor(address)
    job = await world.job(enabled=False, **FORMS[before][0], **limits)
    run_id = await world.trigger(job, delay_ms=20_000)
    await world.clock.advance(5)
    await world.change(job, **FORMS[after][0])
    await world.clock.advance(25)
    assert await shape_of(world, run_id) == FORMS[after][1]
    assert sum(world.executions.values()) == max(len(FORMS[after][1]) - 1, 1)


@pytest.mark.parametrize("seconds", [0.05, 3, 9.8, 9.99])
@pytest.mark.parametrize(("before", "after"), [("plain", "broadcast"), ("broadcast", "plain")])
async def test_a_slot_at_any_moment_before_it(world, before, after, seconds):
    for address in (A, B):
        await world.executor(address)
    job = await world.job(**FORMS[before][0])
    await world.clock.advance(seconds)
    await world.change(job, **FORMS[after][0])
    await world.clock.advance(12)
    (first,) = [run for run in await world.rows(slot_key=job.anchor_ms + 10_000) if run.root_id == run.id]
    if before == "broadcast" and first.shard == -1:
        assert seconds > 9  # its shards were made already
    else:
        assert await shape_of(world, first.id) == FORMS[after][1]


async def test_one_that_waits_for_a_place(world):
    for address in (A, B):
        await world.executor(address, usual=Behaviour(runs_s=5))
    job = await world.job(enabled=False, **LIMITED)
    await world.trigger(job)
    second = await world.trigger(job)
    await world.clock.advance(2)
    await world.change(job, **BROADCAST)
    await world.change(job, **PLAIN)
    await world.change(job, **NAMED)
    await world.clock.advance(30)
    assert await shape_of(world, second) == [-1, 0, 1, 2]


async def test_what_keeps_its_form(world):
    executor = await world.executor()
    executor.plan += [FAILING]
    chained = {"kind": "second_delay", "expression": "20s"}
    job = await world.job(enabled=False, max_attempts=2, retry=Retry(intervals_ms=(10_000,)))
    again, replicas = await world.trigger(job), await world.trigger(job, delay_ms=10_000, replicas=2)
    chain = await world.job(schedule=chained)
    await world.clock.advance(15)
    for one in (job, chain):
        await world.change(one, **NAMED)
    await world.clock.advance(40)
    assert [run.shard for run in await world.rows(root_id=again)] == [0, 0]
    assert sorted(run.shard for run in await world.rows(root_id=replicas)) == [-1, 0, 1]
    assert all(run.state is RunState.SUCCEEDED for run in await world.rows(job_id=chain.id, slot_key=0))
    firsts = [run for run in await world.rows(job_id=chain.id) if run.root_id == run.id]
    assert [run.shard for run in firsts][:1] == [0]
    assert firsts[-1].shard == -1


async def test_where_nobody_may_run_it(world):
    job = await world.job(enabled=False, max_attempts=2, retry=Retry(intervals_ms=(5_000,)))
    run_id = await world.trigger(job, delay_ms=5000)
    await world.clock.advance(1)
    await world.change(job, **NAMED)
    await world.clock.advance(5)
    await world.executor()
    await world.clock.advance(10)
    rows = await world.rows(root_id=run_id)
    assert sorted((run.shard, run.attempt) for run in rows) == [(-1, 1), (-1, 2), (0, 1), (1, 1), (2, 1)]
    assert rows[-1].state is RunState.SUCCEEDED


@pytest.mark.parametrize("fault", ["deadlock", "gone_before_commit", "gone_after_commit"])
@pytest.mark.parametrize("after", ["broadcast", "plain"])
async def test_a_fault_as_it_takes_its_form(world, after, fault):
    for address in (A, B):
        await world.executor(address)
    job = await world.job(enabled=False, **(PLAIN if after == "broadcast" else BROADCAST))
    run_id = await world.trigger(job, delay_ms=5000)
    await world.change(job, **FORMS[after][0])
    await world.clock.advance(4.5)
    world.faults(fault)
    await world.clock.advance(5)
    assert await shape_of(world, run_id) == FORMS[after][1]
