"""Sweep: running rows without a result are asked about, so that none stays open for ever.

In: rows in `running` or `stopping`. Out: `lost` (or `stopped` for a stop that was asked) for those whose
executor twice says that it has nothing of the job, or has been gone for as long. A late result corrects it.
Rows that are over and keep their place are asked about as well, until it is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from gateway.core.context import Context
from gateway.core.deadlines import LOST_AFTER_S
from gateway.core.ending import End
from gateway.core.errors import Unreachable
from gateway.core.events import Level, Source
from gateway.core.holding import HELD, holds_place
from gateway.core.model import BROADCAST_PARENT, Run
from gateway.core.policy import seed_of
from gateway.core.sequel import Sequel
from gateway.core.states import IN_FLIGHT, RunState
from gateway.core.work import Move, Work
from gateway.flow.ports import Finisher

log = structlog.get_logger(__name__)

PAGE = 500
AT_ONCE = 32
FORGET_MS = 5000
_ASKED = frozenset({RunState.RUNNING, RunState.STOPPING})
_LOOKED_AT = IN_FLIGHT | HELD
IDLE = "the executor says that it runs nothing of this job"
Place = tuple[int, str, str, int]


class Sweeper:
    """Asks once a place (executor and job), and judges all runs there by the answer."""

    def __init__(
        self, context: Context, finisher: Finisher, on_running: Callable[[Sequence[Run]], None]
    ) -> None:
        """`on_running` is told of all running rows, as they are come across."""
        self._on_running = on_running
        self._context = context
        self._finisher = finisher
        self._silent_since: dict[int, float] = {}

    async def run_once(self) -> None:
        """Ask about all running rows that were sent long enough ago."""
        context = self._context
        before_ms = context.clock.now_ms() - int(context.tuning.sweep_every_s * 1000)
        seen: set[int] = set()
        last: Run | None = None
        begun_ms = context.clock.now_ms()
        known = {flight.seed.id for flight in context.flights}
        parts = context.held.parts
        while parts and (runs := await context.runs.open_runs(last, PAGE, _LOOKED_AT, parts)):
            last = runs[-1]
            await self._free([run for run in runs if run.state in HELD and run.part in context.held])
            known.difference_update([run.id for run in runs if run.state in IN_FLIGHT])
            runs = [run for run in runs if run.state in _ASKED and run.part in context.held]
            self._on_running(runs)
            for run in runs:
                if run.shard == BROADCAST_PARENT:
                    await self._finisher.close_parent(run.job_id, run.slot_key)
            asked = [run for run in runs if run.shard != BROADCAST_PARENT and run.sent_ms < before_ms]
            seen.update(run.id for run in asked)
            await self._ask(asked)
        self._silent_since = {run_id: since for run_id, since in self._silent_since.items() if run_id in seen}
        self._forget(known, begun_ms)

    def _forget(self, run_ids: Iterable[int], begun_ms: int) -> None:
        """Flights that have ended on another node whose word of it did not arrive."""
        flights = self._context.flights
        for run_id in run_ids:
            flight = flights.get(run_id)
            if flight is not None and flight.answer_written and flight.answered_ms < begun_ms - FORGET_MS:
                flights.pop(run_id)

    async def _ask(self, runs: Sequence[Run]) -> None:
        answers = await self._answers(runs)
        silent = {run.job_id for run, why in answers if why is not None}
        await self._context.specs.ensure([(job_id, 0) for job_id in silent])
        lost = [(run, why) for run, why in answers if self._is_confirmed(run, why)]
        if lost:
            await self._give_up(lost)

    async def _answers(self, runs: Sequence[Run]) -> list[tuple[Run, str | None]]:
        """Why each of these cannot be running, as far as its place tells."""
        places: dict[Place, list[Run]] = {}
        for run in runs:
            # An executor that was replaced by another release answers in that one's dialect only.
            dialect = self._context.registry.dialect_at(run.app_id, run.address, run.dialect)
            places.setdefault((run.app_id, run.address, dialect, run.job_id), []).append(run)
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(place: Place) -> str | None:
            async with gate:
                return await self._why_gone(place)

        answers = await asyncio.gather(*(ask(place) for place in places))
        return [(run, why) for why, here in zip(answers, places.values(), strict=True) for run in here]

    async def _free(self, held: Sequence[Run]) -> None:
        """Runs that are over and have kept their place: free it if nothing of their job can be running there."""
        if not held:
            return
        context = self._context
        free = [
            run
            for run, why in await self._answers(held)
            if why is IDLE or run.address not in context.registry.present(run.app_id)
        ]
        # With the state, the row leaves the open ones.
        moves = [Move(run.id, run.state, frozenset({run.state}), optional=True) for run in free]
        if moves:
            await context.writer.write(Work(moves=moves, lease=context.lease))
        for run in free:
            context.gate.free(run.id)

    async def _why_gone(self, place: Place) -> str | None:
        """Why nothing of the job can be running there, or None if something may be."""
        app_id, address, dialect, job_id = place
        context = self._context
        app = context.registry.app(app_id)
        try:
            answer = await context.link.idle(address, dialect, app.appname if app else "", job_id)
        except Unreachable as error:
            if context.registry.executor(app_id, address) is not None:
                return None
            return f"the executor is gone ({error.why})"
        return IDLE if answer.ok else None

    def _is_confirmed(self, run: Run, why: str | None) -> bool:
        """Whether this is the second such answer, long enough after the first."""
        if why is None:
            self._silent_since.pop(run.id, None)
            return False
        now = self._context.clock.monotonic()
        since = self._silent_since.setdefault(run.id, now)
        return now - since >= self._grace_ms(run) / 1000

    def _grace_ms(self, run: Run) -> int:
        """How long it must have been silent: as the job says, where it differs from the node's own."""
        job = self._context.specs.job(run.job_id)
        if job is None or job.lost_after_s == LOST_AFTER_S:
            return self._context.tuning.sweep_confirm_ms
        return 1000 * job.lost_after_s

    async def _give_up(self, lost: Sequence[tuple[Run, str | None]]) -> None:
        context = self._context
        await self._finisher.prepare(run.job_id for run, _ in lost)
        ends: list[End] = []
        for run, why in lost:
            stopped = run.state is RunState.STOPPING
            outcome = run.outcome or RunState.STOPPED if stopped else RunState.LOST
            job, present = context.specs.job(run.job_id), context.registry.present(run.app_id)
            ends.append(
                End(
                    seed_of(run),
                    outcome,
                    reason=f"no result came, and {why}, twice in {self._grace_ms(run) // 1000} s",
                    finished_ms=self._context.clock.now_ms(),
                    sources=frozenset({run.state}),
                    again=stopped and run.sequel == Sequel.AGAIN,
                    holds=why is not IDLE and holds_place(job, run.address, present),
                )
            )
            self._silent_since.pop(run.id, None)
            if not stopped:
                at_ms, text = ends[-1].finished_ms, f"run {run.id}: {why}"
                self._context.journal.note(at_ms, Level.ERROR, Source.JOB, run.job_id, "run_lost", text)
        log.warning("runs_lost", runs=[run.id for run, _ in lost][:20], count=len(lost))
        self._context.counters.add("lost", len(ends))
        self._finisher.finish(ends, _ignore)


def _ignore(_lost: frozenset[int] | Exception) -> None:
    """A run that moved meanwhile was not lost; after an error the next sweep asks again."""
