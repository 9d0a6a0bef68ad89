"""The endpoints without a scheduler behind them; on one event loop, as nothing here touches sockets of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from tests.kit.admin_site import AdminSite, admin_site


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path) as made:
        yield made
