"""Limits: what the gate believes is compared with the database, and long waits are written down.

In: runs that hold a place, runs that wait for one. Out: places of runs that have ended unnoticed are free; rows of
runs that have waited for a while say so and why, so that no restart takes them for late.
"""

from __future__ import annotations

import structlog

from gateway.core.context import Context
from gateway.core.states import IN_FLIGHT, WAITING, RunState
from gateway.core.work import Move, Work

log = structlog.get_logger(__name__)

EVERY_S = 1.0
LONG_QUEUE = 10_000
LONG_WAIT_MS = 600_000
MARKS_PER_WORK = 1000


class Limiter:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._was_long = False

    async def run(self) -> None:
        while True:
            await self._context.clock.sleep(EVERY_S)
            await self.run_once()

    async def run_once(self) -> None:
        await self._free_ended()
        await self._mark_waiting()
        self._tell_of_long_queue()

    def _tell_of_long_queue(self) -> None:
        """Once when it has become long, and again when it is so after having been short."""
        gate = self._context.gate
        waited_ms = gate.longest_wait_ms(self._context.clock.now_ms())
        is_long = len(gate) > LONG_QUEUE or waited_ms > LONG_WAIT_MS
        if is_long and not self._was_long:
            log.warning("queue_is_long", waiting=len(gate), longest_wait_s=waited_ms // 1000)
        self._was_long = is_long

    async def _free_ended(self) -> None:
        """An end that another node has written, or that nobody told of."""
        held = self._context.gate.places.settled()
        if not held:
            return
        states = await self._context.runs.states(held)
        ended = [run_id for run_id in held if states.get(run_id) not in IN_FLIGHT]
        if ended:
            kept = await self._context.runs.keep_places(ended)
            for run_id in ended:
                if run_id not in kept:
                    self._context.gate.free(run_id)

    async def _mark_waiting(self) -> None:
        context = self._context
        waiting = context.gate.to_mark(context.clock.now_ms())
        for start in range(0, len(waiting), MARKS_PER_WORK):
            some = waiting[start : start + MARKS_PER_WORK]
            moves = [
                # Whoever has been claimed meanwhile needs no mark.
                Move(
                    run.id,
                    RunState.QUEUED,
                    WAITING,
                    {"waiting_ms": run.waiting_ms, "reason": reason},
                    optional=True,
                )
                for run, reason in some
            ]
            await context.writer.write(Work(moves=moves, lease=context.lease))
            context.gate.marked(run.id for run, _ in some)
