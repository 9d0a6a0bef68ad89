"""What waits is judged, routed and claimed: by the job as it is now."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import insert, update

from gateway.core.errors import AlreadySubmitted, NotFound, StoreError
from gateway.core.model import PARTS, Route, Task, TriggerKind
from gateway.core.routing import Router, by_consistent_hash, consistent_hash
from gateway.core.states import RunState
from gateway.core.submission import Submission
from gateway.store.tables import node, part
from tests.kit.flow_world import A, B, C

LEAD_S = 0.05  # the claim is made by then, and nothing is sent yet

# ------------------------------------------------------------ pause, edit, delete (P8)


@pytest.mark.parametrize("ahead_s", [5, 1, LEAD_S])
async def test_a_slot_is_sent_as_the_job_is_then(world, ahead_s):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(10 - ahead_s)
    await world.change(job, task=Task("handler", "new params"))
    await world.clock.advance(ahead_s + 1)
    (request,) = executor.executed
    assert (request.params, request.version) == ("new params", 2)
    (run,) = [run for run in await world.rows(job_id=job.id) if run.state is RunState.SUCCEEDED]
    assert run.job_version == 2


@pytest.mark.parametrize("ahead_s", [5, 1, LEAD_S])
async def test_a_disabled_job_sends_nothing_from_then_on(world, ahead_s):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(10 - ahead_s)
    await world.change(job, enabled=False)
    await world.clock.advance(30)
    assert executor.received == []
    assert all(run.state is RunState.SKIPPED for run in await world.rows(job_id=job.id))


@pytest.mark.parametrize("ahead_s", [5, LEAD_S])
async def test_a_deleted_job_sends_nothing_from_then_on(world, ahead_s):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(10 - ahead_s)
    await world.do(world.now.jobs.delete(job.id))
    await world.do(world.now.operations.jobs_changed([job.id]))
    await world.clock.advance(30)
    assert executor.received == []
    with pytest.raises(NotFound):
        await world.trigger(job)


async def test_disabled_and_enabled_again_before_the_slot(world):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(8)
    await world.change(job, enabled=False)
    await world.change(job, enabled=True)
    await world.clock.advance(13)
    assert [request.at_ms - job.anchor_ms for request in executor.executed] == [10_000, 20_000]


async def test_a_schedule_changed_after_the_claim(world):
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(10 - LEAD_S)
    await world.change(job, schedule={"kind": "fixed_rate", "expression": "7s"})
    edited_ms = world.clock.now_ms()
    await world.clock.advance(8)
    assert [request.at_ms - edited_ms for request in executor.executed] == [7000]
    first = (await world.rows(job_id=job.id))[0]
    assert (first.state, first.reason) == (
        RunState.SKIPPED,
        "the schedule was changed before this slot was sent",
    )


async def test_a_disabled_job_still_runs_when_it_is_triggered(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    run_id = await world.trigger(job, params="by hand", kind=TriggerKind.MANUAL)
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert [request.params for request in executor.executed] == ["by hand"]


# ------------------------------------------------------------ requests


async def test_requests_with_one_name_start_one_run(world):
    executor = await world.executor()
    job = await world.job(enabled=False)
    requests = [world.now.operations.trigger(job.id, Submission(task_id="order 7")) for _ in range(3)]
    outcomes = await world.do(_all(requests))
    (run_id,) = [one for one in outcomes if isinstance(one, int)]
    assert [one.run_id for one in outcomes if isinstance(one, AlreadySubmitted)] == [run_id, run_id]
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}


async def _all(work):
    return await asyncio.gather(*work, return_exceptions=True)


async def test_a_run_nobody_can_take_fails_with_the_reason(world):
    job = await world.job(enabled=False)
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.reason) == (RunState.FAILED, "no executor of app 'shop' is registered")


async def test_a_run_with_addresses_of_its_own(world):
    await world.executor(A)
    other = await world.executor(B)
    job = await world.job(enabled=False, route=Route.FIRST)
    await world.until_final(await world.trigger(job, addresses=(B,)))
    assert len(other.executed) == 1


# ------------------------------------------------------------ faults of the database


@pytest.mark.parametrize("fault", ["deadlock", "gone_before_commit", "gone_after_commit", "refused_at_begin"])
async def test_a_claim_survives_a_fault(world, fault):
    executor = await world.executor()
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    world.faults(fault)
    assert (await world.until_final(run_id)).state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}


async def test_a_lost_lease_starts_nothing(world):
    """Somebody has ended it, and holds the parts: what was planned is his."""
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(9)
    async with world.now.db.write() as conn:
        await conn.execute(update(node).values(epoch=node.c.epoch + 1))
        await conn.execute(insert(node).values(name="node-2", epoch=7, live=1))
        await conn.execute(update(part).values(node="node-2", epoch=7))
    await world.clock.advance(1.5)
    assert executor.received == []
    (run,) = await world.rows(job_id=job.id)
    assert run.state is RunState.PLANNED
    assert not world.now.context.held


async def test_after_a_lost_lease_it_begins_again(world):
    """Its heir dies at once: the node joins anew, ends the other's lease and goes on, each slot once."""
    executor = await world.executor()
    job = await world.job(misfire_after_s=60)
    await world.clock.advance(9)
    async with world.now.db.write() as conn:
        await conn.execute(update(node).values(epoch=node.c.epoch + 1))
        await conn.execute(insert(node).values(name="node-2", epoch=7, live=1))
        await conn.execute(update(part).values(node="node-2", epoch=7))
    await world.clock.advance(20)
    assert len(world.now.context.held) == PARTS
    runs = await world.rows(job_id=job.id)
    assert executor.executions == {run.id: 1 for run in runs if run.due_ms <= world.clock.now_ms()}


# ------------------------------------------------------------ routes


ADDRESSES = (A, B, C)
VECTORS = {1: 3, 2: 3, 3: 1, 4: 3, 5: 1, 6: 3, 7: 2, 8: 2, 9: 1, 10: 1, 11: 1, 12: 1, 100: 3, 12345: 2}


def test_consistent_hash_is_xxl_jobs():
    assert consistent_hash("1") == 943901380
    assert {
        job_id: ADDRESSES.index(by_consistent_hash(job_id, ADDRESSES)) + 1 for job_id in VECTORS
    } == VECTORS


def chosen(route: Route, count: int = 6, router: Router | None = None) -> list[str]:
    router = router or Router(random.Random(3))
    return [router.choose(route, 1, ADDRESSES) for _ in range(count)]


def test_routes():
    assert chosen(Route.FIRST) == [A] * 6
    assert chosen(Route.LAST) == [C] * 6
    assert chosen(Route.CONSISTENT_HASH) == [C] * 6
    assert set(chosen(Route.RANDOM, 100)) == set(ADDRESSES)
    for route in (Route.ROUND, Route.LEAST_FREQUENTLY_USED, Route.LEAST_RECENTLY_USED):
        counts = [chosen(route, 30).count(address) for address in ADDRESSES]
        assert max(counts) - min(counts) <= 3, route
    round_ = chosen(Route.ROUND, 6)
    assert round_[:3] == round_[3:]
    assert len(set(round_)) == 3


def test_a_new_executor_is_used_at_once_by_the_balancing_routes():
    for route in (Route.LEAST_FREQUENTLY_USED, Route.LEAST_RECENTLY_USED):
        router = Router(random.Random(3))
        for _ in range(10):
            router.choose(route, 1, (A, B))
        assert C in chosen(route, 3, router)


@pytest.mark.parametrize("route", [route for route in Route if route is not Route.SHARDING_BROADCAST])
async def test_each_route_ends_at_an_executor(world, route):
    executors = [await world.executor(address) for address in ADDRESSES]
    job = await world.job(enabled=False, route=route)
    for _ in range(3):
        assert (await world.until_final(await world.trigger(job))).state is RunState.SUCCEEDED
    assert sum(len(executor.executed) for executor in executors) == 3


# ------------------------------------------------------------ faults on the way to a claim


async def test_a_claim_that_cannot_be_made_gives_back_each_run_once(world):
    """Twice, and in one claim the second would void the first."""
    job = await world.job()
    await world.clock.advance(9.85)
    admitter = world.flow.admitter
    claim = admitter._claim

    def faulty(runs):
        claim(runs)  # nobody is there yet, so it waits on
        raise StoreError("the reserve of ids is used up")

    admitter._claim = faulty
    for _ in range(3):
        with pytest.raises(StoreError):
            await admitter.run_once(10)
    admitter._claim = claim
    await admitter.run_once(10)
    assert admitter.waiting == len(await world.rows(job_id=job.id)) == 1


async def test_an_edit_waits_for_the_claims_of_its_moment_alone(world):
    """Not until there is none at all: under load there is always one."""
    admitter = world.flow.admitter
    loop = asyncio.get_running_loop()
    first, later = loop.create_future(), loop.create_future()
    admitter._claims.add(first)
    settled = asyncio.ensure_future(admitter.settled())
    await asyncio.sleep(0)
    admitter._claims.add(later)
    first.set_result(None)
    await asyncio.wait_for(settled, 5)
    admitter._claims.clear()
