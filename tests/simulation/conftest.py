"""Lives of the scheduler on a loop whose time is moved by hand."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], VirtualLoop]]:
    return {"virtual": VirtualLoop}
