"""Strays: rows that no memory holds are taken up, should a hand-over ever fail: none may vanish or stay open.

In: open rows of this node's parts that were due a while ago, and chains whose run is over. Out: rows with the stages
again, chains that go on. Both are faults that something else has left, so each is logged.
"""

from __future__ import annotations

import structlog

from gateway.core.context import Context
from gateway.core.policy import seed_of
from gateway.core.states import WAITING, RunState
from gateway.flow.admit import Admitter
from gateway.flow.estate import Estate
from gateway.flow.settle import Settler

log = structlog.get_logger(__name__)

EVERY_S = 15.0
AFTER_MS = 10_000
PAGE = 2000
_TAKEN_UP = WAITING | {RunState.DISPATCHING}


class Strays:
    def __init__(self, context: Context, admitter: Admitter, settler: Settler, estate: Estate) -> None:
        self._context = context
        self._admitter = admitter
        self._settler = settler
        self._estate = estate
        self._suspects: set[int] = set()

    async def run(self) -> None:
        while True:
            await self._context.clock.sleep(EVERY_S)
            if self._context.held.parts:
                await self._take_up()
                await self._mend_chains()

    async def _take_up(self) -> None:
        """What was nobody's at two looks: at one it may just be on its way from one memory to another."""
        context = self._context
        before_ms = context.clock.now_ms() - AFTER_MS
        overdue = await context.runs.overdue(before_ms, PAGE, _TAKEN_UP, context.held.parts)
        await self._admitter.settled()
        overdue = [run for run in overdue if run.part in context.held]
        strays = [run for run in self._admitter.strays(overdue) if run.id not in self._settler]
        confirmed = [run for run in strays if run.id in self._suspects]
        self._suspects = {run.id for run in strays}
        if confirmed:
            log.warning("strays_taken_up", runs=[run.id for run in confirmed[:20]], count=len(confirmed))
            context.counters.add("strays", len(confirmed))
        self._admitter.add([seed_of(run) for run in confirmed if run.state in WAITING])
        self._estate.settle(run for run in confirmed if run.state is RunState.DISPATCHING)

    async def _mend_chains(self) -> None:
        mended = await self._context.jobs.mend_chains(self._context.held.parts)
        if mended:
            log.warning("chains_mended", jobs=mended[:20], count=len(mended))
