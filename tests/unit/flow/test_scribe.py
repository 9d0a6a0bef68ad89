"""What the stages notice becomes events, off the way of runs."""

from __future__ import annotations

from pathlib import Path

from gateway.core.context import Tuning
from gateway.core.errors import StoreError
from gateway.core.events import Level, Source
from gateway.store.tables import event
from tests.kit.fake_link import SILENT
from tests.kit.flow_world import A, World


async def told(world: World, source_type: str) -> list[tuple[str, str, str]]:
    return [
        (row["source_id"], row["reason"], row["text"])
        for row in await world.table(event)
        if row["source_type"] == source_type
    ]


async def test_executors_come_go_and_die(world: World) -> None:
    await world.executor(A)
    await world.clock.advance(95)
    await world.beat(A)
    await world.do(world.flow.remove("shop", A))
    await world.clock.advance(2)
    assert await told(world, "executor") == [
        (A, "registered", "of app shop (java, rest)"),
        (A, "dead", "of app shop: no beat for 91 s"),
        (A, "registered", "of app shop (java, rest)"),
        (A, "removed", "of app shop"),
    ]


async def test_slots_found_too_late(world: World) -> None:
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "10s"}, misfire_after_s=5)
    await world.crash()
    await world.clock.advance(60)
    await world.start()
    await world.clock.advance(2)
    (row,) = [row for row in await world.table(event) if row["reason"] == "misfire"]
    assert (row["source_id"], row["source_name"], row["level"]) == (str(job.id), "job", Level.WARN)
    assert row["text"].startswith("5 skipped: 2026-")


async def test_a_run_that_is_lost(tmp_path: Path) -> None:
    world = World(tmp_path, Tuning(sweep_every_s=1, sweep_confirm_ms=1000))
    await world.start()
    executor = await world.executor(A, usual=SILENT)
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    executor.restart()
    await world.until_final(run_id, at_most_s=20)
    await world.clock.advance(2)
    assert (str(job.id), "run_lost") in {one[:2] for one in await told(world, "job")}
    await world.close()


async def test_nodes_join_take_over_and_leave(several: World) -> None:
    await several.crash("a")
    await several.clock.advance(10)
    await several.stop_node("b")
    found = [(name, reason) for name, reason, _ in await told(several, "node")]
    assert ("a", "joined") in found
    assert ("b", "joined") in found
    assert found[-3:] == [("a", "dead"), ("b", "parts_taken"), ("b", "left")]


async def test_events_wait_while_the_database_is_away(world: World) -> None:
    saves = world.flow.scribe._events

    class Away:
        async def save(self, events: object) -> None:
            raise StoreError("away")

    world.flow.scribe._events = Away()
    world.flow.context.journal.note(1, Level.INFO, Source.SYSTEM, "x", "test", "kept")
    await world.clock.advance(3)
    assert await told(world, "system") == []
    world.flow.scribe._events = saves
    await world.clock.advance(1.1)
    assert await told(world, "system") == [("x", "test", "kept")]
