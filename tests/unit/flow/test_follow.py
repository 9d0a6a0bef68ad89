"""What another node has changed reaches this one's memory."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.errors import NotFound
from gateway.core.model import AddressMode, App, Beat
from gateway.store.tables import revision
from tests.kit.flow_world import A, B


def addresses(life, app):
    return life.context.registry.addresses(app.id)


async def test_an_executor_that_registers_with_one_is_known_to_all(several):
    a, b = several.nodes.values()
    await several.executor(A)
    await several.beat(B, b)
    await several.clock.advance(0.05)  # who came is told at once
    assert addresses(a, several.app) == addresses(b, several.app) == (A, B)


async def test_one_that_says_goodbye_to_one_is_gone_for_all(several):
    a, b = several.nodes.values()
    await several.executor(A)
    await several.clock.advance(1)
    await several.do(b.flow.remove("shop", A), by=b)
    await several.clock.advance(0.05)
    assert addresses(a, several.app) == addresses(b, several.app) == ()
    await several.beat(A, b)
    await several.clock.advance(3)
    assert addresses(a, several.app) == addresses(b, several.app)


async def test_goodbye_to_a_node_that_never_saw_it(several):
    a, b = several.nodes.values()
    b.db.read_pause_s = lambda: 5.0
    await several.beat(A, a)
    await several.clock.advance(0.5)
    b.db.read_pause_s = lambda: 0.0
    await several.do(b.flow.remove("shop", A), by=b)
    await several.clock.advance(12)
    assert addresses(a, several.app) == addresses(b, several.app) == ()


async def test_beats_to_one_keep_an_executor_alive_for_all(several):
    a, b = several.nodes.values()
    await several.executor(A)
    for _ in range(8):
        await several.clock.advance(30)
        await several.beat(A, b)
    assert addresses(a, several.app) == addresses(b, several.app) == (A,)
    await several.clock.advance(95)
    assert addresses(a, several.app) == addresses(b, several.app) == ()


async def test_an_executor_is_not_dead_for_one_that_could_not_look(several):
    """It beats to the other node, and this one was cut off from the database."""
    a, b = several.nodes.values()
    await several.executor(A)
    await several.clock.advance(1)
    a.cut_database()
    for _ in range(4):
        await several.clock.advance(30)
        await several.beat(A, b)
    a.mend_database()
    await several.clock.advance(10)
    assert addresses(a, several.app) == addresses(b, several.app) == (A,)


async def test_apps_are_followed(several):
    a, b = several.nodes.values()
    made = await several.do(b.apps.create(App(0, 1, "mail", "", AddressMode.AUTO, (), 0, 0)), by=b)
    await several.clock.advance(0.6)
    await several.do(a.flow.register(Beat("mail", A, "rest", "java", several.clock.now_ms())), by=a)
    manual = replace(made, address_mode=AddressMode.MANUAL, addresses=(B,))
    await several.do(b.apps.update(manual), by=b)
    await several.clock.advance(0.6)
    assert addresses(a, made) == (B,)
    await several.do(b.apps.delete(made.id), by=b)
    await several.clock.advance(0.6)
    assert a.context.registry.app_named("mail") is None
    refused = False
    try:
        await several.do(a.flow.register(Beat("mail", A, "rest", "java", several.clock.now_ms())), by=a)
    except NotFound:
        refused = True
    assert refused


async def test_an_app_that_was_made_anew_is_followed(several):
    a, b = several.nodes.values()
    wanted = App(0, 1, "mail", "", AddressMode.AUTO, (), 0, 0)
    old = await several.do(a.apps.create(wanted), by=a)
    await several.clock.advance(0.6)
    b.cut_database()  # it hears of both changes at once
    await several.do(a.apps.delete(old.id), by=a)
    new = await several.do(a.apps.create(wanted), by=a)
    await several.clock.advance(3)
    b.mend_database()
    await several.clock.advance(10)
    assert b.context.registry.app_named("mail") == new
    await several.do(b.flow.register(Beat("mail", A, "rest", "java", several.clock.now_ms())), by=b)
    await several.clock.advance(0.1)
    assert addresses(a, new) == addresses(b, new) == (A,)


async def test_jobs_are_read_anew_when_changes_may_have_been_missed(several):
    a, b = several.nodes.values()
    job = await several.job(enabled=False)
    for life in (a, b):
        await several.do(life.context.specs.ensure([(job.id, 0)]), by=life)
    b.cut = True
    await several.change(job, by=a, name="renamed")
    assert b.context.specs.job(job.id) is None or b.context.specs.job(job.id).name == "renamed"
    await several.clock.advance(0.6)
    assert b.context.specs.job(job.id) is None
    counts = {row["name"]: row["n"] for row in await several.table(revision)}
    assert counts["job"] == 1
