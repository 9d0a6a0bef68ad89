"""Time, injected: the only module of the product that reads the machine's clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

_FIRST_MS, _LAST_MS = (
    -62_135_510_400_000,
    253_402_214_400_000,
)  # a day from the ends of years 1 to 9999, for zones


class Clock(Protocol):
    """What every room takes instead of reading the time itself."""

    def now_ms(self) -> int:
        """Scheduling time: milliseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for intervals and deadlines."""
        ...

    def wall_ms(self) -> int:
        """The machine's own idea of the time, which may be wrong and may jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of monotonic time."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for the event, at most that many seconds; True if it is set."""
        ...


class SystemClock:
    """Monotonic time plus an offset taken from the wall clock.

    Scheduling time does not follow a jump of the wall clock by itself: `adjust` moves it, so that a
    step is a decision that can be logged. The boot-time clock goes on while the machine sleeps.
    """

    def __init__(self) -> None:
        self._offset_s = time.time() - self._boot()

    @staticmethod
    def _boot() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now_ms(self) -> int:
        return int((self._boot() + self._offset_s) * 1000)

    def monotonic(self) -> float:
        return self._boot()

    def wall_ms(self) -> int:
        return int(time.time() * 1000)

    def wall_offset_ms(self) -> int:
        """Milliseconds by which the wall clock is ahead of scheduling time."""
        return int((time.time() - self._boot() - self._offset_s) * 1000)

    def adjust(self, by_ms: float) -> None:
        """Move scheduling time by that many milliseconds."""
        self._offset_s += by_ms / 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        if not event.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0)):
                    await event.wait()
        return event.is_set()


def iso_utc(ms: int) -> str:
    """ISO 8601 with offset for milliseconds since the epoch, millisecond precision."""
    return at_offset(ms, 0).isoformat(timespec="milliseconds")


def at_offset(ms: int, offset_s: int) -> datetime:
    """That instant on a clock so far from UTC; beyond the years that a calendar can show, the nearest that it can."""
    zone = timezone(timedelta(seconds=offset_s)) if offset_s else UTC
    return datetime.fromtimestamp(min(max(ms, _FIRST_MS), _LAST_MS) / 1000, zone)
