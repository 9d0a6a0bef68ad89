"""Deadlines: attempts that run for longer than their job allows are told of, or killed.

In: runs that executors have taken, and running rows as others come across them. Out: a reason and an event; or, by way
of a kill, `timed_out`. All that is kept in memory can be found again in the rows: the sweeper passes them by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from gateway.core.context import Context
from gateway.core.deadlines import Due, OnDeadline
from gateway.core.errors import Conflict, NotFound, Unreachable
from gateway.core.events import Level, Source
from gateway.core.inflight import Flight
from gateway.core.model import BROADCAST_PARENT, Job, Run
from gateway.core.states import RunState
from gateway.core.work import Move, Work

log = structlog.get_logger(__name__)

AGAIN_S = 10
LOOK_S = 1.0
AT_ONCE = 500
_SENT = frozenset({RunState.DISPATCHING, RunState.RUNNING})

Kill = Callable[[Run, str], Awaitable[object]]
Spawn = Callable[[Awaitable[object]], None]


class Deadlines:
    """`kill` ends a run for this reason. Only the owner of a run's part looks at it."""

    def __init__(self, context: Context, kill: Kill, spawn: Spawn) -> None:
        self._context = context
        self._kill = kill
        self._spawn = spawn
        self._due = Due()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def taken(self, flight: Flight) -> None:
        """An executor has taken a run of a job that has a deadline."""
        self._watch(flight.seed.id, flight.order.sent_ms + 1000 * flight.order.job.deadline_s)

    def running(self, runs: Iterable[Run]) -> None:
        """Rows that somebody has come across: whether their job has a deadline is found out if it is not known."""
        for run in runs:
            if run.state is not RunState.RUNNING or run.shard == BROADCAST_PARENT:
                continue
            job = self._context.specs.job(run.job_id)
            if job is None:
                self._watch(run.id, self._context.clock.now_ms())
            elif job.deadline_s:
                self._watch(run.id, run.sent_ms + 1000 * job.deadline_s)

    def _watch(self, run_id: int, at_ms: int) -> None:
        self._due.add(run_id, at_ms)
        if at_ms < self._context.clock.now_ms() + 1000 * LOOK_S:
            self._wake.set()

    async def run(self) -> None:
        """A loop."""
        context = self._context
        while True:
            self._wake.clear()
            next_ms = self._due.next_ms()
            ahead_s = LOOK_S if next_ms is None else (next_ms - context.clock.now_ms()) / 1000
            await context.clock.wait(self._wake, min(max(ahead_s, 0), LOOK_S))
            due = self._due.take(context.clock.now_ms())
            if due:
                try:
                    for start in range(0, len(due), AT_ONCE):
                        await self._look(due[start : start + AT_ONCE])
                except BaseException:
                    self._later(due, 1)
                    raise
            self._due.shrink(len(context.flights), self._is_out)

    def _is_out(self, run_id: int) -> bool:
        return self._context.flights.get(run_id) is not None

    def _later(self, run_ids: Iterable[int], seconds: int) -> None:
        for run_id in run_ids:
            self._due.add(run_id, self._context.clock.now_ms() + 1000 * seconds)

    async def _look(self, run_ids: Iterable[int]) -> None:
        context = self._context
        runs = (await context.runs.get_many(list(run_ids))).values()
        open_ = [run for run in runs if run.state in _SENT and run.part in context.held]
        await context.specs.ensure([(job_id, 0) for job_id in {run.job_id for run in open_}])
        now_ms = context.clock.now_ms()
        for run in open_:
            job = context.specs.job(run.job_id)
            if job is None or not job.deadline_s:
                continue
            flight = context.flights.get(run.id)
            sent_ms = run.sent_ms or (flight.order.sent_ms if flight is not None else 0)
            if not sent_ms:
                continue
            at_ms = sent_ms + 1000 * job.deadline_s
            if at_ms > now_ms:
                self._watch(run.id, at_ms)
            else:
                self._spawn(self._pass(run, job))

    async def _pass(self, run: Run, job: Job) -> None:
        text = f"the deadline of {job.deadline_s} s has passed"
        if run.reason and run.reason.startswith(text) and job.on_deadline is OnDeadline.ALERT:
            return  # it has been told of: before a restart, or by the node that had it then
        context = self._context
        if job.on_deadline is OnDeadline.KILL:
            try:
                await self._kill(run, text)
            except (Conflict, NotFound):
                return  # it is over, or will be come across again
            except Unreachable as error:
                log.warning("deadline_kill_failed", run_id=run.id, error=str(error)[:200])
                self._later([run.id], AGAIN_S)
                return
            context.counters.add("deadlines_killed")
        else:
            sources = frozenset({RunState.RUNNING})
            move = Move(run.id, RunState.RUNNING, sources, {"reason": f"{text}; it goes on"})
            if run.id in (await context.writer.write(Work(moves=[move]))).lost_moves:
                self._later([run.id], 1)
                return
            context.counters.add("deadlines_passed")
        context.journal.note(
            context.clock.now_ms(),
            Level.ERROR,
            Source.JOB,
            job.id,
            "deadline_passed",
            f"run {run.id}: {text}",
            name=job.name,
        )
