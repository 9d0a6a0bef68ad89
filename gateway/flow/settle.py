"""Settle: a send whose fate is unknown is asked about, never simply repeated.

In: runs in `dispatching` whose bytes left without an answer, or that a crash left behind. Out: `running` (the
executor has a log of it), back to `queued` (it provably never arrived), or `lost` when it cannot be asked.

`/run` itself is no question: repeating a log id is executed again once the first has started. So the
executor's `/idleBeat` and `/log` are asked. A log file means received. No file and busy: wait. No file and idle,
twice, at least two seconds apart and as long after the sender's last chance: never received.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from gateway.core.context import Context
from gateway.core.errors import LeaseLost, Unreachable
from gateway.core.model import Guarantee, Job, NewRun
from gateway.core.ports import CANNOT_SAY
from gateway.core.states import RunState
from gateway.core.work import After, Move, Value, Work, Written

log = structlog.get_logger(__name__)

_DOUBTFUL = frozenset({RunState.DISPATCHING})


@dataclass(slots=True, eq=False)
class Doubt:
    """A doubtful send. `last_chance_ms`: after this instant its sender can no longer have sent it."""

    seed: NewRun
    address: str
    dialect: str
    trigger_ms: int
    claim: int
    last_chance_ms: int
    why: str


class Settlements(Protocol):
    """Where a settled doubt goes on."""

    def again(self, seed: NewRun) -> None:
        """The row waits once more."""
        ...

    def lost(self, doubt: Doubt, reason: str) -> None: ...


class Settler:
    def __init__(self, context: Context, settlements: Settlements) -> None:
        self._context = context
        self._settlements = settlements
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._doubts: dict[int, Doubt] = {}
        self._writing: set[int] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._tasks

    def start(self, doubt: Doubt) -> None:
        """Begin to ask. Returns at once; the outcome arrives through `Settlements`."""
        if doubt.seed.id in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._settle_patiently(doubt))
        self._tasks[doubt.seed.id] = task
        self._doubts[doubt.seed.id] = doubt
        task.add_done_callback(lambda done: self._done(doubt, done))
        self._context.counters.add("doubtful")

    def _done(self, doubt: Doubt, task: asyncio.Task[None]) -> None:
        if self._tasks.get(doubt.seed.id) is task:
            del self._tasks[doubt.seed.id], self._doubts[doubt.seed.id]
            self._writing.discard(doubt.seed.id)

    def stop(self, parts: Collection[int] | None = None) -> None:
        """Ask no more, about runs of these parts or about any."""
        for run_id, doubt in list(self._doubts.items()):
            if parts is None or doubt.seed.part in parts:
                self._tasks[run_id].cancel()
                self._context.flights.pop(run_id)  # no answer will come that could

    async def drop(self, parts: Collection[int]) -> None:
        """As `stop`, but returns when nothing that was found out is on its way to the database any more."""
        writing = [self._tasks[run_id] for run_id in self._writing if self._doubts[run_id].seed.part in parts]
        if writing:
            await asyncio.wait(writing)
        self.stop(parts)

    async def _settle_patiently(self, doubt: Doubt) -> None:
        """Settle, and begin again a moment after a failure: a doubt is never dropped."""
        while True:
            try:
                await self._settle(doubt)
            except LeaseLost:
                self._context.flights.pop(doubt.seed.id)
                return  # the new owner asks
            except Exception as error:
                log.warning("settling_failed", run_id=doubt.seed.id, error=repr(error)[:200])
                await self._context.clock.sleep(self._context.tuning.settle_ask_s)
            else:
                return

    async def _settle(self, doubt: Doubt) -> None:
        context = self._context
        clock, tuning, run = context.clock, context.tuning, doubt.seed
        app = context.registry.app(run.app_id)
        appname = app.appname if app else ""
        # By the clock that never jumps: an interval that a set clock cut short would prove nothing.
        gap_s, patience_s = tuning.settle_gap_ms / 1000, tuning.settle_give_up_ms / 1000
        begun = clock.monotonic()
        last_chance = begun - max(clock.now_ms() - doubt.last_chance_ms, -tuning.lease_ms) / 1000
        idle_since: float | None = None
        silent_since: float | None = None
        while True:
            flight = context.flights.get(run.id)
            if flight is not None and (flight.ended or flight.ended_elsewhere):
                if flight.ended_elsewhere:
                    context.flights.pop(run.id)
                return  # its result has come: nothing is left to ask
            asked = clock.monotonic()
            # After a crash it may not be known who lives there; its next beat will tell.
            executor = context.registry.executor(run.app_id, doubt.address)
            dialect = executor.dialect if executor else doubt.dialect
            real_log = context.link.log_is_real(dialect, executor.client if executor else "")
            try:
                idle = await context.link.idle(doubt.address, dialect, appname, run.job_id)
                page = await context.link.log(doubt.address, dialect, appname, run.id, doubt.trigger_ms, 1)
            except Unreachable as error:
                idle_since = None
                silent_since = asked if silent_since is None else silent_since
                if clock.monotonic() - silent_since >= patience_s:
                    await self._give_up(doubt, f"{doubt.why}; then it could not be asked: {error.why}")
                    return
            else:
                silent_since = None
                if real_log and page is not None:
                    await self._received(doubt)
                    return
                if not idle.ok:
                    idle_since = None
                    blind = not real_log or idle.code == CANNOT_SAY
                    if blind and clock.monotonic() - begun >= patience_s:
                        await self._give_up(doubt, f"{doubt.why}; this client cannot tell which run it has")
                        return
                elif idle_since is None:
                    if asked >= last_chance + gap_s:
                        idle_since = asked
                elif asked - idle_since >= gap_s:
                    if real_log:
                        await self._again(doubt, f"{doubt.why}; the executor never received it: sent again")
                        return
                    if executor is not None or clock.monotonic() - begun >= patience_s:
                        await self._give_up(doubt, f"{doubt.why}; this client cannot tell a run it never saw")
                        return
            await clock.sleep(tuning.settle_ask_s)

    async def _write(self, doubt: Doubt, move: Move) -> Written:
        """With the lease: after a take-over it is the new owner who settles, and may have claimed it by now."""
        self._writing.add(doubt.seed.id)
        try:
            return await self._context.writer.write(Work(moves=[move], lease=self._context.lease))
        finally:
            self._writing.discard(doubt.seed.id)

    async def _received(self, doubt: Doubt) -> None:
        now_ms = self._context.clock.now_ms()
        values: dict[str, Value] = {
            "answered_ms": now_ms,
            "reason": f"{doubt.why}; the executor has it",
        }
        flight = self._context.flights.get(doubt.seed.id)
        if flight is not None and flight.order.sent_ms:
            values["sent_ms"] = After("due_ms", flight.order.sent_ms - doubt.seed.due_ms)
        move = Move(doubt.seed.id, RunState.RUNNING, _DOUBTFUL, values, claim=doubt.claim)
        written = await self._write(doubt, move)
        self._context.counters.add("doubts_received")
        if flight is not None:
            flight.answer_written, flight.answered_ms = True, now_ms
            if doubt.seed.id in written.lost_moves or flight.ended_elsewhere:
                self._context.flights.pop(doubt.seed.id)  # it has ended, on another node perhaps

    async def _again(self, doubt: Doubt, reason: str) -> None:
        self._context.flights.pop(doubt.seed.id)
        values: dict[str, Value] = {"reason": reason, "claim_token": 0}
        move = Move(doubt.seed.id, RunState.QUEUED, _DOUBTFUL, values, claim=doubt.claim)
        written = await self._write(doubt, move)
        self._context.counters.add("doubts_sent_again")
        if doubt.seed.id not in written.lost_moves:
            self._context.gate.free(doubt.seed.id)
            # With the same log time: should the first send have arrived after all, its result is still this run's.
            self._settlements.again(replace(doubt.seed, trigger_ms=doubt.trigger_ms))

    async def _give_up(self, doubt: Doubt, reason: str) -> None:
        await self._context.specs.ensure([(doubt.seed.job_id, 0)])
        job: Job | None = self._context.specs.job(doubt.seed.job_id)
        if job is not None and job.guarantee is Guarantee.AT_LEAST_ONCE:
            await self._again(doubt, f"{reason}; at_least_once: sent again, it may have run already")
            return
        self._context.counters.add("doubts_lost")
        self._settlements.lost(doubt, f"{reason}; at_most_once: not sent again")
