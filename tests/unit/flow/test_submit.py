"""Submissions: delays, names, many at once, and calls that are made again."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import AlreadySubmitted, InvalidValue, KeyReused
from gateway.core.idempotency import IdempotencyKey
from gateway.core.model import Route, Task
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.states import RunState
from gateway.core.submission import DAY_MS, Submission, Submitted
from gateway.flow.submit import RUNS_A_COMMIT
from gateway.store.tables import idempotency_key, request, task
from tests.kit.fake_link import Behaviour
from tests.kit.flow_world import A, B

FAILING = Behaviour(code=500)
KEY = IdempotencyKey("call-1", "h" * 64)


async def submit(world, job, wanted, key=None, *, by=None):
    life = by or world.now
    return await world.do(life.operations.submit(job.id, wanted, key=key), by=life)


async def test_a_delayed_run_starts_at_its_instant_and_not_before(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    begun = world.clock.now_ms()
    run_id = await world.trigger(job, delay_ms=90_000)
    await world.clock.advance(89.5)
    assert (await world.row(run_id)).state is RunState.QUEUED
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert 90_000 <= run.due_ms - begun <= 90_100
    assert 0 <= run.sent_ms - run.due_ms < 100
    assert executor.executions == {run_id: 1}


async def test_a_delayed_run_survives_a_crash(world):
    await world.executor()
    job = await world.job(enabled=False)
    at_ms = world.clock.now_ms() + 30_000
    run_id = await world.trigger(job, run_at_ms=at_ms)
    await world.crash()
    await world.clock.advance(5)
    await world.start()
    await world.beat(A)
    run = await world.until_final(run_id)
    assert (run.state, run.due_ms) == (RunState.SUCCEEDED, at_ms)
    assert 0 <= run.sent_ms - at_ms < 100


async def test_a_delayed_run_can_be_stopped(world):
    executor = await world.executor()
    run_id = await world.trigger(await world.job(enabled=False), delay_ms=60_000)
    assert (await world.stop(run_id)).state is RunState.STOPPED
    await world.clock.advance(61)
    assert executor.executions == {}


@pytest.mark.parametrize(("ahead_ms", "words"), [(-1, "not in the past"), (367 * DAY_MS, "at most 366 days")])
async def test_an_instant_that_cannot_be(world, ahead_ms, words):
    job = await world.job(enabled=False)
    with pytest.raises(InvalidValue, match=words):
        await world.trigger(job, run_at_ms=world.clock.now_ms() + ahead_ms, task_id="mine")
    assert await world.rows(job_id=job.id) == []
    assert await world.table(task) == []


async def test_a_broadcast_waits_for_its_instant(world):
    for address in (A, B):
        await world.executor(address)
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST)
    parent_id = await world.trigger(job, delay_ms=20_000)
    await world.clock.advance(19)
    assert len(await world.rows(job_id=job.id)) == 1
    await world.until_final(parent_id)
    assert {run.shard for run in await world.rows(job_id=job.id)} == {-1, 0, 1}


async def test_one_pinned_executor_gets_the_run_and_its_retry(world):
    await world.executor(A)
    pinned = await world.executor(B, usual=FAILING)
    job = await world.job(enabled=False, route=Route.FAILOVER, max_attempts=2)
    await world.until_final(await world.trigger(job, addresses=(B,)))
    await world.clock.advance(5)
    assert len(pinned.executed) == 2


async def test_priority_and_author_are_those_of_the_submission(world):
    job = await world.job(enabled=False, priority=3)
    plain = await world.row(await world.trigger(job, delay_ms=5000))
    own = await world.row(await world.trigger(job, delay_ms=5000, priority=15, ttl_ms=1000, author="url 7"))
    assert (plain.priority, plain.author, plain.expires_ms) == (3, "", 0)
    assert (own.priority, own.author, own.expires_ms) == (15, "url 7", own.due_ms + 1000)


async def test_a_run_that_waits_longer_than_it_may_expires(world):
    """One at a time, and the first takes a minute."""
    executor = await world.executor(usual=Behaviour(runs_s=60))
    job = await world.job(enabled=False, concurrency=Concurrency(Overlap.QUEUE))
    first = await world.trigger(job)
    await world.clock.advance(1)
    hurried = await world.trigger(job, ttl_ms=20_000)
    patient = await world.trigger(job, ttl_ms=90_000)
    run = await world.until_final(hurried)
    assert (run.state, run.finished_ms >= run.expires_ms) == (RunState.EXPIRED, True)
    assert (await world.until_final(patient, at_most_s=150)).state is RunState.SUCCEEDED
    assert executor.executions == {first: 1, patient: 1}


# ---------------------------------------------------------------- envs, replicas


ENVS = (("A", "1"), ("B", "2"))
OWN = '{"params":"p","Envs":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}'


async def test_envs_reach_the_executor_with_the_params(world):
    executor = await world.executor()
    job = await world.job(enabled=False, task=Task("handler", "p", envs=ENVS), max_attempts=2)
    executor.plan.append(FAILING)
    await world.trigger(job, envs=(("B", "x"), ("C", "")))
    await world.clock.advance(3)
    mixed = (
        '{"params":"p","Envs":[{"name":"A","value":"1"},{"name":"B","value":"x"},{"name":"C","value":""}]}'
    )
    assert [one.params for one in executor.executed] == [mixed, mixed]
    await world.until_final(await world.trigger(job, params="q"))
    assert executor.executed[-1].params == OWN.replace('"p"', '"q"')
    await world.until_final(await world.trigger(job))
    assert executor.executed[-1].params == OWN
    plain = await world.job(enabled=False)
    await world.until_final(await world.trigger(plain, envs=(("C", "3"),)))
    assert executor.executed[-1].params == '{"params":"params","Envs":[{"name":"C","value":"3"}]}'


async def test_replicas_are_shards_of_one_parent(world):
    executors = [await world.executor(address) for address in (A, B)]
    job = await world.job(enabled=False, children=())
    parent_id = await world.trigger(job, replicas=5, envs=(("N", "5"),), author="trigger URL 1")
    parent = await world.until_final(parent_id)
    assert (parent.state, parent.shard, parent.shard_total) == (RunState.SUCCEEDED, -1, 5)
    shards = [run for run in await world.rows(job_id=job.id) if run.shard >= 0]
    assert [(run.shard, run.shard_total, run.root_id) for run in shards] == [
        (n, 5, parent_id) for n in range(5)
    ]
    assert {run.params for run in shards} == {parent.params}
    assert sum(len(one.executed) for one in executors) == 5
    assert all(one.executed for one in executors)


async def test_one_replica_is_one_shard(world):
    await world.executor()
    job = await world.job(enabled=False)
    parent = await world.until_final(await world.trigger(job, replicas=1))
    assert parent.state is RunState.SUCCEEDED
    assert [run.shard for run in await world.rows(job_id=job.id)] == [-1, 0]


# ---------------------------------------------------------------- names


async def test_a_name_is_free_again_seven_days_after_it_was_due(world):
    job = await world.job(enabled=False)
    first = await world.trigger(job, task_id="close", delay_ms=DAY_MS)
    world.clock.jump(8 * DAY_MS - 1000)
    with pytest.raises(AlreadySubmitted) as refused:
        await world.trigger(job, task_id="close")
    assert refused.value.run_id == first
    world.clock.jump(2000)
    second = await world.trigger(job, task_id="close")
    assert second != first
    with pytest.raises(AlreadySubmitted) as refused:
        await world.trigger(job, task_id="close")
    assert refused.value.run_id == second


# ---------------------------------------------------------------- many


async def test_each_of_many_is_taken_or_refused_for_itself(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    first = await world.trigger(job, task_id="b")
    now_ms = world.clock.now_ms()
    wanted = [
        Submission(task_id="a", params="1"),
        Submission(task_id="b"),
        Submission(run_at_ms=now_ms - 5),
        Submission(task_id="a"),
        Submission(params="2"),
    ]
    a, b, past, again, plain = await submit(world, job, wanted)
    assert a.is_new
    assert plain.is_new
    assert isinstance(past, InvalidValue)
    assert (b.first_id, again.first_id) == (first, a.run_id)
    for run_id in (first, a.run_id, plain.run_id):
        assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    assert executor.executions == dict.fromkeys((first, a.run_id, plain.run_id), 1)
    assert len(await world.rows(job_id=job.id)) == 3


async def test_many_through_a_node_that_does_not_own_the_job(several):
    await several.executor()
    job = await several.job(enabled=False)
    a, b = several.nodes["a"], several.nodes["b"]
    other = b if job.part in a.context.held else a
    outcomes = await submit(several, job, [Submission(task_id=f"n{n}") for n in range(30)], by=other)
    for one in outcomes:
        assert (await several.until_final(one.run_id)).state is RunState.SUCCEEDED
    assert await several.table(request) == []


# ---------------------------------------------------------------- calls made again


async def test_a_call_made_again_gets_the_same_answer(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    wanted = [Submission(), Submission(task_id="a"), Submission(task_id="a"), Submission(run_at_ms=1)]
    first = await submit(world, job, wanted, KEY)
    again = await submit(world, job, wanted, KEY)
    assert [str(one) for one in again] == [str(one) for one in first]
    await world.until_final(first[1].run_id)
    assert sorted(executor.executions) == sorted({first[0].run_id, first[1].run_id})
    with pytest.raises(KeyReused):
        await submit(world, job, wanted, IdempotencyKey("call-1", "other"))
    (kept,) = await world.table(idempotency_key)
    assert len(kept["record"]) < 200


async def test_two_calls_of_one_key_at_the_same_moment(several):
    job = await several.job(enabled=False)
    wanted = [Submission(task_id="a"), Submission(delay_ms=5000)]
    asked = [several.nodes[name].operations.submit(job.id, wanted, key=KEY) for name in "abab"]
    answers = await several.do(_all(asked))
    assert answers[1:] == answers[:1] * 3
    assert sorted(run.id for run in await several.rows(job_id=job.id)) == [one.run_id for one in answers[0]]


async def _all(work):
    return await asyncio.gather(*work)


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
async def test_a_crash_in_the_middle_of_a_call_leaves_what_its_repetition_completes(world, commits):
    """Two slices and the record: whatever of them was committed, in the end each run exists once."""
    job = await world.job(enabled=False)
    count = RUNS_A_COMMIT + 3
    wanted = [Submission(delay_ms=DAY_MS, task_id=f"n{n % (count - 1)}") for n in range(count)]
    databases = (world.now.faulty, world.now.db)
    wanted_commits = sum(one.commits for one in databases) + commits
    call = world.now.process.spawn(world.now.operations.submit(job.id, wanted, key=KEY))
    await world.clock.advance_until(
        lambda: call.done() or sum(one.commits for one in databases) >= wanted_commits
    )
    await world.crash()
    await world.start()
    outcomes = await submit(world, job, wanted, KEY)
    assert [one.is_new for one in outcomes] == [True] * (count - 1) + [False]
    assert outcomes[-1].first_id == outcomes[0].run_id
    rows = await world.rows(job_id=job.id)
    assert [run.id for run in rows] == [one.run_id for one in outcomes if one.is_new]
    assert await submit(world, job, wanted, KEY) == outcomes


@pytest.mark.parametrize("fault", ["deadlock", "gone_before_commit", "gone_after_commit"])
async def test_a_call_through_faults_of_the_database(world, fault):
    job = await world.job(enabled=False)
    world.faults(fault)
    (outcome,) = await submit(world, job, [Submission(delay_ms=1000)], KEY)
    assert outcome == Submitted(outcome.run_id, outcome.run_id)
    assert [run.id for run in await world.rows(job_id=job.id)] == [outcome.run_id]


async def test_the_answer_of_a_key_outlives_the_job(world):
    job = await world.job(enabled=False)
    first = await submit(world, job, [Submission()], KEY)
    await world.do(world.now.jobs.delete(job.id))
    await world.do(world.now.operations.jobs_changed([job.id]))
    assert await submit(world, job, [Submission()], KEY) == first
