"""Apps with executors that keep log ids in 32 bits: every run of theirs gets one, however it comes about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.context import IDS_RUN_OUT
from gateway.core.generations import MAX_INT_ID
from gateway.core.model import FIRST_LONG_ID, AddressMode, Route
from gateway.store import tables
from gateway.store.ids import FIRST_INT_ID
from tests.kit.fake_link import Behaviour
from tests.kit.flow_world import A, B


@pytest.mark.parametrize("dialect", ["netcom18", "netcom19", "xxlrpc20"])
async def test_the_first_old_executor_makes_the_app_use_short_ids(world, dialect):
    await world.executor(A)
    job = await world.job(enabled=False)
    first = await world.trigger(job)
    await world.executor(B, dialect=dialect)
    second = await world.trigger(job)
    assert first >= FIRST_LONG_ID
    assert FIRST_INT_ID <= second <= MAX_INT_ID
    await world.until_final(second)
    assert (await world.now.apps.get("shop")).int_ids


@pytest.mark.parametrize("dialect", ["xxlrpc21", "rest", "rest35"])
async def test_others_do_not(world, dialect):
    await world.executor(A, dialect=dialect)
    assert await world.trigger(await world.job(enabled=False)) >= FIRST_LONG_ID
    assert not (await world.now.apps.get("shop")).int_ids


async def test_slots_retries_and_shards_get_them_too(world):
    await world.executor(A, dialect="netcom19", usual=Behaviour(code=500))
    await world.executor(B, usual=Behaviour(code=500))
    await world.job(max_attempts=2)
    broadcast = await world.job(enabled=False, route=Route.SHARDING_BROADCAST)
    await world.until_final(await world.trigger(broadcast))
    await world.clock.advance(25)
    attempts = {run.attempt for run in await world.rows()}
    addresses = {address for _, address, _ in world.sent}
    assert attempts == {1, 2}
    assert addresses == {A, B}
    assert all(FIRST_INT_ID <= run.id <= MAX_INT_ID for run in await world.rows())


async def test_an_app_keeps_them_while_its_old_executors_are_away(world):
    await world.executor(A, dialect="netcom18")
    await world.flow.remove("shop", A)
    await world.crash()
    await world.start()
    await world.executor(B)
    assert await world.trigger(await world.job(enabled=False)) <= MAX_INT_ID


async def test_an_app_beside_goes_on_with_long_ones(world):
    """Slots of both are planned in one go."""
    await world.executor(A, dialect="netcom18")
    other = await world.do(world.now.apps.create(replace(world.app, appname="other", int_ids=False)))
    await world.do(world.now.operations.app_changed(other.id))
    mine = await world.job()
    theirs = await world.job(app_id=other.id)
    await world.clock.advance(25)
    rows = await world.rows()
    assert {row.job_id for row in rows} == {mine.id, theirs.id}
    for row in rows:
        assert (row.id <= MAX_INT_ID) == (row.job_id == mine.id)


async def test_a_run_made_before_goes_to_who_can_take_its_id(world):
    await world.executor(B)
    job = await world.job(enabled=False)
    paused = await world.trigger(job, delay_ms=20_000)
    await world.executor(A, dialect="xxlrpc20")
    run = await world.until_final(paused)
    assert run.id >= FIRST_LONG_ID
    assert run.address == B


async def test_a_beat_counts_while_the_database_is_away(world):
    async def away(_app_id):
        await world.clock.sleep(60)

    world.flow.presence._store.use_int_ids = away
    registering = world.beat_soon(A, world.now, "netcom18")
    await world.clock.advance(5)
    assert registering.done()
    assert world.flow.context.registry.addresses(world.app.id) == (A,)
    del world.flow.presence._store.use_int_ids
    await world.beat(A, dialect="netcom18")
    assert world.flow.context.registry.app(world.app.id).int_ids


async def test_the_slash_may_be_left_out_by_hand(world):
    await world.executor(A, dialect="netcom18")
    registry = world.flow.context.registry
    assert registry.executor(world.app.id, A.rstrip("/")) is registry.executor(world.app.id, A)
    assert registry.executor(world.app.id, "http://nobody") is None


async def test_a_warning_before_they_run_out(world):
    await world.executor(A, dialect="netcom18")
    context = world.flow.context
    context.int_ids.used = lambda: IDS_RUN_OUT + 0.01
    await world.clock.advance(30)
    told = [row["text"] for row in await world.table(tables.event) if row["reason"] == "ids_run_out"]
    assert len(told) == 1
    assert "81%" in told[0]


async def test_entered_by_hand_they_are_called_in_the_apps_dialect(world):
    await world.executor(A)
    await world.flow.remove("shop", A)
    manual = replace(world.app, address_mode=AddressMode.MANUAL, addresses=(A,), dialect="form15")
    await world.do(world.now.apps.update(manual))
    await world.do(world.now.operations.app_changed(world.app.id))
    run_id = await world.trigger(await world.job(enabled=False))
    await world.until_final(run_id)
    row = await world.row(run_id)
    assert (row.dialect, row.address) == ("form15", A)
    assert row.id <= MAX_INT_ID
