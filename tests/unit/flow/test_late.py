"""A result of a run that had been given up and tried again: one success is enough, and what follows happens once."""

from __future__ import annotations

import pytest

from gateway.core.children import Child, Join, On
from gateway.core.deadlines import OnDeadline
from gateway.core.listing import RunFilter
from gateway.core.named_shards import NamedShard
from gateway.core.retry import FAILURES, Retry
from gateway.core.states import RunState
from gateway.store.tables import foreign_result
from tests.kit.fake_link import SILENT
from tests.kit.flow_world import A
from tests.unit.flow.test_report import EVERY_APP, report, result

S = RunState
NEVER = {"kind": "api"}
LATER = Retry(intervals_ms=(120_000,))


async def given_up(world, job):
    """Its executor beats on, and has nothing of it."""
    for _ in range(20):
        await world.beat(A)
        await world.clock.advance(8)
        rows = await world.rows(job_id=job.id)
        if any(run.state is S.RETRYING for run in rows):
            return
    raise AssertionError(rows)


async def lost(world, *, soon=True, **job):
    """A run that was given up, and its next attempt: under way, or minutes ahead."""
    executor = await world.executor(usual=SILENT)
    how = {} if soon else {"retry": LATER}
    job = await world.job(**{"schedule": NEVER, "max_attempts": 3, "lost_after_s": 30, **how, **job})
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    executor.restart()
    await given_up(world, job)
    await world.clock.advance(1)
    first, second = await world.rows(root_id=run_id)
    assert (first.state, first.outcome) == (S.RETRYING, S.LOST)
    assert second.state is (S.RUNNING if soon else S.QUEUED)
    return executor, job, first, second


async def told(world, run, code=200, **how):
    assert await report(world, result(run, code, "after all", **how))
    await world.clock.advance(1)


async def family_of(world):
    return {on: await world.job(schedule=NEVER, name=on) for on in On}


def links(children):
    return tuple(Child(job.id, on) for on, job in children.items())


async def started(world, children):
    return {on.value: len(await world.rows(job_id=job.id)) for on, job in children.items()}


async def failures(world):
    wanted = RunFilter(states=FAILURES, no_shards=True, not_rerun=True)
    return [run.id for run in (await world.now.runs.page(wanted, cursor=None, limit=99)).items]


async def test_a_next_attempt_that_waits_does_not_start(world):
    children = await family_of(world)
    executor, _, first, second = await lost(world, soon=False, children=links(children))
    for _ in range(2):
        await told(world, first)
    for _ in range(13):
        await world.beat(A)
        await world.clock.advance(10)
    first, second = await world.rows(root_id=first.id)
    assert (first.state, first.outcome, first.result_code, first.message) == (
        S.SUCCEEDED,
        S.SUCCEEDED,
        200,
        "after all",
    )
    assert first.reason == (
        f"the result came after the run had been given up and tried again (run {second.id})"
    )
    assert (second.state, second.sent_ms) == (S.SKIPPED, 0)
    assert second.reason == f"not started: run {first.id}, an attempt before it, has succeeded after all"
    assert await started(world, children) == {"success": 1, "failure": 0, "end": 1}
    assert second.id not in executor.executions
    assert await failures(world) == []


@pytest.mark.parametrize("code", [200, 500])
async def test_one_that_runs_ends_without_consequences(world, code):
    children = await family_of(world)
    executor, job, first, second = await lost(world, children=links(children))
    await told(world, first)
    assert (await world.row(first.id)).state is S.SUCCEEDED
    assert await started(world, children) == {"success": 1, "failure": 0, "end": 1}
    executor.finish(job.id, code)
    await world.clock.advance(5)
    first, second = await world.rows(root_id=first.id)
    ended = S.SUCCEEDED if code == 200 else S.FAILED
    assert (second.state, second.outcome, second.result_code) == (ended, ended, code)
    assert second.reason == "an attempt before it had succeeded by then: nothing follows"
    assert second.rerun_id == (0 if code == 200 else first.id)
    assert await started(world, children) == {"success": 1, "failure": 0, "end": 1}
    assert await failures(world) == []


async def test_one_that_was_lost_too_is_not_tried_again(world):
    executor, _, first, _ = await lost(world)
    await told(world, first)
    executor.restart()
    for _ in range(11):
        await world.beat(A)
        await world.clock.advance(10)
    assert [run.state for run in await world.rows(root_id=first.id)] == [S.SUCCEEDED, S.LOST]
    assert await failures(world) == []


async def test_a_chain_that_had_failed_has_succeeded(world):
    children = await family_of(world)
    executor, job, first, second = await lost(world, max_attempts=2, children=links(children))
    executor.finish(job.id, 500)
    await world.clock.advance(1)
    assert await failures(world) == [second.id]
    assert await started(world, children) == {"success": 0, "failure": 1, "end": 1}
    await told(world, first)
    assert [run.state for run in await world.rows(root_id=first.id)] == [S.SUCCEEDED, S.FAILED]
    assert await started(world, children) == {"success": 1, "failure": 1, "end": 1}
    assert await failures(world) == []


async def test_after_a_success_of_the_next_attempt_it_is_written_down(world):
    children = await family_of(world)
    executor, job, first, _ = await lost(world, children=links(children))
    executor.finish(job.id)
    await world.clock.advance(1)
    await told(world, first)
    first, second = await world.rows(root_id=first.id)
    assert (first.state, first.outcome, first.result_code) == (S.RETRYING, S.SUCCEEDED, 200)
    assert second.state is S.SUCCEEDED
    assert await started(world, children) == {"success": 1, "failure": 0, "end": 1}


async def test_a_late_failure_is_written_down(world):
    executor, job, first, second = await lost(world)
    await told(world, first, 500)
    first = await world.row(first.id)
    assert (first.state, first.outcome, first.message) == (S.RETRYING, S.FAILED, "after all")
    await told(world, first)  # not believed any more: it has been heard of
    assert (await world.row(first.id)).result_code == 500
    executor.finish(job.id)
    await world.clock.advance(1)
    assert (await world.row(second.id)).state is S.SUCCEEDED
    assert await world.table(foreign_result) == []


async def test_a_join_counts_it_once(world):
    executor, job, first, _ = await lost(world)
    other = await world.job(schedule=NEVER, name="other")
    both = await world.job(schedule=NEVER, name="both", join=Join.ALL)
    for parent in (job, other):
        await world.change(parent, children=(Child(both.id),))
    await told(world, first)
    executor.finish(job.id)
    await world.clock.advance(1)
    for _ in range(2):
        await world.trigger(other)
        await world.clock.advance(1)
        executor.finish(other.id)
        await world.clock.advance(1)
    assert len(await world.rows(job_id=both.id)) == 1


async def test_a_shard_and_its_parent(world):
    shards = (NamedShard("eu"), NamedShard("us"))
    executor = await world.executor(usual=SILENT)
    job = await world.job(schedule=NEVER, shards=shards, max_attempts=2, retry=LATER, lost_after_s=30)
    parent = await world.trigger(job)
    await world.clock.advance(1)
    executor.finish(job.id)
    await world.clock.advance(1)
    executor.restart()
    await given_up(world, job)
    (first,) = [run for run in await world.rows(root_id=parent) if run.state is S.RETRYING]
    await told(world, first)
    await world.clock.advance(1)
    assert (await world.row(parent)).state is S.SUCCEEDED
    assert (await world.do(world.now.runs.tally(await world.row(parent)))).succeeded == 2


@pytest.mark.parametrize("soon", [False, True])
async def test_a_chain_goes_on_once(world, soon):
    chained = {"kind": "second_delay", "expression": "5s"}
    executor = await world.executor(usual=SILENT)
    how = {} if soon else {"retry": LATER}
    job = await world.job(schedule=chained, max_attempts=2, lost_after_s=30, **how)
    await world.clock.advance(1)
    executor.restart()
    await given_up(world, job)
    await world.clock.advance(1)
    first, second = await world.rows(job_id=job.id)
    await told(world, first)
    await world.clock.advance(10)
    await world.beat(A)
    if soon:
        assert len(await world.rows(job_id=job.id)) == 2  # one at a time
        executor.finish(job.id, 500)
        await world.clock.advance(10)
        last = await world.row(second.id)
    else:
        last = await world.row(first.id)
    third = (await world.rows(job_id=job.id))[-1]
    assert (third.state, third.slot_key, third.attempt) == (S.RUNNING, last.finished_ms + 5000, 1)


@pytest.mark.parametrize("soon", [False, True])
@pytest.mark.parametrize("told_by", [0, -1])
async def test_any_node_is_told(several, soon, told_by):
    world = several
    executor, job, first, second = await lost(world, soon=soon)
    life = list(world.nodes.values())[told_by]
    await world.do(life.flow.report([result(first)], "java", EVERY_APP), by=life)
    if soon:
        executor.finish(job.id, 500)
    await world.clock.advance(5)
    states = [run.state for run in await world.rows(root_id=first.id)]
    assert states == [S.SUCCEEDED, S.FAILED if soon else S.SKIPPED]
    assert (await world.row(second.id)).sent_ms == (second.sent_ms if soon else 0)


@pytest.mark.parametrize("fault", ["deadlock", "gone_before_commit", "gone_after_commit"])
@pytest.mark.parametrize("soon", [False, True])
async def test_faults_of_the_database(world, soon, fault):
    executor, job, first, _ = await lost(world, soon=soon)
    world.faults(fault)
    await told(world, first)
    if soon:
        executor.finish(job.id, 500)
        await world.clock.advance(2)
    states = [run.state for run in await world.rows(root_id=first.id)]
    assert states == [S.SUCCEEDED, S.FAILED if soon else S.SKIPPED]


async def test_it_is_the_same_at_the_moment_of_the_next_claim(world):
    """Whichever comes first: the next attempt starts and ends without consequences, or it does not start."""
    seen = set()
    for ms in (-300, -150, -60, -20, 0, 20):
        executor, job, first, second = await lost(world, soon=False)
        moment_ms = second.due_ms + ms
        while world.clock.now_ms() < moment_ms - 50_000:
            await world.beat(A)
            await world.clock.advance(40)
        await world.beat(A)
        await world.clock.advance((moment_ms - world.clock.now_ms()) / 1000)
        await told(world, first)
        second = await world.row(second.id)
        assert (await world.row(first.id)).state is S.SUCCEEDED
        seen.add(second.state)
        if second.state is S.RUNNING:
            assert second.sequel == 2
            executor.finish(job.id, 500)
            await world.clock.advance(1)
            assert len(await world.rows(root_id=first.id)) == 2
        else:
            assert (second.state, second.id in executor.executions) == (S.SKIPPED, False)
    assert seen == {S.RUNNING, S.SKIPPED}


async def test_a_kill_that_clients_call_a_success_is_none(world):
    executor = await world.executor(usual=SILENT)
    kill = {"deadline_s": 10, "on_deadline": OnDeadline.KILL}
    job = await world.job(schedule=NEVER, max_attempts=3, lost_after_s=30, **kill)
    run_id = await world.trigger(job)
    executor.kill_code = None
    await world.clock.advance(20)
    executor.restart()
    await given_up(world, job)
    first = await world.row(run_id)
    assert (first.state, first.outcome, first.result_code) == (S.RETRYING, S.TIMED_OUT, 0)
    await told(world, first, strict_time=False)
    assert (await world.row(run_id)).state is S.RETRYING
