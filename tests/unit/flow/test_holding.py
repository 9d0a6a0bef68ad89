"""Places that are kept after the end, until the executor has nothing of the job or is no executor any more."""

from __future__ import annotations

import pytest

from gateway.core.model import AddressMode
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.reruns import Rerun
from gateway.core.states import RunState
from gateway.flow.reruns import FlowReruns
from tests.kit.fake_link import SILENT, Behaviour
from tests.kit.flow_world import A, World
from tests.unit.flow.test_explain import explained, text_of
from tests.unit.flow.test_limits import limit, queues_of

NEVER = {"kind": "api"}
UNANSWERED = Behaviour(answered=False, code=None)
ONE = Concurrency(Overlap.QUEUE, 1)
S = RunState


async def beating(world: World, seconds: float) -> None:
    """The executor beats, though nobody may reach it."""
    for _ in range(round(seconds / 10)):
        await world.beat(A)
        await world.clock.advance(10)


async def lost(world: World, **job):
    """A run that was sent, whose executor lives and cannot be asked; and another that waits for its place."""
    executor = await world.executor(usual=SILENT)
    executor.plan.append(UNANSWERED)
    job = await world.job(schedule=NEVER, **{"concurrency": ONE, "hold_limit_on_lost": True, **job})
    run_id = await world.trigger(job)
    await world.clock.advance(0.5)
    executor.up = False
    await beating(world, 80)
    run = await world.row(run_id)
    assert (run.state, run.outcome) in {(S.LOST, S.LOST), (S.RETRYING, S.LOST)}
    executor.up = True
    second = await world.trigger(job)
    await beating(world, 40)
    return executor, job, run_id, second


async def waits(world: World, run_id: int) -> bool:
    return (await world.row(run_id)).state is S.QUEUED


async def reason(world: World) -> str:
    app = world.flow.context.registry.app(world.app.id)
    (only,) = (await world.do(queues_of(world).view(app, 10))).first
    return only.reason


def vanish(executor, job) -> None:
    """The code ends, and nobody reports it."""
    del executor.running[job.id]


async def test_it_keeps_its_place_until_the_executor_is_idle(world):
    executor, job, first, second = await lost(world)
    assert await waits(world, second)
    assert await reason(world) == (
        f"1 of 1 runs of this job are under way ({first}); "
        f"given up, with places kept until their executors are idle: {first}"
    )
    due_ms = (await world.row(second)).due_ms
    found = await explained(world, job, due_ms)
    assert f"idle: {first}" in found.answer
    assert f"under way now; given up, with places kept until their executors are idle: {first}" in text_of(
        found
    )
    vanish(executor, job)
    await beating(world, 40)
    assert (await world.row(second)).state is S.RUNNING
    assert (await world.row(first)).state is S.LOST


async def test_without_the_switch_it_does_not(world):
    *_, second = await lost(world, hold_limit_on_lost=False)
    assert (await world.row(second)).state is S.RUNNING


async def test_an_executor_that_leaves_holds_nothing(world):
    _, _, _, second = await lost(world)
    await world.do(world.flow.remove(world.app.appname, A))
    await world.clock.advance(40)
    assert not await waits(world, second)


async def test_its_result_frees_the_place_at_once(world):
    executor, job, first, second = await lost(world)
    executor.finish(job.id)
    await world.clock.advance(2)
    assert (await world.row(first)).state is S.SUCCEEDED
    assert (await world.row(second)).state is S.RUNNING


async def test_it_is_held_through_a_crash(world):
    executor, job, _, second = await lost(world)
    await world.crash()
    await world.clock.advance(5)
    await world.start()
    await beating(world, 40)
    assert await waits(world, second)
    vanish(executor, job)
    await beating(world, 40)
    assert (await world.row(second)).state is S.RUNNING


async def test_it_is_held_by_the_next_owner(several):
    world = several
    executor, job, _, second = await lost(world)
    owner = next(name for name, life in world.nodes.items() if job.part in life.flow.context.held)
    await world.stop_node(owner)
    await beating(world, 40)
    assert await waits(world, second)
    vanish(executor, job)
    await beating(world, 40)
    assert (await world.row(second)).state is S.RUNNING


async def test_it_counts_for_the_app(world):
    await limit(world, max_running=1)
    executor, job, first, second = await lost(world, concurrency=Concurrency())
    assert await waits(world, second)
    assert f"idle: {first}" in await reason(world)
    vanish(executor, job)
    await beating(world, 40)
    assert (await world.row(second)).state is S.RUNNING


async def test_a_limit_that_comes_later_counts_it(world):
    _, job, _, second = await lost(world, concurrency=Concurrency())
    assert (await world.row(second)).state is S.RUNNING
    await limit(world, max_running=2)
    third = await world.trigger(job)
    await beating(world, 10)
    assert await waits(world, third)


async def test_its_next_attempt_waits_for_it(world):
    executor, job, first, second = await lost(world, max_attempts=2)
    (retry,) = [run for run in await world.rows(root_id=first) if run.attempt == 2]
    assert (await waits(world, retry.id), await waits(world, second)) == (True, True)
    vanish(executor, job)
    await beating(world, 40)
    assert (await world.row(retry.id)).state is S.RUNNING


async def test_replace_does_not_ask_to_stop_what_is_over(world):
    executor, job, _, second = await lost(world, concurrency=Concurrency(Overlap.REPLACE, 1))
    assert await waits(world, second)
    assert executor.asked["kill"] == 0
    vanish(executor, job)
    await beating(world, 40)
    assert (await world.row(second)).state is S.RUNNING


@pytest.mark.parametrize("what", ["rerun", "mark"])
async def test_what_people_do_about_it(world, what):
    """A run of it again needs a place of its own; who says that it has succeeded says that it is over."""
    _, _, first, second = await lost(world)
    desk = FlowReruns(world.flow, world.now.operations, world.now.runs)
    if what == "rerun":
        again = await world.do(desk.rerun(first, Rerun()))
        await beating(world, 10)
        assert (await waits(world, again), await waits(world, second)) == (True, True)
    else:
        await world.do(desk.mark_succeeded(first, "seen by hand"))
        await beating(world, 10)
        assert (await world.row(second)).state is S.RUNNING


async def test_an_address_set_by_hand_is_there_as_long_as_it_is_set(world):
    await limit(world, address_mode=AddressMode.MANUAL, addresses=(A,))
    executor = await world.executor(usual=SILENT)
    await world.do(world.flow.remove(world.app.appname, A))
    job = await world.job(schedule=NEVER, concurrency=ONE, hold_limit_on_lost=True)
    first = await world.trigger(job)
    await world.clock.advance(1)
    executor.up = False
    second = await world.trigger(job)
    await world.clock.advance(150)
    assert (await world.row(first)).state is S.LOST
    assert await waits(world, second)
    executor.up = True
    await world.clock.advance(40)
    assert await waits(world, second)
    vanish(executor, job)
    await world.clock.advance(40)
    assert (await world.row(second)).state is S.RUNNING
