"""Executors come, beat, leave and die."""

from __future__ import annotations

import pytest

from gateway.core.errors import NotFound
from gateway.core.model import Beat
from gateway.store import tables
from tests.kit.flow_world import A, B


def addresses(world):
    return world.flow.context.registry.addresses(world.app.id)


async def test_dead_after_ninety_seconds(world):
    await world.executor(A)
    await world.executor(B)
    for _ in range(4):
        await world.clock.advance(30)
        await world.beat(B)
    assert addresses(world) == (B,)
    assert [row["address"] for row in await world.table(tables.executor) if not row["gone"]] == [B]


async def test_nobody_dies_of_a_clock_that_is_set_forward(world):
    executor = await world.executor(A)
    job = await world.job(enabled=False)
    await world.clock.advance(5)
    world.clock.jump(600_000)
    await world.clock.advance(2)
    assert addresses(world) == (A,)
    await world.until_final(await world.trigger(job))
    assert len(executor.executed) == 1
    await world.clock.advance(91)
    assert addresses(world) == ()


async def test_gone_at_once_when_it_says_so(world):
    await world.executor(A)
    await world.flow.remove("shop", A)
    assert addresses(world) == ()
    await world.clock.advance(1.5)
    assert [row["gone"] for row in await world.table(tables.executor)] == [1]


async def test_a_ghost_beat_does_not_bring_it_back(world):
    executor = await world.executor(A)
    executor.stop()
    await world.flow.remove("shop", A)
    await world.beat(A)
    await world.clock.advance(5)
    assert addresses(world) == ()


async def test_a_quick_restart_is_believed_after_a_look(world):
    executor = await world.executor(A)
    await world.flow.remove("shop", A)
    await world.beat(A)
    await world.clock.advance(0.5)
    assert addresses(world) == (A,)
    assert executor.asked["beat"] == 1


async def test_a_later_beat_needs_no_look(world):
    executor = await world.executor(A)
    await world.flow.remove("shop", A)
    await world.clock.advance(1.5)
    await world.beat(A)
    assert addresses(world) == (A,)
    assert executor.asked["beat"] == 0


async def test_beats_cost_no_write_for_half_a_life(world):
    await world.executor(A)
    await world.clock.advance(2)
    before = (await world.table(tables.executor))[0]["last_beat_ms"]
    for _ in range(4):
        await world.clock.advance(10)
        await world.beat(A)
    assert (await world.table(tables.executor))[0]["last_beat_ms"] == before
    await world.clock.advance(10)
    await world.beat(A)
    await world.clock.advance(2)
    assert (await world.table(tables.executor))[0]["last_beat_ms"] > before


@pytest.mark.parametrize("down_s", [1, 600])
async def test_who_was_alive_gets_a_full_life_after_an_outage(world, down_s):
    await world.executor(A)
    await world.clock.advance(20)
    await world.crash()
    await world.clock.advance(down_s)
    await world.start()
    assert addresses(world) == (A,)
    await world.clock.advance(80)
    assert addresses(world) == (A,)
    await world.clock.advance(15)
    assert addresses(world) == ()


async def test_an_unknown_app(world):
    with pytest.raises(NotFound):
        await world.flow.remove("nobody", A)
    assert addresses(world) == ()


async def test_a_save_that_fails_is_made_up_for(world):
    save, failures = world.flow.presence._store.save_executors, [1]

    async def failing(changed, removed):
        if failures:
            failures.pop()
            raise OSError("the database is away")
        await save(changed, removed)

    world.flow.presence._store = type("Store", (), {"save_executors": staticmethod(failing)})()
    await world.executor(A)
    await world.clock.advance(2.5)
    assert [row["address"] for row in await world.table(tables.executor)] == [A]


async def test_a_changed_client_is_saved_at_once(world):
    await world.executor(A)
    await world.clock.advance(2)
    await world.flow.register(Beat("shop", A, "rest35", "java", world.clock.now_ms()))
    await world.clock.advance(2)
    assert [row["dialect"] for row in await world.table(tables.executor)] == ["rest35"]
