"""Scribe: what the stages have noticed becomes events in the database, once a second.

In: the journal. Out: rows of `event`; while the database is away they wait, as many as there is room for.
"""

from __future__ import annotations

import structlog

from gateway.core.context import Context
from gateway.core.events import EventWriter

log = structlog.get_logger(__name__)

EVERY_S = 1.0
AT_ONCE = 200


class Scribe:
    def __init__(self, context: Context, events: EventWriter) -> None:
        self._context = context
        self._events = events

    async def run(self) -> None:
        """A loop."""
        while True:
            await self._context.clock.sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what waits, at most one batch."""
        events = self._context.journal.take(AT_ONCE, self._context.clock.now_ms())
        if not events:
            return
        try:
            await self._events.save(events)
        except Exception as error:
            log.warning("events_not_written", count=len(events), error=str(error)[:200])
            self._context.journal.put_back(events)
