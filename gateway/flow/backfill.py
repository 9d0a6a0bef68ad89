"""Backfill: slots of a past range become waiting rows, so many at a time and a minute as was asked for.

In: backfills that run, of jobs in this node's parts. Out: `queued` rows, each once for its slot; and the end of a
backfill once the last of its runs has ended. All it needs to go on after a crash is in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from gateway.core.backfill import Backfill, BackfillState, BackfillStore, run_for
from gateway.core.context import Context
from gateway.core.model import NewRun

log = structlog.get_logger(__name__)

LOOK_S = 0.5
IDLE_S = 2.0


class Backfiller:
    """`on_queued` takes the rows."""

    def __init__(
        self, context: Context, store: BackfillStore, on_queued: Callable[[Iterable[NewRun]], None]
    ) -> None:
        self._context = context
        self._store = store
        self._on_queued = on_queued
        self._open: dict[int, set[int]] = {}  # by backfill: its runs that have not ended, as far as is known
        self.wake = asyncio.Event()

    async def run(self) -> None:
        while True:
            self.wake.clear()
            works = await self.run_once()
            await self._context.clock.wait(self.wake, LOOK_S if works else IDLE_S)

    async def run_once(self) -> bool:
        """Whether there is any backfill at work here."""
        parts = self._context.held.parts
        found = await self._store.running(parts) if parts else []
        self._open = {one.id: self._open[one.id] for one in found if one.id in self._open}
        for one in found:
            await self._go_on(one)
        return bool(found)

    async def _go_on(self, backfill: Backfill) -> None:
        context = self._context
        known = self._open.get(backfill.id)
        if known is None:  # new, or another node's until now
            known = await self._store.started_runs(backfill.id)
        open_runs = self._open[backfill.id] = await self._store.open_runs(backfill.job_id, known)
        await context.specs.ensure([(backfill.job_id, 0)])
        spec = context.specs.get(backfill.job_id)
        if spec is None:
            await self._store.finish(backfill, BackfillState.CANCELLED)
            return
        now_ms = context.clock.now_ms()
        room = backfill.room(len(open_runs), now_ms, int(LOOK_S * 1000))
        slots = await self._store.next_slots(backfill, max(room, 1))
        if not slots and not open_runs:
            await self._store.finish(backfill, BackfillState.DONE)
            log.info("backfill_done", backfill=backfill.id, job_id=backfill.job_id, slots=backfill.total)
        slots = slots[:room]
        if not slots:
            return
        job = spec.job
        ids = await context.ids_of(job.app_id).draw(len(slots))
        runs = {
            slot: run_for(backfill, job, slot, run_id, now_ms)
            for slot, run_id in zip(slots, ids, strict=True)
        }
        if await self._store.start(backfill, runs, now_ms):
            open_runs.update(run.id for run in runs.values())
            context.counters.add("backfilled", len(runs))
            self._on_queued(runs.values())
