"""Clocks that jump: of one node, of the database server. libfaketime does it; the other processes see the real time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.faults.stage import Scenario, Timing
from tests.faults.world import Plan, World
from tests.kit.mariadb import MariadbServer

LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")
MONTHS_S = 90 * 86400


def library() -> str | None:
    for directory in LIBRARIES:
        path = Path(directory) / "libfaketimeMT.so.1"
        if path.exists():
            return str(path)
    return None


def lacks_faketime() -> str | None:
    return None if library() else "no libfaketime here (Debian: libfaketime)"


def faked(directory: Path) -> dict[str, str]:
    """The environment of a process whose wall clock `set_clock` moves; monotonic time goes on as it is."""
    set_clock(directory, 0)
    return {
        "LD_PRELOAD": library() or "",
        "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(directory: Path, offset_s: int) -> None:
    fresh = directory / "clock.new"
    fresh.write_text(f"{offset_s:+d}\n")
    fresh.replace(directory / "clock")  # never half a file


def _first_node(number: int, directory: Path) -> dict[str, str]:
    return faked(directory) if number == 0 else {}


ONE_NODE = Plan(node_env=_first_node)


def _jump(world: World, timing: Timing, offset_s: int) -> None:
    node = world.nodes[0]
    world.note(f"node {node.name} has {world.jobs_by_node().get(node.name)} of {len(world.jobs)} jobs")
    set_clock(node.process.log.parent, offset_s)
    time.sleep(timing.hold_s)


def node_ahead(world: World, timing: Timing) -> None:
    _jump(world, timing, 10)


def node_behind(world: World, timing: Timing) -> None:
    _jump(world, timing, -10)


def node_months(world: World, timing: Timing) -> None:
    """It also starts with that clock: nothing may be planned by it."""
    _jump(world, timing, MONTHS_S)
    _starts_wrong(world, timing, MONTHS_S)


def node_starts_behind(world: World, timing: Timing) -> None:
    """A node whose clock is an hour slow comes up."""
    _starts_wrong(world, timing, -3600)


def _starts_wrong(world: World, timing: Timing, offset_s: int) -> None:
    """It owns nothing until its clock is right, and says that it is not ready."""
    node = world.nodes[0]
    node.kill()
    set_clock(node.process.log.parent, offset_s)
    node.begin()
    node.wait_answering()
    time.sleep(timing.hold_s)
    assert not node.api.is_ready(), "it must say that its clock is wrong"
    assert not world.parts_by_node().get(node.name), world.parts_by_node()
    set_clock(node.process.log.parent, 0)
    node.wait_ready(60)
    world.wait_spread()


class FakedServerWorld(World):
    """Its database server is one of its own, whose clock can be moved."""

    def __init__(self, directory: Path, _server: MariadbServer, schema: str, plan: Plan) -> None:
        server = MariadbServer(directory / "mariadb")
        server._process.env |= faked(directory)
        super().__init__(directory, server, schema, plan)

    def start(self) -> None:
        self.server.start(60)
        super().start()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.server.close()


def database_ahead(world: World, timing: Timing) -> None:
    set_clock(world.directory, 10)
    time.sleep(timing.hold_s)


def database_ahead_and_restarts(world: World, timing: Timing) -> None:
    """When no node agrees with the database, some node must schedule all the same."""
    set_clock(world.directory, 10)
    time.sleep(5)
    for node in world.nodes:
        node.stop()
        node.begin()
        node.wait_answering()
    time.sleep(timing.hold_s)
    world.note(f"parts by node: {world.parts_by_node()}")


def _scenario(name: str, shows: str, fault: Any, **more: Any) -> Scenario:
    return Scenario(name, shows, fault, lacks=lacks_faketime, **more)


SCENARIOS = [
    _scenario("clock of a node +10 s", "nothing is early", node_ahead, plan=ONE_NODE),
    _scenario("clock of a node -10 s", "nothing is late", node_behind, plan=ONE_NODE),
    _scenario(
        "clock of a node +3 months", "also when it starts with it", node_months, plan=ONE_NODE, hold_s=8
    ),
    _scenario(
        "a node starts an hour behind",
        "it takes the database's time",
        node_starts_behind,
        plan=ONE_NODE,
        hold_s=8,
    ),
    _scenario(
        "clock of the database +10 s",
        "the reference itself: all nodes follow, each slot once",
        database_ahead,
        world=FakedServerWorld,
        ahead_ms=10_000,
        silence_s=12,
    ),
    _scenario(
        "clock of the database +10 s, then a rolling restart",
        "no node agrees with it, and they go on",
        database_ahead_and_restarts,
        world=FakedServerWorld,
        ahead_ms=10_000,
        silence_s=12,
    ),
]
