"""Limits of jobs and apps, seen at the executors: never more than may, in order, over several nodes and their deaths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import Conflict
from gateway.core.model import TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.parts import part_of, part_of_app
from gateway.core.states import RunState
from gateway.flow.queue import FlowQueues
from gateway.store.queue import QueueStore
from tests.kit.fake_link import SILENT, Behaviour, FakeExecutor
from tests.kit.flow_world import A, B, C, World

NEVER = {"kind": "api"}


def most_at_once(executors: list[FakeExecutor], ends: dict[int, int], job_id: int | None = None) -> int:
    """By what the executors saw: a run is under way from its arrival to the end that its row tells."""
    events = []
    for executor in executors:
        for request in executor.received:
            if job_id in (None, request.job_id):
                events += [(request.at_ms, 1), (ends.get(request.run_id) or 1 << 60, -1)]
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


async def ends_of(world: World) -> dict[int, int]:
    return {run.id: run.finished_ms for run in await world.rows()}


async def limit(world: World, *, by=None, **limits) -> None:
    life = by or world.now
    app = await life.apps.get(world.app.appname)
    changed, moved = await world.do(life.apps.update(replace(app, **limits)), by=life)
    await world.do(life.operations.app_changed(changed.id, moved), by=life)


def overlap(policy: Overlap, places: int = 1, **more) -> Concurrency:
    return Concurrency(policy, places, **more)


# ------------------------------------------------------------ overlap


async def test_skip(world):
    executor = await world.executor(usual=Behaviour(runs_s=25))
    job = await world.job(concurrency=overlap(Overlap.SKIP))
    await world.clock.advance(65)
    assert [request.at_ms - job.anchor_ms for request in executor.executed] == [10_000, 40_000]
    states = [run.state for run in await world.rows(job_id=job.id) if run.due_ms <= world.clock.now_ms()]
    assert states.count(RunState.SKIPPED) == 4
    skipped = next(run for run in await world.rows(job_id=job.id) if run.state is RunState.SKIPPED)
    assert (
        skipped.reason
        == f"overlap skip: 1 of 1 runs of this job are under way ({executor.executed[0].run_id})"
    )


async def test_queue(world):
    executor = await world.executor(usual=Behaviour(runs_s=25))
    job = await world.job(schedule=NEVER, concurrency=overlap(Overlap.QUEUE, queue_limit=2))
    runs = [await world.trigger(job) for _ in range(4)]
    await world.clock.advance(100)
    assert [request.run_id for request in executor.executed] == runs[:3]
    assert most_at_once([executor], await ends_of(world)) == 1
    last = await world.row(runs[3])
    assert (last.state, last.reason) == (
        RunState.SKIPPED,
        "overlap queue: 2 runs wait already, as many as queue_limit lets",
    )


async def test_replace_stops_the_old_run_before_the_new_one_starts(world):
    executor = await world.executor(usual=Behaviour(runs_s=1000))
    job = await world.job(schedule=NEVER, concurrency=overlap(Overlap.REPLACE))
    first = await world.trigger(job)
    await world.clock.advance(5)
    second = await world.trigger(job)
    await world.clock.advance(5)
    old, new = await world.row(first), await world.row(second)
    assert (old.state, new.state) == (RunState.STOPPED, RunState.RUNNING)
    assert old.reason == f"replaced by run {second}: overlap replace"
    assert old.finished_ms <= new.claimed_ms
    assert [request.run_id for request in executor.executed] == [first, second]


async def test_more_places_are_spread_over_idle_executors(world):
    executors = [await world.executor(address, usual=Behaviour(runs_s=50)) for address in (A, B, C)]
    job = await world.job(schedule=NEVER, concurrency=overlap(Overlap.QUEUE, 3))
    for _ in range(4):
        await world.trigger(job)
    await world.clock.advance(10)
    assert [len(executor.executed) for executor in executors] == [1, 1, 1]


async def test_a_next_attempt_waits_and_is_never_skipped(world):
    executor = await world.executor()
    executor.plan.extend([Behaviour(runs_s=5, code=500), Behaviour(runs_s=20)])
    job = await world.job(schedule=NEVER, max_attempts=2, concurrency=overlap(Overlap.SKIP))
    first = await world.trigger(job)
    await world.clock.advance(4)
    await world.clock.advance(3)
    (second,) = [run for run in await world.rows(job_id=job.id) if run.attempt == 2]
    assert second.state is RunState.RUNNING
    third = await world.trigger(job)
    await world.clock.advance(1)
    assert (await world.row(third)).state is RunState.SKIPPED
    await world.clock.advance(30)
    assert (await world.row(second.id)).state is RunState.SUCCEEDED
    assert (await world.row(first)).state is RunState.RETRYING


async def test_a_limit_is_kept_when_the_job_gets_it_while_it_runs(world):
    executor = await world.executor(usual=Behaviour(runs_s=25))
    job = await world.job()
    await world.clock.advance(21)
    await world.change(job, concurrency=overlap(Overlap.SKIP))
    await world.clock.advance(25)
    starts = [request.at_ms - job.anchor_ms for request in executor.executed]
    assert starts == [10_000, 20_000]


# ------------------------------------------------------------ the app's places


async def test_the_app_has_five_places_and_the_highest_priority_goes_first(world):
    executors = [await world.executor(address, usual=Behaviour(runs_s=2)) for address in (A, B)]
    await limit(world, max_running=5)
    jobs = [await world.job(schedule=NEVER, priority=priority) for priority in (1, 5, 10, 15)]
    priority_of = {job.id: job.priority for job in jobs}
    blocker = await world.job(schedule=NEVER, priority=15)
    for _ in range(5):
        await world.trigger(blocker)
    await world.clock.advance(1)
    due = [await world.trigger(job) for job in jobs for _ in range(10)]
    await world.clock.advance(60)
    started = sorted(
        (request for executor in executors for request in executor.received if request.run_id in due),
        key=lambda request: (request.at_ms, -priority_of[request.job_id]),  # of one batch in any order
    )
    priorities = [priority_of[request.job_id] for request in started]
    assert len(started) == 40
    assert priorities == sorted(priorities, reverse=True)
    assert most_at_once(executors, await ends_of(world)) == 5


async def test_who_waits_long_is_not_taken_for_late(world):
    executor = await world.executor(usual=Behaviour(runs_s=30))
    await limit(world, max_running=1)
    job = await world.job(misfire_after_s=5, schedule={"kind": "fixed_rate", "expression": "40s"})
    blocker = await world.job(schedule=NEVER)
    await world.clock.advance(30)
    await world.trigger(blocker)
    await world.clock.advance(14)
    (waiting,) = [run for run in await world.rows(job_id=job.id) if run.due_ms <= world.clock.now_ms()]
    assert (waiting.state, waiting.waiting_ms > 0) == (RunState.QUEUED, True)
    assert waiting.reason == "waits: 1 of 1 runs of app 'shop' are under way"
    await world.crash()
    await world.clock.advance(3)
    await world.start()
    await world.beat(A)
    await world.clock.advance(30)
    assert waiting.id in [request.run_id for request in executor.executed]
    assert most_at_once([executor], await ends_of(world)) == 1


async def test_starts_per_second(world):
    executor = await world.executor()
    await limit(world, starts_per_second=2.0)
    job = await world.job(schedule=NEVER)
    await world.clock.advance(1)
    for _ in range(9):
        await world.trigger(job)
    await world.clock.advance(10)
    times = sorted(request.at_ms for request in executor.executed)
    assert len(times) == 9
    # Two claims a second; their bytes leave a moment later, not each equally late.
    assert all(times[n + 2] - times[n] >= 950 for n in range(7))


async def test_a_limit_that_is_lowered_and_lifted(world):
    executor = await world.executor(usual=Behaviour(runs_s=10))
    await limit(world, max_running=4)
    job = await world.job(schedule=NEVER)
    for _ in range(12):
        await world.trigger(job)
    await world.clock.advance(5)
    await limit(world, max_running=1)
    await world.clock.advance(10)
    assert len(executor.running) <= 1
    before = len(executor.received)
    await limit(world, max_running=None)
    await world.clock.advance(1)
    assert len(executor.received) == 12
    assert before == 4
    assert {run.part for run in await world.rows() if run.state is RunState.RUNNING} == {part_of(job.id)}


async def test_a_stopped_and_a_failed_run_free_their_places(world):
    executor = await world.executor(usual=SILENT)
    await limit(world, max_running=1)
    job = await world.job(schedule=NEVER)
    first, second, third = [await world.trigger(job) for _ in range(3)]
    await world.clock.advance(1)
    await world.stop(second)
    assert (await world.row(second)).state is RunState.STOPPED
    await world.stop(first)
    await world.clock.advance(2)
    assert [request.run_id for request in executor.executed] == [first, third]


async def test_no_executor_holds_no_place(world):
    await limit(world, max_running=1)
    job = await world.job(schedule=NEVER)
    runs = [await world.trigger(job) for _ in range(3)]
    await world.clock.advance(2)
    assert [(await world.row(run)).state for run in runs] == [RunState.FAILED] * 3
    assert len(world.flow.context.gate.places) == 0


async def test_a_waiting_run_expires(world):
    await world.executor(usual=SILENT)
    await limit(world, max_running=1)
    job = await world.job(schedule=NEVER, ttl_s=30)
    await world.trigger(job)
    second = await world.trigger(job)
    await world.clock.advance(29)
    assert (await world.row(second)).state is RunState.QUEUED
    await world.clock.advance(2)
    run = await world.row(second)
    assert run.state is RunState.EXPIRED
    assert run.reason == "expired after 30.0 s: 1 of 1 runs of app 'shop' are under way"


# ------------------------------------------------------------ the queue as people see it


def queues_of(world: World, life=None) -> FlowQueues:
    life = life or world.now
    return FlowQueues(life.flow, life.runs, QueueStore(life.db))


async def test_the_queue_tells_who_starts_when(world):
    await world.executor(usual=Behaviour(runs_s=10))
    await limit(world, max_running=1)
    jobs = [await world.job(schedule=NEVER, priority=priority) for priority in (5, 15)]
    await world.trigger(jobs[0])
    await world.clock.advance(11)
    running, low, high = (
        await world.trigger(jobs[0]),
        await world.trigger(jobs[0]),
        await world.trigger(jobs[1]),
    )
    await world.clock.advance(2)
    app = world.flow.context.registry.app(world.app.id)
    queue = await world.do(queues_of(world).view(app, 10))
    assert (queue.running, queue.count) == (1, 2)
    assert [(one.run.id, one.position) for one in queue.first] == [(high, 1), (low, 2)]
    assert {one.reason for one in queue.first} == {"1 of 1 runs of app 'shop' are under way"}
    first, second = [one.predicted_ms - world.clock.now_ms() for one in queue.first]
    assert 7000 < first < 9000  # the job's last run took ten seconds
    assert second == first + 1000  # nothing is known of the other job
    assert (await world.row(running)).state is RunState.RUNNING


@pytest.mark.parametrize("on", ["owner", "other"])
async def test_a_run_is_moved_to_the_front_or_past_the_limits(several, on):
    executor = await several.executor(usual=Behaviour(runs_s=10))
    await limit(several, max_running=1)
    jobs = [await several.job(schedule=NEVER) for _ in range(4)]
    part = part_of_app(several.app.id)
    owner = next(life for life in several.nodes.values() if part in life.flow.context.held)
    life = owner if on == "owner" else next(one for one in several.nodes.values() if one is not owner)
    first, second, third, fourth = [await several.trigger(job, by=owner) for job in jobs]
    await several.clock.advance(2)
    queues = queues_of(several, life)
    moved = await several.do(queues.move_to_front(fourth), by=life)
    assert (moved.queue_rank, moved.reason) == (1, "moved to the front by system")
    await several.do(queues.bypass(third), by=life)
    await several.clock.advance(1)
    assert [request.run_id for request in executor.received] == [first, third]
    with pytest.raises(Conflict, match="only a run that waits can be moved to the front"):
        await several.do(queues.move_to_front(third), by=life)
    await several.clock.advance(25)
    assert [request.run_id for request in executor.received] == [first, third, fourth, second]
    assert max(executor.executions.values()) == 1


# ------------------------------------------------------------ several nodes


async def test_over_two_nodes(several):
    executors = [await several.executor(address, usual=Behaviour(runs_s=3)) for address in (A, B)]
    jobs = [await several.job(schedule=NEVER) for _ in range(8)]
    a, b = several.nodes.values()
    for job in jobs:
        await several.trigger(job, by=a)
    await several.clock.advance(1)
    await limit(several, by=b, max_running=5)
    several.pick = lambda lives: lives[-1]  # results reach the node that need not be the owner
    for job in jobs:
        for life in (a, b, a, b):
            await several.trigger(job, by=life)
    stored = [await a.jobs.get(job.id) for job in jobs]
    assert {job.part for job in stored} == {part_of_app(several.app.id)}
    assert {job.version for job in stored} == {2}
    await several.clock.advance(60)
    ends = await ends_of(several)
    assert sum(len(executor.executed) for executor in executors) == 40
    began = sorted(request.at_ms for executor in executors for request in executor.received)[8]
    for executor in executors:
        executor.received = [one for one in executor.received if ends[one.run_id] > began]
    assert most_at_once(executors, ends) == 5
    assert all(run.state is RunState.SUCCEEDED for run in await several.rows())


@pytest.mark.parametrize("how", ["crash", "stop"])
async def test_the_place_of_the_owner_is_taken_over(several, how):
    executors = [await several.executor(address, usual=Behaviour(runs_s=4)) for address in (A, B)]
    await limit(several, max_running=3)
    job = await several.job(schedule=NEVER)
    part = part_of_app(several.app.id)
    owner = next(life for life in several.nodes.values() if part in life.flow.context.held)
    other = next(life for life in several.nodes.values() if life is not owner)
    runs = [await several.trigger(job, by=other) for _ in range(15)]
    await several.clock.advance(5)
    await (several.crash(owner.name) if how == "crash" else several.stop_node(owner.name))
    await several.clock.advance(60)
    assert most_at_once(executors, await ends_of(several)) == 3
    executed = [request.run_id for executor in executors for request in executor.executed]
    assert sorted(executed) == sorted(runs)


async def test_ends_that_other_nodes_see_free_places_soon(several):
    await several.executor(usual=Behaviour(runs_s=2))
    await limit(several, max_running=1)
    job = await several.job(schedule=NEVER)
    part = part_of_app(several.app.id)
    names = [name for name, life in several.nodes.items() if part not in life.flow.context.held]
    several.pick = lambda lives: next(life for life in lives if life.name in names)
    first, second = [await several.trigger(job) for _ in range(2)]
    await several.clock.advance(6)
    one, two = await several.row(first), await several.row(second)
    assert 0 <= two.claimed_ms - one.finished_ms < 300


async def test_a_request_for_the_part_before_reaches_the_owner_of_the_new_one(several):
    """A node that has not heard yet of the app's limit inserts into the old part."""
    executor = await several.executor()
    job = await several.job(schedule=NEVER)
    a, b = several.nodes.values()
    await a.flow.context.specs.ensure([(job.id, 0)])
    changed, _ = await several.do(b.apps.update(replace(several.app, max_running=2)), by=b)
    run = await several.trigger(job, by=a)
    await several.do(b.operations.app_changed(changed.id, [job.id]), by=b)
    await several.clock.advance(3)
    assert [request.run_id for request in executor.executed] == [run]
    assert (await several.row(run)).part == part_of_app(several.app.id)


async def test_slots_planned_before_the_move_are_sent_once(several):
    executor = await several.executor()
    jobs = [await several.job() for _ in range(6)]
    await several.clock.advance(8)  # the next slots are planned by now
    await limit(several, max_running=50)
    await several.clock.advance(25)
    await limit(several, max_running=None)
    await several.clock.advance(25)
    for job in jobs:
        runs = [
            run for run in await several.rows(job_id=job.id) if run.due_ms < several.clock.now_ms() - 1000
        ]
        assert [run.state for run in runs] == [RunState.SUCCEEDED] * 5
        assert {run.trigger_kind for run in runs} == {TriggerKind.SCHEDULE}
    assert max(executor.executions.values()) == 1


async def test_a_row_that_moves_to_another_part_is_not_lost_with_its_old_part(several):
    """The old owner still has it in memory, by the part that it had."""
    await several.executor()
    a, b = several.nodes.values()
    job = await several.job()
    await several.clock.advance(8)  # its next slot is planned, and waits in the memory of its owner
    owner = next(life for life in (a, b) if job.part in life.flow.context.held)
    await limit(several, by=owner, max_running=5)
    await several.clock.advance(0.5)
    for life in (a, b):
        if part_of_app(several.app.id) in life.flow.context.held:
            await several.do(life.flow.estate.let_go({job.part}), by=life)
    await several.clock.advance(6)
    (run,) = [run for run in await several.rows(job_id=job.id) if run.due_ms <= several.clock.now_ms()]
    assert run.state is RunState.SUCCEEDED
    assert all(life.counters.values.get("strays", 0) == 0 for life in (a, b))


async def test_who_waited_while_its_job_moved_away_is_started_by_the_new_owner(several):
    """The node that has it in its line has read the job and the app again, and has not been told to look at its line."""
    await several.executor(usual=Behaviour(runs_s=2))
    await limit(several, max_running=1)
    part = part_of_app(several.app.id)
    owner = next(life for life in several.nodes.values() if part in life.flow.context.held)
    other = next(life for life in several.nodes.values() if life is not owner)
    job = await several.job(schedule=NEVER)
    while part_of(job.id) in owner.flow.context.held:
        job = await several.job(schedule=NEVER)
    _, second = [await several.trigger(job, by=owner) for _ in range(2)]
    await several.clock.advance(1)
    owner.cut = other.cut = True  # they cannot tell each other
    app = await other.apps.get(several.app.appname)
    await several.do(other.apps.update(replace(app, max_running=None)), by=other)
    owner.flow.context.specs.invalidate([job.id])
    await several.do(owner.flow.context.specs.ensure([(job.id, 0)]), by=owner)
    await several.do(owner.flow.follower.reload_apps(), by=owner)
    await several.clock.advance(0.2)
    owner.cut = other.cut = False
    await several.clock.advance(8)
    assert (await several.row(second)).state is RunState.SUCCEEDED
    assert (await several.row(second)).part == part_of(job.id)
    assert [sent[0] for sent in other.link.sent] == [second]
    assert second not in [sent[0] for sent in owner.link.sent]
