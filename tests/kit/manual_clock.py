"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tests.kit.virtual_loop import VirtualLoop

START_MS = 1_795_000_000_000


class ManualClock:
    """Implements `core.clock.Clock` on a `VirtualLoop`. Sleepers wake in the order of their instants, one instant a time.

    Between two instants the loop runs until it has nothing more to do, so a test sees what the program does
    before time goes on. That needs a program that waits for nothing but this loop.
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "see tests/unit/flow/conftest.py"
        self._loop = loop
        self._start_ms = now_ms
        self._offset_ms = 0

    def now_ms(self) -> int:
        return self._start_ms + self._offset_ms + self._loop.now_us // 1000

    def monotonic(self) -> float:
        return self._loop.now_us / 1_000_000

    def wall_ms(self) -> int:
        return self._start_ms + self._loop.now_us // 1000

    def jump(self, by_ms: int) -> None:
        """Move scheduling time alone, as a step of the wall clock would."""
        self._offset_ms += by_ms

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call that from nobody's process."""
        self._loop.alarm(max(round(seconds * 1_000_000), 0), call)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        over: asyncio.Future[None] = self._loop.create_future()
        self.call_later(seconds, lambda: over.done() or over.set_result(None))
        await over

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        if not event.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0)):
                    await event.wait()
        return event.is_set()

    # ------------------------------------------------------------ for the test

    async def settle(self) -> None:
        """Return when the loop has nothing left to do at this instant."""
        await self._loop.advance_to(self._loop.now_us - 1)

    async def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        await self._loop.advance_to(self._loop.now_us + round(seconds * 1_000_000))

    async def advance_until(self, reached: Callable[[], bool], *, at_most_s: float = 60) -> None:
        """Let time pass until something has happened, and no longer."""
        if not await self._loop.advance_to(self._loop.now_us + round(at_most_s * 1_000_000), reached):
            raise AssertionError(f"it has not happened within {at_most_s} s")
