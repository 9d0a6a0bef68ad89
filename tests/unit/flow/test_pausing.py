"""Paused: nothing new starts, what waits waits, what runs goes on; until somebody, or the clock, ends it."""

from __future__ import annotations

import pytest

from gateway.core.errors import Conflict, NotFound
from gateway.core.model import Job, Route
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.pauses import Pause, Scope
from gateway.core.states import OPEN, WAITING, RunState
from tests.kit.fake_link import FAILING, Behaviour
from tests.kit.flow_world import A, B, World
from tests.kit.life import Life

NEVER = {"kind": "api"}
EVERY_SECOND = {"kind": "fixed_rate", "expression": "1s"}


async def pause(
    world: World, scope: Scope, scope_id: int = 0, *, for_s: int = 0, by: Life | None = None
) -> None:
    life, now_ms = by or world.now, world.clock.now_ms()
    made = Pause(scope, scope_id, "stock-taking", "ann", now_ms, now_ms + for_s * 1000 if for_s else 0)
    await world.do(life.pauses.put(made, called=str(scope_id)), by=life)
    await world.do(life.operations.pauses_changed(), by=life)


async def resume(world: World, scope: Scope, scope_id: int = 0, *, by: Life | None = None) -> None:
    life = by or world.now
    await world.do(life.pauses.end(scope, scope_id, called=str(scope_id)), by=life)
    await world.do(life.operations.pauses_changed(), by=life)


def scope_of(scope: Scope, job: Job) -> int:
    return {Scope.ALL: 0, Scope.APP: job.app_id, Scope.JOB: job.id}[scope]


@pytest.mark.parametrize("scope", Scope)
async def test_slots_are_skipped_with_the_reason_and_resume_goes_on(world, scope):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND)
    await world.clock.advance(3.5)
    await pause(world, scope, scope_of(scope, job))
    begun_ms = world.clock.now_ms()
    await world.clock.advance(10)
    await resume(world, scope, scope_of(scope, job))
    ended_ms = world.clock.now_ms()
    await world.clock.advance(5.5)
    runs = [run for run in await world.rows(job_id=job.id) if run.due_ms < world.clock.now_ms()]
    assert len({run.slot_key for run in runs}) == len(runs) >= 18
    skipped = [run for run in runs if begun_ms <= run.due_ms < ended_ms]
    assert {run.state for run in skipped} == {RunState.SKIPPED}
    what = "everything" if scope is Scope.ALL else f"the {scope.value}"
    assert {run.reason for run in skipped} == {f"{what} is paused by ann: stock-taking"}
    assert {run.state for run in runs if run not in skipped} == {RunState.SUCCEEDED}
    assert not [request for request in executor.received if begun_ms <= request.at_ms < ended_ms]


async def test_what_is_claimed_and_not_sent_does_not_go(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND)
    await world.clock.advance(2.9)  # the slot at 3.0 is claimed by now
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(1.05)
    assert len(executor.received) == 2
    third = (await world.rows(job_id=job.id))[2]
    assert (third.state, third.due_ms) == (RunState.SKIPPED, job.anchor_ms + 3000)


async def test_a_slot_after_the_end_of_a_pause_is_not_skipped(world):
    """Its claim was made, or was about to be, while the pause lasted."""
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND)
    await world.clock.advance(3 - 0.15)
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(0.1)
    await resume(world, Scope.JOB, job.id)
    await world.clock.advance(3)
    runs = [run for run in await world.rows(job_id=job.id) if run.due_ms < world.clock.now_ms()]
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert len(executor.received) == len(runs) >= 5


async def test_a_trigger_is_refused_and_other_jobs_go_on(world):
    executor = await world.executor()
    job, other = await world.job(enabled=False), await world.job(enabled=False, name="other")
    await pause(world, Scope.JOB, job.id)
    with pytest.raises(Conflict, match="the job is paused by ann: stock-taking"):
        await world.trigger(job)
    await world.trigger(other)
    await world.clock.advance(1)
    assert [request.job_id for request in executor.executed] == [other.id]
    await resume(world, Scope.JOB, job.id)
    await world.trigger(job)


async def test_what_runs_ends_and_its_retry_waits(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(code=500, runs_s=2))
    job = await world.job(enabled=False, max_attempts=2)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    await pause(world, Scope.APP, job.app_id)
    await world.clock.advance(60)
    first, retry = await world.rows(job_id=job.id)
    assert (first.id, first.state, retry.state) == (run_id, RunState.RETRYING, RunState.QUEUED)
    assert world.flow.admitter.waiting == 1
    await resume(world, Scope.APP, job.app_id)
    await world.clock.advance(1)
    assert [run.state for run in await world.rows(job_id=job.id)] == [RunState.RETRYING, RunState.SUCCEEDED]
    assert max(world.executions.values()) == 1


async def test_a_pause_ends_by_itself(world):
    executor = await world.executor()
    executor.plan.append(FAILING)
    job = await world.job(enabled=False, max_attempts=2)
    every = await world.job(schedule=EVERY_SECOND, name="every")
    await world.clock.advance(0.5)
    await world.trigger(job)
    await pause(world, Scope.ALL, for_s=5)
    ends_ms = world.clock.now_ms() + 5000
    await world.clock.advance(8)
    slots = {run.due_ms: run.state for run in await world.rows(job_id=every.id)}
    assert {state for due, state in slots.items() if due < ends_ms} == {RunState.SKIPPED}
    assert {state for due, state in slots.items() if ends_ms <= due < world.clock.now_ms()} == {
        RunState.SUCCEEDED
    }
    assert [run.state for run in await world.rows(job_id=job.id)] == [RunState.RETRYING, RunState.SUCCEEDED]


async def test_a_chain_waits_and_goes_on(world):
    executor = await world.executor()
    job = await world.job(schedule={"kind": "second_delay", "expression": "5s"})
    await world.clock.advance(1)
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(60)
    assert len(executor.executed) == 1
    resumed_ms = world.clock.now_ms()
    await resume(world, Scope.JOB, job.id)
    await world.clock.advance(12)
    first, second, third = (await world.rows(job_id=job.id))[:3]
    assert [run.state for run in (first, second, third)] == [RunState.SUCCEEDED] * 3
    assert resumed_ms <= second.sent_ms <= resumed_ms + 100
    assert (second.due_ms, third.due_ms) == (first.finished_ms + 5000, second.finished_ms + 5000)


async def test_a_restart_knows_of_it(world):
    executor = await world.executor()
    job = await world.job(schedule=EVERY_SECOND)
    await pause(world, Scope.JOB, job.id)
    await world.crash()
    await world.start()
    await world.beat(A)
    await world.clock.advance(5)
    assert not executor.received
    await world.stop_node()
    await world.start()
    await resume(world, Scope.JOB, job.id)
    await world.beat(A)
    await world.clock.advance(2)
    assert executor.received


async def test_every_node_follows_at_once(several):
    executor = await several.executor()
    jobs = [await several.job(schedule=EVERY_SECOND, name=f"job {n}") for n in range(12)]
    await several.clock.advance(3.95)
    a, b = several.nodes.values()
    owners = {job.id: [life.name for life in (a, b) if job.part in life.context.held] for job in jobs}
    assert {name for names in owners.values() for name in names} == {"a", "b"}
    await pause(several, Scope.ALL, by=b)
    sent = len(executor.received)
    await several.clock.advance(5)
    assert len(executor.received) == sent
    with pytest.raises(Conflict):
        await several.trigger(jobs[0], by=a)
    await resume(several, Scope.ALL, by=a)
    await several.clock.advance(2)
    assert len(executor.received) >= sent + 12


async def test_a_node_that_cannot_be_told_learns_of_it_by_the_database(several):
    executor = await several.executor()
    for n in range(8):
        await several.job(schedule=EVERY_SECOND, name=f"job {n}")
    await several.clock.advance(3.5)
    a, b = several.nodes.values()
    a.cut = True
    await pause(several, Scope.ALL, by=b)
    sent = len(executor.received)
    await several.clock.advance(5)
    assert len(executor.received) == sent


async def test_a_node_that_has_not_looked_yet_claims_nothing(several):
    """Whoever wrote the pause was gone before it could tell: what is not claimed by then does not start."""
    executor = await several.executor()
    jobs = [await several.job(schedule=NEVER) for _ in range(4)]
    await several.clock.advance(3)
    a, b = several.nodes.values()
    lead_ms, now_ms = a.context.tuning.claim_lead_ms, several.clock.now_ms()
    for n in range(40):
        await several.trigger(jobs[n % 4], run_at_ms=now_ms + lead_ms + 100 + 30 * n)
    await several.do(b.pauses.put(Pause(Scope.ALL, 0, "", "ann", now_ms), called=""), by=b)
    await several.clock.advance(3)
    assert not executor.received
    await resume(several, Scope.ALL, by=a)
    await several.clock.advance(1)
    assert len(executor.received) == 40


async def test_a_broadcast_that_has_begun_and_one_that_has_not(world):
    executors = [await world.executor(address) for address in (A, B)]
    executors[0].plan.append(Behaviour(code=500, runs_s=1))
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST, max_attempts=2)
    parent = await world.trigger(job)
    await world.clock.advance(0.5)
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(30)
    waiting = [run for run in await world.rows(job_id=job.id) if run.state in OPEN]
    assert [(run.shard, run.state) for run in waiting] == [(-1, RunState.RUNNING), (0, RunState.QUEUED)]
    await resume(world, Scope.JOB, job.id)
    await world.clock.advance(2)
    assert (await world.row(parent)).state is RunState.SUCCEEDED


async def test_what_waits_can_be_stopped_and_is_no_stray(world):
    executor = await world.executor()
    executor.plan.append(FAILING)
    job = await world.job(enabled=False, max_attempts=2)
    await world.trigger(job)
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(60)
    assert "strays" not in world.now.counters.values
    (waiting,) = [run for run in await world.rows(job_id=job.id) if run.state in OPEN]
    await world.stop(waiting.id)
    await resume(world, Scope.JOB, job.id)
    await world.clock.advance(2)
    assert (await world.row(waiting.id)).state is RunState.STOPPED
    assert len(executor.executed) <= 1


async def test_only_what_is_paused_can_be_resumed(world):
    job = await world.job()
    with pytest.raises(NotFound, match="it is not paused itself"):
        await resume(world, Scope.JOB, job.id)


async def test_what_waits_for_a_place_waits_on_and_is_not_late_then(world):
    executor = await world.executor(usual=Behaviour(runs_s=3))
    limit = Concurrency(Overlap.QUEUE, 1)
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "2s"}, concurrency=limit)
    await world.clock.advance(8.5)
    now_ms = world.clock.now_ms()
    waiting = [run for run in await world.rows(job_id=job.id) if run.due_ms < now_ms and run.state in WAITING]
    assert waiting
    await pause(world, Scope.APP, job.app_id)
    sent = len(executor.received)
    await world.clock.advance(200)
    assert len(executor.received) == sent
    await world.beat(A)
    await resume(world, Scope.APP, job.app_id)
    await world.clock.advance(20)
    assert [(await world.row(run.id)).state for run in waiting] == [RunState.SUCCEEDED] * len(waiting)
