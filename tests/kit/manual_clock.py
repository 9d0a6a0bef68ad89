"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

START_MS = 1_795_000_000_000


class ManualClock:
    """Implements `core.clock.Clock`. `advance` wakes sleepers in the order of their instants, one instant a time.

    Between two instants the loop runs until it has nothing more to do, so a test sees what the program does
    before time goes on. That needs asyncio's own loop, and a program that waits for nothing but this clock.
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        self._start_ms = now_ms
        self._elapsed_us = 0
        self._offset_ms = 0
        self._numbers = itertools.count()
        self._alarms: list[tuple[int, int, Callable[[], None]]] = []

    def now_ms(self) -> int:
        return self._start_ms + self._offset_ms + self._elapsed_us // 1000

    def monotonic(self) -> float:
        return self._elapsed_us / 1_000_000

    def wall_ms(self) -> int:
        return self._start_ms + self._elapsed_us // 1000

    def jump(self, by_ms: int) -> None:
        """Move scheduling time alone, as a step of the wall clock would."""
        self._offset_ms += by_ms

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        at = self._elapsed_us + max(round(seconds * 1_000_000), 0)
        heapq.heappush(self._alarms, (at, next(self._numbers), call))

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_later(seconds, lambda: _finish(over))
        await over

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        if event.is_set():
            return True
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_later(seconds, lambda: _finish(over))
        seen = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({seen, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            seen.cancel()
            over.cancel()
        return event.is_set()

    # ------------------------------------------------------------ for the test

    async def settle(self) -> None:
        """Return when the loop has nothing left to do at this instant."""
        ready = asyncio.get_running_loop()._ready
        for _ in range(100_000):
            await asyncio.sleep(0)
            if not ready:
                return
        raise AssertionError("the program spins: it never comes to rest while time stands still")

    async def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self._elapsed_us + round(seconds * 1_000_000)
        await self.settle()
        while self._alarms and self._alarms[0][0] <= end:
            at, _, call = heapq.heappop(self._alarms)
            self._elapsed_us = max(self._elapsed_us, at)
            call()
            while self._alarms and self._alarms[0][0] <= at:
                heapq.heappop(self._alarms)[2]()
            await self.settle()
        self._elapsed_us = end
        await self.settle()

    async def advance_until(
        self, reached: Callable[[], bool], *, at_most_s: float = 60, step_s: float = 0.01
    ) -> None:
        """Let time pass until something has happened."""
        await self.settle()
        for _ in range(round(at_most_s / step_s)):
            if reached():
                return
            await self.advance(step_s)
        raise AssertionError(f"it has not happened within {at_most_s} s")


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
