"""Worlds as fixtures; a failed test shows the end of the nodes' logs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip_for_lack
from tests.e2e.peers import PeerUnavailableError
from tests.faults.stage import Bench
from tests.faults.world import Plan, World
from tests.kit.mariadb import MariadbServer

_numbers = itertools.count(1)


class WorldMaker:
    """Call it with the fields of `Plan`: a world whose nodes are ready and whose executors are registered."""

    def __init__(self, directory: Path, server: MariadbServer) -> None:
        self._directory = directory
        self._server = server
        self.worlds: list[World] = []

    def __call__(self, **plan: Any) -> World:
        number = next(_numbers)
        world = World(
            self._directory / f"world-{number}", self._server, f"known_{os.getpid()}_{number}", Plan(**plan)
        )
        self.worlds.append(world)
        world.start()
        try:
            world.start_executors()
        except PeerUnavailableError as lack:
            skip_for_lack(str(lack))
        world.wait_spread()
        return world


@pytest.fixture
def make_world(mariadb_server: MariadbServer, tmp_path: Path) -> Iterator[WorldMaker]:
    maker = WorldMaker(tmp_path, mariadb_server)
    yield maker
    for world in maker.worlds:
        world.close()


@pytest.fixture(scope="session")
def bench(mariadb_server: MariadbServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with closing(Bench(tmp_path_factory.mktemp("faults"), server=mariadb_server)) as found:
        yield found


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    maker = getattr(item, "funcargs", {}).get("make_world")
    if report.failed and isinstance(maker, WorldMaker):
        for world in maker.worlds:
            for node in world.nodes:
                report.sections.append((f"node {node.name}", node.process.tail(40)))
