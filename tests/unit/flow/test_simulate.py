"""Simulations of what is stored: they foretell what the scheduler then does, and hold nothing up."""

from __future__ import annotations

import asyncio

from gateway.core.overlap import Concurrency, Overlap
from gateway.core.scenario import Wish
from gateway.core.states import RunState
from gateway.flow.simulate import FlowSimulator
from gateway.store.durations import DurationStore
from tests.kit.fake_link import Behaviour
from tests.unit.flow.test_limits import limit

EVERY_10_S = {"kind": "interval", "expression": "10s"}


def simulator(world, clock=None) -> FlowSimulator:
    life = world.now
    return FlowSimulator(
        life.jobs, life.apps, life.pauses, DurationStore(life.db), life.operations, clock or world.clock
    )


async def test_it_foretells_what_the_scheduler_then_does(world):
    await world.executor(usual=Behaviour(runs_s=7))
    await limit(world, max_running=2)
    for priority in (1, 5, 10):
        await world.job(schedule=EVERY_10_S, priority=priority)
    await world.job(schedule=EVERY_10_S, priority=15, concurrency=Concurrency(Overlap.SKIP, 1))
    await world.job(schedule={"kind": "interval", "expression": "20s"}, ttl_s=15, priority=2)
    from_ms = world.clock.now_ms() // 10_000 * 10_000 + 10_000
    wish = Wish(from_ms, from_ms + 60_000, duration_ms=7000)
    found = await world.do(simulator(world).simulate(wish))
    await world.clock.advance((wish.to_ms - world.clock.now_ms()) / 1000)
    foretold = {
        (fire.job_id, fire.slot_ms): round(fire.wait_ms / 1000) if fire.start_ms else fire.state
        for fire in found.outcome.fires
    }
    rows = [row for row in await world.rows() if from_ms <= row.due_ms < wish.to_ms]
    happened = {
        (row.job_id, row.slot_key): round((row.sent_ms - row.due_ms) / 1000) if row.sent_ms else row.state
        for row in rows
    }
    assert happened == foretold
    assert {RunState.EXPIRED, RunState.QUEUED} <= set(happened.values())
    assert found.outcome.apps[world.app.id].running_max == 2


class Busy:
    """A clock on which everything takes a while."""

    def __init__(self, clock) -> None:
        self.now_ms = clock.now_ms
        self.looks = 0
        self.slept = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks / 1000

    async def sleep(self, seconds: float) -> None:
        assert seconds == 0
        self.slept += 1
        await asyncio.sleep(0)


async def test_others_go_on_meanwhile(world):
    for _ in range(5):
        await world.job(schedule=EVERY_10_S)
    clock = Busy(world.clock)
    from_ms = world.clock.now_ms() + 60_000
    found = await world.do(simulator(world, clock).simulate(Wish(from_ms, from_ms + 600_000)))
    assert found.outcome.total.fires == 300
    assert clock.slept > 100
