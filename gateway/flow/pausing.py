"""Pausing: a pause, and its end, reach what waits and what is claimed.

In: pauses that this node or another one has written. Out: unsent claims back among the waiting rows, and those looked
at again; `admit` skips slots that are due while they are paused, and puts all others aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.core.context import Context
from gateway.core.inflight import Flight
from gateway.core.pauses import PauseReader
from gateway.flow.admit import Admitter
from gateway.flow.dispatch import Dispatcher


class Pausing:
    def __init__(
        self,
        context: Context,
        reader: PauseReader,
        admitter: Admitter,
        dispatcher: Dispatcher,
        spawn: Callable[[Awaitable[object]], None],
    ) -> None:
        self._context = context
        self._reader = reader
        self._admitter = admitter
        self._dispatcher = dispatcher
        self._spawn = spawn
        self._reading = asyncio.Lock()  # an older look must not come after a newer one
        self._catching_up = False

    async def load(self) -> None:
        async with self._reading:
            revision = await self._reader.revision()
            self._context.pauses.replace(await self._reader.all_pauses(), revision)

    async def changed(self) -> None:
        """Returns when nothing is sent any more that a pause covers, and what waited for an end is back."""
        await self.load()
        await self.apply()

    async def catch_up(self) -> None:
        """Claims were lost because pauses have been changed: another node has done it, and not told this one yet."""
        if self._catching_up:
            return
        self._catching_up = True
        try:
            await self.changed()
        finally:
            self._catching_up = False

    def apply_soon(self) -> None:
        self._spawn(self.apply())

    async def apply(self) -> None:
        self._admitter.look_again()
        await self._admitter.settled()
        withdrawn = self._dispatcher.withdraw_where(self._is_paused)
        await self._admitter.take_back(withdrawn, "claimed again: it was paused before it was sent")

    def _is_paused(self, flight: Flight) -> bool:
        run = flight.seed
        at_ms = max(run.due_ms, self._context.clock.now_ms())
        return self._context.pauses.find(run.app_id, run.job_id, at_ms) is not None
