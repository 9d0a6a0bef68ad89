"""Retention: finished runs and other records leave when they are old enough, and days are counted before that.

In: jobs of the parts that this node owns, deleted ones too. Out: their old runs removed, a portion a transaction, each
added to the counts of its day in the same transaction; and the counts of the days that are still going on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from gateway.core.context import Context
from gateway.core.events import Level, Source
from gateway.core.retention import EVENT_DAYS, RUN_DAYS, History, Kept, calm_in_ms

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_AFTER_S = 90.0
LOOK_EVERY_S = 60.0
PASS_EVERY_S = 3600.0
JOBS_A_PAGE = 200
REST = 1.0
MOST_REST_S = 5.0
TOO_LONG_MS = 86_400_000
GLOBAL_PART = 0
"""Whoever owns it looks after what belongs to no job."""


class Retention:
    """Rests as long as each step took, and works in the calm part of a second: at most a third of the time."""

    def __init__(
        self, context: Context, history: History, run_days: int = RUN_DAYS, event_days: int = EVENT_DAYS
    ) -> None:
        self._context = context
        self._history = history
        self._run_days = run_days
        self._event_days = event_days
        # Per job the newest run when it was counted, if nothing was open: without a newer one nothing has changed.
        self._counted: dict[int, int] = {}
        self._day = 0
        self._removed = 0

    async def run(self) -> None:
        """Deleted jobs every minute, everything every hour. A loop."""
        clock = self._context.clock
        await clock.sleep(FIRST_AFTER_S * self._context.chance.uniform(0.75, 1.25))
        last_pass = float("-inf")
        while True:
            await self.clear_deleted()
            if clock.monotonic() - last_pass >= PASS_EVERY_S:
                last_pass = clock.monotonic()
                await self.pass_once()
            await clock.sleep(LOOK_EVERY_S * self._context.chance.uniform(0.75, 1.25))

    async def pass_once(self) -> None:
        """Go through all jobs of this node's parts."""
        context = self._context
        began_ms, self._removed = context.clock.now_ms(), 0
        if began_ms // TOO_LONG_MS != self._day:
            self._counted.clear()  # what was the present day is to be counted for good
            self._day = began_ms // TOO_LONG_MS
        after_id = 0
        while page := await self._turn(partial(self._page, after_id, deleted=False)):
            after_id = page[-1].job_id
            for kept in page:
                await self._keep(kept)
        if GLOBAL_PART in context.held:
            await self._turn(self._history.adopt)
            sweep = partial(self._history.sweep, began_ms, self._run_days, self._event_days)
            while await self._turn(sweep):
                continue
        ended_ms = context.clock.now_ms()
        await self._history.note_pass(context.lease.node, began_ms, ended_ms, self._removed)
        context.counters.add("retention_passes")
        log.info("retention_pass", seconds=(ended_ms - began_ms) // 1000, removed=self._removed)
        if ended_ms - began_ms > TOO_LONG_MS:
            text = f"a pass took {(ended_ms - began_ms) / 3_600_000:.0f} h: more runs end than can be removed"
            context.journal.note(
                ended_ms, Level.WARN, Source.NODE, context.lease.node, "retention_behind", text
            )

    async def clear_deleted(self) -> None:
        """Remove the history of deleted jobs, and then themselves."""
        after_id = 0
        while page := await self._turn(partial(self._page, after_id, deleted=True)):
            after_id = page[-1].job_id
            for kept in page:
                await self._keep(kept)
                if await self._turn(partial(self._history.forget, kept)):
                    log.info("job_forgotten", job_id=kept.job_id)

    async def _page(self, after_id: int, *, deleted: bool) -> list[Kept]:
        parts = self._context.held.parts
        return await self._history.kept(parts, after_id, JOBS_A_PAGE, deleted=deleted) if parts else []

    async def _keep(self, kept: Kept) -> None:
        """Count a job's days and remove its old runs."""
        if not kept.newest_id or kept.part not in self._context.held:
            return
        if self._counted.get(kept.job_id) != kept.newest_id:
            has_open = await self._turn(partial(self._history.count, kept))
            self._counted[kept.job_id] = 0 if has_open else kept.newest_id
        before_ms = kept.cut_ms(self._context.clock.now_ms(), self._run_days)
        if kept.oldest_ms >= before_ms:
            return
        held, after_id = 0, 0
        while kept.part in self._context.held:
            portion = await self._turn(partial(self._history.remove, kept, before_ms, after_id))
            held += portion.held
            self._removed += portion.removed
            self._context.counters.add("runs_removed", portion.removed)
            if portion.last_id is None:
                break
            after_id = portion.last_id
        if not held and not kept.deleted:
            await self._turn(partial(self._history.settle, kept, before_ms))

    async def _turn(self, step: Callable[[], Awaitable[T]]) -> T:
        """One step, when it disturbs no runs, and a rest in proportion to what it took."""
        clock = self._context.clock
        await clock.sleep(calm_in_ms(clock.now_ms()) / 1000)
        begun = clock.monotonic()
        result = await step()
        await clock.sleep(min((clock.monotonic() - begun) * REST, MOST_REST_S))
        return result
