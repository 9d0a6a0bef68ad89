"""Backfills: each slot of the range runs once, at the pace asked for, whatever happens meanwhile."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.core.backfill import Backfill, BackfillState
from gateway.core.model import Job, Route, Run, TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.pauses import Scope
from gateway.core.states import OPEN, RunState
from tests.kit.fake_link import FAILING, Behaviour
from tests.kit.flow_world import A, B, World
from tests.unit.flow.test_pausing import pause, resume


async def backfill(world: World, job: Job, slots: int, **how: object) -> Backfill:
    """Of so many slots of a minute each, that end a day ago."""
    now_ms = world.clock.now_ms()
    first_ms = now_ms - 86_400_000
    wanted = [first_ms + 60_000 * n for n in range(slots)]
    new = Backfill(0, job.id, first_ms, now_ms, slots, created_ms=now_ms, author="ann", **how)
    made = await world.do(world.now.backfills.create(new, wanted))
    world.now.operations.backfills_changed()
    return made


async def runs_of(world: World, job: Job) -> list[Run]:
    return await world.rows(job_id=job.id, trigger_kind=int(TriggerKind.BACKFILL))


async def now(world: World, made: Backfill) -> Backfill:
    return await world.do(world.now.backfills.get(made.id))


def most_at_once(runs: list[Run]) -> int:
    edges = sorted([(run.sent_ms, 1) for run in runs] + [(run.finished_ms, -1) for run in runs])
    count = most = 0
    for _, step in edges:
        count += step
        most = max(most, count)
    return most


async def test_one_after_another_each_slot_once_in_order(world):
    executor = await world.executor(usual=Behaviour(runs_s=0.7))
    job = await world.job(enabled=False)
    made = await backfill(world, job, 8, params="day=${data_time:yyyy-MM-dd}")
    await world.clock.advance(14)
    runs = await runs_of(world, job)
    assert [run.data_ms for run in runs] == [made.from_ms + 60_000 * n for n in range(8)]
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert most_at_once(runs) == 1
    assert all(request.params.startswith("day=2026-11-1") for request in executor.executed)
    assert {run.author for run in runs} == {"ann"}
    found = await now(world, made)
    assert (found.state, found.started, found.outcomes) == (BackfillState.DONE, 8, {"succeeded": 8})
    assert found.finished_ms


async def test_several_at_once_newest_first(world):
    await world.executor()
    for address in (A, B):
        await world.executor(address, usual=Behaviour(runs_s=2))
    job = await world.job(enabled=False, route=Route.ROUND)
    made = await backfill(world, job, 9, max_parallel=3, newest_first=True)
    await world.clock.advance(20)
    runs = await runs_of(world, job)
    assert [run.data_ms for run in runs] == sorted((run.data_ms for run in runs), reverse=True)
    assert most_at_once(runs) <= 3
    assert (await now(world, made)).state is BackfillState.DONE


async def test_so_many_a_minute(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    await backfill(world, job, 20, max_parallel=20, per_minute=30)
    await world.clock.advance(20)
    starts = [request.at_ms for request in executor.executed]
    assert 8 <= len(starts) <= 11
    assert all(after - before >= 2000 for before, after in pairwise(starts))


@pytest.mark.parametrize("seconds", [0.3, 1.7, 2.2, 3.9])
async def test_a_crash_loses_and_doubles_none(world, seconds):
    executor = await world.executor(usual=Behaviour(runs_s=0.6))
    job = await world.job(enabled=False)
    made = await backfill(world, job, 7, max_parallel=2)
    await world.clock.advance(seconds)
    await world.crash()
    await world.clock.advance(3)
    await world.start()
    await world.beat(A)
    await world.clock.advance(30)
    runs = await runs_of(world, job)
    assert sorted(run.data_ms for run in runs) == [made.from_ms + 60_000 * n for n in range(7)]
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert max(executor.executions.values()) == 1
    assert (await now(world, made)).state is BackfillState.DONE


async def test_it_waits_for_the_attempts_of_a_run(world):
    executor = await world.executor()
    executor.plan.extend([FAILING, Behaviour(runs_s=2)])
    job = await world.job(enabled=False, max_attempts=2)
    made = await backfill(world, job, 2)
    await world.clock.advance(10)
    first, retry, second = await world.rows(job_id=job.id)
    assert (first.state, retry.root_id, second.state) == (RunState.RETRYING, first.id, RunState.SUCCEEDED)
    assert second.created_ms >= retry.finished_ms
    assert (await now(world, made)).outcomes == {"succeeded": 2}


async def test_cancelled_starts_no_more(world):
    executor = await world.executor(usual=Behaviour(runs_s=3))
    job = await world.job(enabled=False)
    made = await backfill(world, job, 5)
    await world.clock.advance(1)
    await world.do(world.now.backfills.cancel(made.id))
    await world.clock.advance(10)
    assert [run.state for run in await runs_of(world, job)] == [RunState.SUCCEEDED]
    found = await now(world, made)
    assert (found.state, found.started) == (BackfillState.CANCELLED, 1)
    assert len(executor.executed) == 1


async def test_the_job_deleted(world):
    await world.executor(usual=Behaviour(runs_s=3))
    job = await world.job(enabled=False)
    made = await backfill(world, job, 5)
    await world.clock.advance(1)
    await world.do(world.now.jobs.delete(job.id, keep_history=True))
    await world.do(world.now.operations.jobs_changed([job.id]))
    await world.clock.advance(10)
    assert (await now(world, made)).state is BackfillState.CANCELLED


async def test_paused_it_waits(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    await pause(world, Scope.JOB, job.id)
    made = await backfill(world, job, 4)
    await world.clock.advance(20)
    assert [run.state for run in await runs_of(world, job)] == [RunState.QUEUED]
    assert not executor.executed
    await resume(world, Scope.JOB, job.id)
    await world.clock.advance(10)
    assert (await now(world, made)).outcomes == {"succeeded": 4}


async def test_the_jobs_own_limit_makes_it_wait_and_turns_nothing_away(world):
    executor = await world.executor(usual=Behaviour(runs_s=0.8))
    job = await world.job(
        schedule={"kind": "fixed_rate", "expression": "2s"}, concurrency=Concurrency(Overlap.SKIP, 1)
    )
    made = await backfill(world, job, 6, max_parallel=3)
    await world.clock.advance(40)
    assert (await now(world, made)).outcomes == {"succeeded": 6}
    assert max(executor.executions.values()) == 1
    ended = [run for run in await world.rows(job_id=job.id) if run.sent_ms and run.finished_ms]
    assert most_at_once(ended) == 1


async def test_whichever_node_owns_the_job_goes_on(several):
    await several.executor(usual=Behaviour(runs_s=0.4))
    jobs = [await several.job(enabled=False, name=f"job {n}") for n in range(10)]
    made = [await backfill(several, job, 6) for job in jobs]
    await several.clock.advance(3)
    await several.stop_node("a")
    await several.clock.advance(25)
    for job, one in zip(jobs, made, strict=True):
        runs = await runs_of(several, job)
        assert [run.data_ms for run in runs] == [one.from_ms + 60_000 * n for n in range(6)]
        assert not [run for run in runs if run.state in OPEN]
        assert most_at_once([run for run in runs if run.sent_ms]) == 1
