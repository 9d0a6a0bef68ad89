"""Where runs go: pins, weights, labels, and executors that are being drained, seen at the executors."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from gateway.core.model import Route
from gateway.core.placement import GRACE_MS, Fallback, Placement, SettingChange
from gateway.core.states import RunState
from tests.kit.fake_link import SILENT, Behaviour
from tests.kit.flow_world import A, B, C, World

NEVER = {"kind": "api"}
EVERY_TEN = {"kind": "cron", "expression": "0/10 * * * * ?", "timezone": "UTC"}
LEAD_S = 0.15


async def three(world: World, **how):
    return [await world.executor(address, **how) for address in (A, B, C)]


async def say(world: World, address: str, *, by=None, **change) -> None:
    """As the API does it: committed, then followed by the flow."""
    life = by or world.now
    await world.do(life.apps.set_executor(world.app, address, SettingChange(**change)), by=life)
    await world.do(life.operations.app_changed(world.app.id), by=life)


async def until_claimed(world: World) -> None:
    """A moment before the next slot of `EVERY_TEN`, when it has been claimed."""
    await world.clock.advance(10 - world.clock.now_ms() % 10_000 / 1000 - LEAD_S)


async def run_many(world: World, job, count: int) -> Counter[str]:
    """Trigger so many runs; where they went."""
    for _ in range(count):
        await world.trigger(job)
    await world.clock.advance(2)
    return Counter(run.address for run in await world.rows(job_id=job.id))


# ------------------------------------------------------------ one address is a pin


@pytest.mark.parametrize("route", Route)
async def test_one_address_pins_a_run_whatever_the_route(world, route):
    executors = await three(world)
    await say(world, B, weight=0, draining=True)
    await world.clock.advance(GRACE_MS / 1000 + 1)
    job = await world.job(schedule=NEVER, route=route, placement=Placement("nobody's"), max_attempts=2)
    executors[1].plan.append(Behaviour(code=500))
    run_id = await world.trigger(job, addresses=(B,))
    await world.clock.advance(5)
    assert [len(executor.executed) for executor in executors] == [0, 2, 0]
    attempts = [run for run in await world.rows(job_id=job.id) if run.shard >= 0]
    assert [(run.address, run.attempt) for run in attempts] == [(B, 1), (B, 2)]
    assert attempts[-1].state is RunState.SUCCEEDED
    assert (await world.row(run_id)).state in {RunState.SUCCEEDED, RunState.RETRYING}


# ------------------------------------------------------------ weights


async def test_weights_share_runs_out(world):
    await three(world)
    await say(world, A, weight=300)
    await say(world, C, weight=0)
    job = await world.job(schedule=NEVER, route=Route.WEIGHTED)
    assert await run_many(world, job, 40) == {A: 30, B: 10}
    await say(world, C, weight=400)
    before = await run_many(world, job, 0)
    assert await run_many(world, job, 40) - before == {A: 15, B: 5, C: 20}


async def test_nobody_has_a_weight(world):
    await world.executor()
    await say(world, A, weight=0)
    job = await world.job(schedule=NEVER, route=Route.WEIGHTED)
    run = await world.until_final(await world.trigger(job))
    assert run.reason == "no executor of app 'shop' may be used: 1 of weight 0"
    other = await world.job(schedule=NEVER)  # weights are of that route alone
    assert (await world.until_final(await world.trigger(other))).state is RunState.SUCCEEDED


# ------------------------------------------------------------ labels


@pytest.mark.parametrize("route", Route)
async def test_a_label_bounds_every_route(world, route):
    executors = await three(world)
    for address in (A, C):
        await say(world, address, labels=("canary", "big"))
    job = await world.job(schedule=NEVER, route=route, placement=Placement("canary"))
    for _ in range(4):
        await world.until_final(await world.trigger(job))
    assert executors[1].received == []
    per_run = 2 if route is Route.SHARDING_BROADCAST else 1
    assert len(executors[0].executed) + len(executors[2].executed) == 4 * per_run


async def test_nobody_has_the_label(world):
    executor = await world.executor()
    job = await world.job(schedule=NEVER, placement=Placement("canary"))
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.reason) == (
        RunState.FAILED,
        "no executor of app 'shop' may be used: 1 without the label 'canary'",
    )
    await world.change(job, placement=Placement("canary", Fallback.ANY))
    assert (await world.until_final(await world.trigger(job))).state is RunState.SUCCEEDED
    await say(world, A, labels=("canary",), draining=True)
    other = await world.executor(B)
    assert (await world.until_final(await world.trigger(job))).address == B
    assert [len(one.executed) for one in (executor, other)] == [1, 1]


async def test_a_label_holds_from_its_answer(world):
    executors = await three(world)
    job = await world.job(placement=Placement("canary", Fallback.ANY))
    await world.clock.advance(10 - LEAD_S)
    (claimed,) = await world.rows(job_id=job.id, state=int(RunState.DISPATCHING))
    wanted = next(address for address in (A, B, C) if address != claimed.address)
    await say(world, wanted, labels=("canary",))
    await world.clock.advance(0.5)
    assert (await world.row(claimed.id)).address == wanted
    assert sum(len(executor.received) for executor in executors) == 1


# ------------------------------------------------------------ draining


async def test_a_drained_executor_finishes_and_gets_nothing_new(world):
    first, second = [await world.executor(address, usual=Behaviour(runs_s=5)) for address in (A, B)]
    job = await world.job(schedule=NEVER, route=Route.FIRST)
    running = await world.trigger(job)
    await world.clock.advance(0.5)
    await say(world, A, draining=True)
    later = [await world.trigger(job) for _ in range(2)]
    await world.clock.advance(15)
    assert [request.run_id for request in first.executed] == [running]
    assert [request.run_id for request in second.executed] == later
    assert (await world.row(running)).state is RunState.SUCCEEDED
    await say(world, A, draining=False)
    assert (await world.until_final(await world.trigger(job))).address == A


async def test_a_drain_holds_from_its_answer(world):
    """P8: what was claimed for it and has not been sent goes elsewhere, and still on time."""
    executors = await three(world)
    jobs = [await world.job(schedule=EVERY_TEN) for _ in range(6)]
    await until_claimed(world)
    claimed = await world.rows(state=int(RunState.DISPATCHING))
    assert len(claimed) == len(jobs)
    drained = claimed[0].address
    await say(world, drained, draining=True)
    await world.clock.advance(0.5)
    received = {executor.address: executor.received for executor in executors}
    assert received[drained] == []
    assert sum(map(len, received.values())) == len(jobs)
    for run in claimed:
        assert (await world.row(run.id)).sent_ms - run.due_ms < 20


async def test_a_claim_on_its_way_to_the_database_is_taken_back_as_well(world):
    executor, other = [await world.executor(address) for address in (A, B)]
    job = await world.job(route=Route.FIRST)
    await world.clock.advance(9.7)
    world.faults("deadlock", "deadlock")  # repeated a moment later
    context = world.flow.context
    committed = world.do(world.now.apps.set_executor(world.app, A, SettingChange(draining=True)))
    await committed
    assert not len(context.flights)
    for _ in range(200):
        if world.flow.admitter._claims:
            break
        await world.clock.advance(0.002)
    assert world.flow.admitter._claims
    await world.do(world.now.operations.app_changed(world.app.id))
    await world.clock.advance(1)
    assert (executor.received, len(other.executed)) == ([], 1)
    assert (await world.rows(job_id=job.id))[0].state is RunState.SUCCEEDED


async def test_a_send_that_waits_for_a_connection_is_taken_back(world):
    first, second = [await world.executor(address) for address in (A, B)]
    first.plan.append(Behaviour(waits_s=1))
    job = await world.job(schedule=NEVER, route=Route.FIRST)
    run_id = await world.trigger(job)
    await world.clock.advance(0.3)
    await say(world, A, draining=True)
    assert (await world.until_final(run_id)).address == B
    assert (first.received, len(second.executed)) == ([], 1)


@pytest.mark.parametrize("route", [Route.FAILOVER, Route.BUSYOVER])
async def test_a_probe_of_a_drained_executor_leads_nowhere(world, route):
    first, second, _ = await three(world)
    first.frozen = True  # its probe takes three seconds
    job = await world.job(schedule=NEVER, route=route)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    first.thaw()
    await say(world, A, draining=True)
    assert (await world.until_final(run_id)).address == B
    await world.clock.advance(5)
    assert (first.received, len(second.executed)) == ([], 1)


async def test_all_are_drained(world):
    await three(world)
    for address in (A, B, C):
        await say(world, address, draining=True)
    job = await world.job(schedule=NEVER)
    run = await world.until_final(await world.trigger(job))
    assert (run.state, run.reason) == (
        RunState.FAILED,
        "no executor of app 'shop' may be used: 3 draining",
    )


async def test_a_drain_is_there_after_a_restart_and_a_beat(world):
    first, second = [await world.executor(address) for address in (A, B)]
    await say(world, A, draining=True)
    job = await world.job(schedule=NEVER, route=Route.FIRST)
    await world.crash()
    await world.start()
    await world.beat(A)
    assert (await world.until_final(await world.trigger(job))).address == B
    await world.now.flow.remove("shop", A)
    await world.beat(A)
    assert (await world.until_final(await world.trigger(job))).address == B
    assert (first.received, len(second.executed)) == ([], 2)


async def test_every_node_follows_a_drain(several):
    executors = [await several.executor(address) for address in (A, B)]
    await several.clock.advance(2)
    jobs = [await several.job(route=Route.FIRST, schedule=EVERY_TEN) for _ in range(16)]
    await until_claimed(several)
    parts = {run.part for run in await several.rows(state=int(RunState.DISPATCHING))}
    assert all(parts & set(life.flow.context.held.parts) for life in several.nodes.values())
    await say(several, A, by=several.nodes["b"], draining=True)
    await several.clock.advance(11)
    assert executors[0].received == []
    assert len(executors[1].executed) == 2 * len(jobs)


async def test_a_drain_that_the_other_node_hears_of_late_holds_from_its_answer(several):
    """It cannot be told: the answer waits until its claims have run out, and then it learns from the database."""
    executors = [await several.executor(address) for address in (A, B)]
    await several.clock.advance(2)
    jobs = [await several.job(route=Route.FIRST, schedule=EVERY_TEN) for _ in range(16)]
    await until_claimed(several)
    several.nodes["a"].cut = True
    await say(several, A, by=several.nodes["b"], draining=True)
    answered_ms = several.clock.now_ms()
    await several.clock.advance(21)
    assert [request for request in executors[0].received if request.at_ms > answered_ms] == []
    assert sum(len(executor.executed) for executor in executors) >= 2 * len(jobs)


# ------------------------------------------------------------ broadcasts and their shards


async def test_a_broadcast_leaves_a_drained_executor_out(world):
    executors = await three(world)
    await say(world, B, draining=True)
    job = await world.job(schedule=NEVER, route=Route.SHARDING_BROADCAST)
    parent = await world.until_final(await world.trigger(job))
    assert (parent.state, parent.shard_total) == (RunState.SUCCEEDED, 2)
    assert [[request.shard for request in executor.executed] for executor in executors] == [[0], [], [1]]


async def test_shards_that_wait_move_when_their_executor_is_drained(world):
    """The app has one place: two shards wait, for executors that begin to drain meanwhile."""
    executors = await three(world, usual=Behaviour(runs_s=2))
    app = await world.now.apps.get("shop")
    await world.do(world.now.apps.update(replace(app, max_running=1)))
    await world.do(world.now.operations.app_changed(app.id))
    job = await world.job(schedule=NEVER, route=Route.SHARDING_BROADCAST)
    parent = await world.trigger(job)
    await world.clock.advance(1)
    await say(world, B, draining=True)
    await say(world, C, draining=True)
    await world.clock.advance(10)
    assert [[request.shard for request in executor.executed] for executor in executors] == [[0, 1, 2], [], []]
    assert (await world.row(parent)).state is RunState.SUCCEEDED


async def test_shards_with_nowhere_to_go_fail(world):
    executors = await three(world, usual=Behaviour(runs_s=2))
    app = await world.now.apps.get("shop")
    await world.do(world.now.apps.update(replace(app, max_running=1)))
    await world.do(world.now.operations.app_changed(app.id))
    job = await world.job(schedule=NEVER, route=Route.SHARDING_BROADCAST)
    parent = await world.trigger(job)
    await world.clock.advance(1)
    for address in (A, B, C):
        await say(world, address, draining=True)
    await world.clock.advance(10)
    assert [len(executor.received) for executor in executors] == [1, 0, 0]
    assert (await world.row(parent)).state is RunState.FAILED
    reasons = [run.reason for run in await world.rows(job_id=job.id) if run.shard > 0]
    assert reasons == ["no executor of app 'shop' may be used: 3 draining"] * 2


async def test_a_broadcast_to_addresses_that_were_asked_for_goes_there(world):
    executors = await three(world)
    await say(world, B, draining=True)
    await world.clock.advance(GRACE_MS / 1000 + 1)
    job = await world.job(schedule=NEVER, route=Route.SHARDING_BROADCAST)
    await world.until_final(await world.trigger(job, addresses=(A, B)))
    assert [len(executor.executed) for executor in executors] == [1, 1, 0]


async def test_the_next_attempt_of_a_shard_leaves_a_drained_executor(world):
    executors = await three(world)
    executors[1].plan.append(SILENT)
    job = await world.job(schedule=NEVER, route=Route.SHARDING_BROADCAST, max_attempts=2)
    parent = await world.trigger(job)
    await world.clock.advance(4)
    await say(world, B, draining=True)
    executors[1].finish(job.id, 500, "broken")
    await world.clock.advance(3)
    assert (await world.row(parent)).state is RunState.SUCCEEDED
    assert [len(executor.received) for executor in executors] == [1, 1, 2]


# ------------------------------------------------------------ many drains, against what the executors saw

FLAKY = (Behaviour(), Behaviour(), Behaviour(runs_s=1.5), Behaviour(code=500), Behaviour(waits_s=0.4))


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_arrives_between_the_answer_of_a_drain_and_its_end(several, seed):
    """Two nodes, all routes, slots and triggers, failures and waits for connections, a queue of the app in half of it."""
    rng = random.Random(seed)
    for address in (A, B, C):
        await several.executor(address, usual=lambda _order: rng.choice(FLAKY))
    await several.clock.advance(2)
    app = await several.now.apps.get("shop")
    jobs = [
        await several.job(
            route=route,
            max_attempts=2,
            misfire_after_s=3600,
            schedule={"kind": "fixed_rate", "expression": "2s"},
            placement=Placement("canary" if rng.random() < 0.3 else "", Fallback.ANY),
        )
        for route in Route
    ]
    drained: dict[str, int] = {}  # by address: when its drain was answered
    closed: list[tuple[str, int, int]] = []
    for step in range(25):
        life = rng.choice(list(several.nodes.values()))
        address = rng.choice((A, B, C))
        if address in drained:
            closed.append((address, drained.pop(address), several.clock.now_ms()))
            await say(several, address, by=life, draining=False)
        elif len(drained) < 2 and rng.random() < 0.8:
            await say(several, address, by=life, draining=True)
            drained[address] = several.clock.now_ms()
        else:
            await say(several, address, by=life, labels=("canary",), weight=rng.choice((0, 50, 300)))
        if step == 12 and seed % 2:
            changed, moved = await several.do(life.apps.update(replace(app, max_running=4)), by=life)
            await several.do(life.operations.app_changed(changed.id, moved), by=life)
        await several.trigger(rng.choice(jobs), by=rng.choice(list(several.nodes.values())))
        await several.clock.advance(rng.uniform(0.05, 2))
    closed += [(address, since, 1 << 60) for address, since in drained.items()]
    assert len(closed) > 5
    assert sum(len(executor.received) for executor in several.executors.values()) > 100
    for address, since, until in closed:
        late = [one for one in several.executors[address].received if since < one.at_ms < until]
        assert late == [], (address, since, until)
