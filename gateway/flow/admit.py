"""Admit: waiting rows are judged, routed and claimed.

In: rows in `planned` or `queued` whose instant is near. Out: rows in `dispatching`, with address, job version and claim token, handed on with the
deadline by which their bytes must have left; or rows that end here (`skipped`, `failed`) with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

import structlog

from gateway.core.agenda import Agenda
from gateway.core.claims import (
    CatchUps,
    Late,
    is_late,
    late_reason,
    stop_move,
    why_not,
    why_not_any_more,
)
from gateway.core.context import Context
from gateway.core.errors import LeaseLost
from gateway.core.gate import expired_reason
from gateway.core.inflight import Flight
from gateway.core.model import Misfire, NewRun, Run
from gateway.core.paused import Paused, waits_for_end
from gateway.core.places import Scope
from gateway.core.routing import Router
from gateway.core.shards import in_shape
from gateway.core.states import WAITING, RunState
from gateway.core.work import Move, Work, Written
from gateway.flow.claim import Batch
from gateway.flow.replay import Replays
from gateway.flow.take_back import take_back

log = structlog.get_logger(__name__)

LOOK_S = 1  # the longest time between two looks at what is due
RUNS_PER_CLAIM = 1000
CLAIMS_AT_ONCE = 3

OnClaimed = Callable[[list[Flight]], None]
OnUnroutable = Callable[[NewRun, str], None]
OnForeign = Callable[[list[NewRun]], None]
OnReplace = Callable[[int, int], None]


class Admitter:
    """Owns the agenda of waiting runs and turns them into claims, a batch at a time."""

    def __init__(
        self,
        context: Context,
        on_claimed: OnClaimed,
        on_unroutable: OnUnroutable,
        on_foreign: OnForeign,
        on_replace: OnReplace,
        on_stale_limits: Callable[[], object],
        on_stale_pauses: Callable[[], object],
    ) -> None:
        """`on_replace` gets a run that is to be stopped, and the run that it makes room for."""
        self._on_stale_limits = on_stale_limits
        self._on_stale_pauses = on_stale_pauses
        self._context = context
        self._on_replace = on_replace
        self._on_foreign = on_foreign
        self._on_claimed = on_claimed
        self._on_unroutable = on_unroutable
        self._agenda = Agenda()
        self._router = Router(context.chance)
        self._replays = Replays(context)
        self._catch_ups = CatchUps()
        self._early: list[NewRun] = []
        self._paused = Paused()
        self._claims: set[asyncio.Future[None]] = set()
        self.wake = asyncio.Event()
        context.gate.on_room = self.wake.set

    @property
    def waiting(self) -> int:
        return len(self._agenda) + len(self._context.gate) + len(self._paused)

    def next_due_ms(self) -> int | None:
        """When there is something to do at the earliest."""
        times = (self._agenda.next_due_ms(), self._context.gate.next_ms())
        return min((at for at in times if at is not None), default=None)

    def add(self, runs: Iterable[NewRun]) -> list[NewRun]:
        """Take committed rows that wait for their instant; returns those whose part another node owns."""
        held = self._context.held
        others: list[NewRun] = []
        runs = list(runs)
        if not held.is_all:
            others = [run for run in runs if run.part not in held]
            if others:
                runs = [run for run in runs if run.part in held]
        if len(self._context.gate):
            for run in runs:
                self._context.gate.take_out_run(run.id)  # its row says more than the one that waits here
        self._agenda.add(runs)
        soon_ms = self._context.clock.now_ms() + self._context.tuning.claim_lead_ms + 1000 * LOOK_S
        if any(run.due_ms <= soon_ms for run in runs):
            self.wake.set()  # of what is planned ahead the next look is early enough, and claims more at once
        return others

    def drop(self, parts: Collection[int]) -> list[NewRun]:
        """Forget what waits in these parts, and return it: it is in the database for their owner."""
        early = [run for run in self._early if run.part in parts]
        self._early = [run for run in self._early if run.part not in parts]
        return self._agenda.drop(parts) + self._context.gate.drop(parts) + early + self._paused.drop(parts)

    def look_again(self) -> None:
        """Pauses have begun or ended: what waits for their end, or for a place that they keep from it, is judged anew."""
        pauses, now_ms = self._context.pauses, self._context.clock.now_ms()
        held_up = self._context.gate.take_out_where(
            lambda run: pauses.find(run.app_id, run.job_id, now_ms) is not None
        )
        self._agenda.add((*self._paused.take_all(), *held_up))
        self.wake.set()

    # ------------------------------------------------------------ claims

    async def run_once(self, room: int) -> None:
        """Claim what is due within the claim lead, at most `room` runs, and what has got a place meanwhile."""
        context = self._context
        if self._paused.has_end(context.clock.now_ms()):
            self.look_again()
        while room > 0 and len(self._claims) < CLAIMS_AT_ONCE:
            now_ms = context.clock.now_ms()
            until_ms = now_ms + context.tuning.claim_lead_ms
            runs = self._agenda.take(until_ms, min(room, RUNS_PER_CLAIM))
            if not runs and not self._has_word(now_ms):
                break
            room -= max(len(runs), 1)
            try:
                await self._replays.load(runs)
                jobs = [(job_id, 0) for job_id in {run.job_id for run in runs}]
                await context.specs.ensure(jobs)
                while await self._count(job_id for job_id, _ in jobs):
                    await context.specs.ensure(jobs)  # one that was edited meanwhile is not there now
                if not context.held.is_all:
                    runs = [run for run in runs if run.part in context.held]
                self._claim(runs)
            except Exception:
                # Each of them once: of two of a run in one claim, the second would lose the claim of the first.
                early, self._early = self._early, []
                again = {run.id: run for run in (*runs, *early) if run.id not in context.gate}
                self._agenda.add(again.values())
                raise
        early, self._early = self._early, []
        self._agenda.add(early)

    def _has_word(self, now_ms: int) -> bool:
        """Whether the gate may let somebody in, or turn him away."""
        next_ms = self._context.gate.next_ms()
        return next_ms is not None and next_ms <= now_ms

    async def _count(self, job_ids: Iterable[int]) -> bool:
        """Read how many runs are under way of jobs and apps whose limits have not been met before; whether any was."""
        context, gate = self._context, self._context.gate
        unknown: dict[Scope, None] = {}
        for job_id in job_ids:
            job = context.specs.job(job_id)
            if job is not None and job.part in context.held:
                unknown.update(dict.fromkeys(gate.unknown_scopes(job)))
        if not unknown:
            return False
        await self.settled()  # what is being claimed at this moment is counted by its row
        now_ms = context.clock.now_ms()
        for scope in unknown:
            known = False
            while not known and scope.part in context.held:
                drops = gate.drops
                found = await context.runs.under_way(scope)
                # Of parts that have been away meanwhile, another node may have claimed runs.
                if known := gate.drops == drops:
                    gate.learn(scope, found, now_ms)
        return True

    def _claim(self, runs: Sequence[NewRun]) -> None:
        """Judge these runs, and claim those that may start, together with those that have waited until now."""
        context, gate = self._context, self._context.gate
        batch = Batch(context, self._router, self._replays)
        now_ms = batch.now_ms
        late: Late | None = None
        pauses = context.pauses or None
        for run in runs:
            spec = context.specs.get(run.job_id)
            job = spec.job if spec else None
            reason = why_not(run, job)
            if (
                pauses
                and reason is None
                and (pause := pauses.find(run.app_id, run.job_id, max(now_ms, run.due_ms)))
            ):
                if waits_for_end(run, job):
                    self._paused.add(run, pause, pauses, now_ms)
                    continue
                if run.due_ms > now_ms:
                    self._early.append(run)  # the pause may be over by then
                    continue
                reason = pause.words
            if reason is None and job is not None and is_late(run, job, now_ms):
                if late is None and job.misfire is not Misfire.SKIP:
                    late = Late((*runs, *self._agenda.until(now_ms)), context.specs.job, now_ms)
                reason = late_reason(run, job, now_ms, late, self._catch_ups)
                if reason is None:
                    self._catch_ups.note(run)
            if reason is not None or job is None:
                batch.skip(run, reason or "", job)
            elif spec is not None and (reason := why_not_any_more(run, spec)) is not None:
                batch.stop(run, reason, job)  # its parent has started, so it is not skipped
            elif run.part != job.part:
                self._move_to_part(run, job.part)
            elif (reason := expired_reason(run, job, now_ms)) is not None:
                batch.end(run, RunState.EXPIRED, reason, job)
            elif run.id in gate.places:
                self._told_of_twice(run)
            elif gate.is_limited(job):
                gate.offer(in_shape(run, job), job, now_ms)
            else:
                batch.start(in_shape(run, job), job)
        try:
            self._let_in(batch)
        except Exception:
            self._release(batch.waited)
            self._agenda.add(batch.waited)
            raise
        self._early.extend(batch.early)
        self._release(batch.early)
        self._release(run for run, _ in batch.unroutable)
        for run, why in batch.unroutable:
            self._on_unroutable(run, why)
        if batch.moves:
            self._write(batch)

    def _let_in(self, batch: Batch) -> None:
        """Those that have waited for a place: who gets one now, and who has waited in vain."""
        context = self._context
        if not self._has_word(batch.now_ms):
            return
        made = context.gate.decide(batch.now_ms, RUNS_PER_CLAIM)
        batch.waited = [*made.start, *(run for run, _, _ in made.end)]
        for run, state, reason in made.end:
            batch.end(run, state, reason, context.specs.job(run.job_id))
        for run in made.start:
            spec = context.specs.get(run.job_id)
            if spec is None:
                self._release((run,))
                self._agenda.add((run,))  # its job is read again first
            elif run.part != spec.job.part:
                self._release((run,))
                self._move_to_part(
                    run, spec.job.part
                )  # while it waited here: this node may not own the new part
            else:
                batch.judged_by(context.registry.app(run.app_id), run.job_id)
                batch.start(run, spec.job, made.waited.get(run.id, ""))
        for run_id, by in made.stop:
            self._on_replace(run_id, by)

    def _told_of_twice(self, run: NewRun) -> None:
        """It has a place already: it is on its way, or its row has come back before its place was free."""
        if self._context.flights.get(run.id) is None:
            self._early.append(run)

    def _release(self, runs: Iterable[NewRun]) -> None:
        """They have no place: none of them was claimed."""
        for run in runs:
            self._context.gate.free(run.id)

    def _write(self, batch: Batch) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_written(result: Written | Exception) -> None:
            self._claims.discard(done)
            done.set_result(None)
            if isinstance(result, Exception):
                self._not_claimed(batch, result)
            else:
                self._claimed(batch, result)

        self._claims.add(done)
        judged = tuple(batch.judged.values())
        pauses = self._context.pauses.revision
        work = Work(moves=batch.moves, lease=self._context.lease, judged=judged, pauses=pauses)
        self._context.writer.submit(work, on_written)

    def _claimed(self, batch: Batch, written: Written) -> None:
        lost, gate = written.lost_moves, self._context.gate
        if lost:
            self._release(run for run in batch.waited if run.id in lost)
        if written.pauses_changed:
            self._on_stale_pauses()
        if written.stale_jobs:
            if batch.judged:
                self._on_stale_limits()
            self._context.specs.invalidate(written.stale_jobs)
            self.add(run for run in batch.runs if run.id in lost and run.job_id in written.stale_jobs)
        flights = batch.flights
        won = (
            [flight for run_id, flight in flights.items() if run_id not in lost]
            if lost
            else list(flights.values())
        )
        for flight in won:
            self._context.flights.add(flight)
        for parent_id, shards in batch.expanded.items():
            if parent_id not in lost:
                self.add(shards)
        for run in batch.waited:
            gate.places.settle(run.id)
        if won:
            self._context.signals.reached("after_claim", [flight.seed.id for flight in won])
            self._context.counters.add("claimed", len(won))
            self._on_claimed(won)
        if batch.expanded or written.stale_jobs:
            self.wake.set()

    def _move_to_part(self, run: NewRun, part: int) -> None:
        """Its job belongs to another part since it was inserted: its app has got a limit, or has none any more."""
        move = Move(run.id, RunState.QUEUED, WAITING, {"part": part, "open_part": part})

        def on_written(result: Written | Exception) -> None:
            if isinstance(result, Exception):
                log.warning("run_not_moved", run_id=run.id, error=str(result)[:200])
                self._agenda.add((run,))
            elif run.id not in result.lost_moves:
                run.part = part
                self._on_foreign(self.add((run,)))

        self._context.writer.submit(Work(moves=[move], lease=self._context.lease), on_written)

    def _not_claimed(self, batch: Batch, error: Exception) -> None:
        self._release(batch.waited)
        if isinstance(error, LeaseLost):
            return  # another node has these runs now; the next renewal tells the rest
        log.warning("claim_failed", runs=len(batch.runs), error=str(error)[:200])
        self.add(batch.runs)

    def strays(self, overdue: Iterable[Run]) -> list[Run]:
        """Those of these rows that neither wait here nor are on their way: nobody would start or end them."""
        flights, places = self._context.flights, (self._agenda, self._context.gate, self._paused)
        return [
            run
            for run in overdue
            if not any(run.id in place for place in places) and flights.get(run.id) is None
        ]

    # ------------------------------------------------------------ edits

    async def settled(self) -> None:
        """Return when no claim that is now on its way to the database still is."""
        if self._claims:
            await asyncio.wait(tuple(self._claims))

    async def take_back(self, flights: Sequence[Flight], why: str) -> list[NewRun]:
        """Claimed runs that were provably not sent wait again, unless their job no longer wants them.

        Returns those that wait in parts of other nodes.
        """
        return self.add(await take_back(self._context, flights, why)) if flights else []

    def reconsider(self, job_ids: Collection[int] | None) -> None:
        """What waits for a place is judged again, by these jobs as they are now; None for all jobs."""
        gate = self._context.gate
        self._agenda.add(gate.take_out_all() if job_ids is None else gate.take_out(job_ids))
        self.wake.set()

    async def stop_waiting(self, run: NewRun, reason: str) -> bool:
        """End a run that waits. False if it no longer does."""
        await self._context.specs.ensure([(run.job_id, 0)])
        now_ms = self._context.clock.now_ms()
        move = stop_move(run, reason, now_ms, self._context.specs.job(run.job_id))
        written = await self._context.writer.write(Work(moves=[move]))
        self._context.gate.take_out_run(run.id)
        return run.id not in written.lost_moves
