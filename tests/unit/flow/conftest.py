"""A scheduler on a clock moved by hand for every test of a stage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.kit.flow_world import World
from tests.kit.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], VirtualLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The gateway runs; there is an app, and no executor yet."""
    world = World(tmp_path)
    await world.start()
    yield world
    await world.close()


@pytest.fixture
async def several(tmp_path: Path) -> AsyncIterator[World]:
    """Two nodes, a and b, which have shared the parts."""
    world = World(tmp_path, several=True)
    for name in "ab":
        await world.start(name=name)
    await world.clock.advance(2)
    yield world
    await world.close()
