"""The scheduling clock follows a reference without jumping unseen.

The reference is the database's clock (one for all nodes), or the wall clock where the database is embedded.
Small differences are smoothed away; a difference above one second is a jump: it is logged and takes the node's
readiness down until it has lasted, then scheduling time is set.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from gateway.core.clock import SystemClock

log = structlog.get_logger(__name__)

EVERY_S = 1.0
JUMP_MS = 1000.0
CONFIRM_TIMES = 3
SMOOTHING = 0.1


class Timekeeper:
    def __init__(self, clock: SystemClock, reference: Callable[[], Awaitable[float]] | None) -> None:
        self._clock = clock
        self._reference = reference
        self._off = 0
        self.problem: str | None = None

    async def run(self) -> None:
        """Measure every second. A loop."""
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                offset_ms = (
                    float(self._clock.wall_offset_ms())
                    if self._reference is None
                    else await self._reference()
                )
            except Exception as error:
                log.debug("clock_not_measured", error=str(error)[:100])
                continue
            self.observe(offset_ms)

    def observe(self, offset_ms: float) -> None:
        """Follow a measured offset of the reference from scheduling time."""
        if abs(offset_ms) <= JUMP_MS:
            self._off = 0
            self.problem = None
            self._clock.adjust(offset_ms * SMOOTHING)
            return
        self._off += 1
        self.problem = f"the clock jumped by {offset_ms / 1000:.1f} s"
        log.warning("clock_jump", seconds=round(offset_ms / 1000, 3), seen=self._off)
        if self._off >= CONFIRM_TIMES:
            self._clock.adjust(offset_ms)
            log.warning("clock_set", seconds=round(offset_ms / 1000, 3))
            self._off = 0
