"""A scheduler on a clock moved by hand for every test of a stage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.flow_world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The gateway runs; there is an app, and no executor yet."""
    world = World(tmp_path)
    await world.start()
    yield world
    await world.close()
