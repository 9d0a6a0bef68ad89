"""Access tokens that were made with one node, and results of a caller whose token is another app's."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.access import EVERY_APP, Reach
from gateway.core.errors import NotFound, Refused
from gateway.core.model import AddressMode, App, Beat, ExecutorResult, Run
from gateway.core.states import RunState
from gateway.store.access import AccessStore
from gateway.store.tables import event
from tests.kit.fake_link import SILENT
from tests.kit.flow_world import CLIENT, A, B, World
from tests.kit.life import Life

PEER = "10.0.0.9"


async def make_token(
    world: World, appname: str, text: str, *, old_valid_ms: int | None = 0, by: Life | None = None
) -> None:
    life = by or world.now
    store = AccessStore(life.db, world.clock)
    holder = await store.holder(appname=appname)
    await store.create(holder, text, old_valid_ms)
    await life.operations.access_changed()


def accepts(life: Life, appname: str, text: str) -> bool:
    try:
        life.access.admit(text, appname, PEER)
    except Refused:
        return False
    return True


def result_of(run: Run) -> ExecutorResult:
    return ExecutorResult(run.id, 200, "fine", run.trigger_ms, run.due_ms + 10, True)


async def report(world: World, run: Run, reach: Reach) -> bool:
    return await world.do(world.flow.report([result_of(run)], CLIENT, reach))


async def running(world: World) -> Run:
    await world.executor(usual=SILENT)
    run_id = await world.trigger(await world.job(enabled=False))
    await world.clock.advance(1)
    return await world.row(run_id)


async def test_every_node_follows(several):
    a, b = several.nodes.values()
    assert accepts(a, "shop", "anything")
    await several.do(make_token(several, "shop", "own", by=b), by=b)
    assert [accepts(b, "shop", text) for text in ("own", "anything")] == [True, False]
    await several.clock.advance(0.6)
    assert [accepts(a, "shop", text) for text in ("own", "anything")] == [True, False]
    # A node that comes later has them from its start.
    await several.start(name="c")
    assert not accepts(several.nodes["c"], "shop", "anything")


async def test_every_node_sends_an_executor_what_it_came_with_to_another(several):
    a, b = several.nodes.values()
    await several.do(make_token(several, "shop", "old", by=b), by=b)
    await several.do(make_token(several, "shop", "new", old_valid_ms=None, by=b), by=b)
    await several.clock.advance(0.6)
    for address, token in ((A, "old"), (B, "new"), (A, "new")):
        mark = b.access.admit(token, "shop", PEER)
        beat = Beat("shop", address, "rest", CLIENT, several.clock.now_ms(), mark)
        await several.do(b.flow.register(beat), by=b)
        await several.clock.advance(3)
        assert a.access.sent_to("shop", address) == b.access.sent_to("shop", address) == token


async def test_an_end_that_was_set_comes_by_itself(world):
    await world.do(make_token(world, "shop", "first"))
    await world.do(make_token(world, "shop", "second", old_valid_ms=10_000))
    assert [accepts(world.now, "shop", text) for text in ("first", "second")] == [True, True]
    await world.clock.advance(10)
    assert [accepts(world.now, "shop", text) for text in ("first", "second")] == [False, True]


async def test_a_result_beyond_the_reach_of_its_token(world):
    run = await running(world)
    await world.do(world.now.apps.create(App(0, 1, "mail", "", AddressMode.AUTO, (), 0, 0)))
    await world.do(world.flow.follower.reload_apps())
    await world.do(make_token(world, "shop", "own"))
    await world.do(make_token(world, "mail", "other"))
    with pytest.raises(Refused, match=f"run {run.id} is of an app"):
        await report(world, run, world.now.access.reach("other", PEER))
    assert (await world.row(run.id)).state is RunState.RUNNING
    assert await report(world, run, world.now.access.reach("own", PEER))
    assert (await world.row(run.id)).state is RunState.SUCCEEDED
    # Also where it has to be looked up: the run is over and not in memory any more.
    with pytest.raises(Refused):
        await report(world, run, world.now.access.reach("other", PEER))
    await world.clock.advance(2)
    (noted,) = {row["text"] for row in await world.table(event) if row["reason"] == "token_refused"}
    assert noted == f"run {run.id} is of an app that does not accept this access token"


async def test_of_a_mixed_call_what_is_within_counts(world):
    run = await running(world)
    await world.do(make_token(world, "shop", "own"))
    foreign = ExecutorResult(77, 200, "of an old admin", 5, 6, True)

    class OnlyShop:
        is_everything = False

        def covers(self, app_id: int) -> bool:
            return False

    with pytest.raises(Refused):
        await world.do(world.flow.report([result_of(run), foreign], CLIENT, OnlyShop()))
    assert (await world.row(run.id)).state is RunState.RUNNING
    assert world.now.counters.values["results_foreign"] == 1


async def test_a_result_is_taken_while_nobody_can_look_its_run_up(world):
    run = await running(world)
    await world.do(make_token(world, "shop", "own"))
    reach = world.now.access.reach("own", PEER)
    await world.crash()
    await world.start()
    await world.clock.advance(1)
    world.now.cut_database()
    await world.clock.advance(3)
    taken = asyncio.ensure_future(world.flow.report([result_of(run)], CLIENT, reach))
    await world.clock.advance(2)
    assert taken.result()
    world.now.mend_database()
    await world.clock.advance(5)
    assert (await world.row(run.id)).state is RunState.SUCCEEDED


async def test_an_app_that_is_deleted_takes_its_tokens_along(world):
    await world.do(world.now.apps.create(App(0, 1, "mail", "", AddressMode.AUTO, (), 0, 0)))
    await world.do(make_token(world, "mail", "other"))
    mail = await world.do(world.now.apps.get("mail"))
    await world.do(world.now.apps.delete(mail.id))
    store = AccessStore(world.now.db, world.clock)
    assert await world.do(store.all_access_tokens()) == []
    with pytest.raises(NotFound):
        await world.do(store.holder(appname="mail"))
    assert EVERY_APP.covers(mail.id)
