"""Stopping: a run that waits ends at once, one that runs is killed where it runs.

In: a run, and why it is to be stopped. Out: `stopped`; or `stopping`, until its executor has reported its end. `/kill` takes
all of the job on that executor, so the siblings there go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.core.chain import chain_end
from gateway.core.context import Context
from gateway.core.errors import Conflict, NotFound, Unreachable
from gateway.core.inflight import Flight
from gateway.core.kills import KillState, kill_state
from gateway.core.model import BROADCAST_PARENT, Run
from gateway.core.policy import seed_of
from gateway.core.ports import StopReport
from gateway.core.sequel import Sequel
from gateway.core.states import WAITING, RunState
from gateway.core.work import Move, Value, Work
from gateway.flow.admit import Admitter
from gateway.flow.dispatch import Dispatcher
from gateway.flow.ports import Finisher

log = structlog.get_logger(__name__)

_STOPPABLE = frozenset({RunState.DISPATCHING, RunState.RUNNING})
_GOING = frozenset({RunState.STOPPING})
STOP_TRIES = 5


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run is stopped, and how one that runs then ends: `timed_out` leaves it its further attempts.

    With `others_again` other runs that the kill takes along are queued again when they have ended (`core.sequel`).
    """

    reason: str = "stopped on request"
    outcome: RunState = RunState.STOPPED
    others_again: bool = False


ON_REQUEST = Stop()


class Stopper:
    def __init__(
        self, context: Context, admitter: Admitter, dispatcher: Dispatcher, finisher: Finisher
    ) -> None:
        self._context = context
        self._admitter = admitter
        self._dispatcher = dispatcher
        self._finisher = finisher

    async def stop(self, run: Run, why: Stop = ON_REQUEST) -> StopReport:
        """By this node, which should own the run's part: it knows what has been sent and not been written yet.

        Raises `Conflict` for a run that is over, and `Unreachable`.
        """
        run_id = run.id
        for _ in range(STOP_TRIES):
            for _ in range(2):  # it may be claimed, or taken back, between a look and what follows
                if await self._stop_before_sending(run, why):
                    if run.root_id != run.id:
                        await self._finisher.close_parent(run.job_id, run.slot_key)
                    return StopReport(run_id, RunState.STOPPED)
                run = await self._look(run_id)
            if run.state is RunState.STOPPING and not self._was_ignored(run):
                if run.sequel == Sequel.AGAIN and not await self._not_again(run, why):
                    run = await self._look(run_id)
                    continue
                return StopReport(run_id, run.state)
            if run.state in WAITING:
                continue
            if run.state not in _STOPPABLE | _GOING:
                raise Conflict(
                    f"run {run_id} is {run.state.word}: only a run that waits or runs can be stopped"
                )
            if run.shard == BROADCAST_PARENT:
                return await self._stop_broadcast(run, why)
            if reached := await self._kill(run, why):
                also = tuple(one.id for one in reached if one.id != run_id)
                return StopReport(run_id, RunState.STOPPING, also)
        raise Conflict(f"run {run_id} is claimed and taken back at this moment: try again")

    async def _stop_unsent(self, flight: Flight, why: Stop) -> None:
        self._context.flights.pop(flight.seed.id)
        now_ms = self._context.clock.now_ms()
        values: dict[str, Value] = {"finished_ms": now_ms, "reason": why.reason}
        sources = frozenset({RunState.DISPATCHING})
        chain = chain_end(flight.seed, flight.order.job, now_ms)
        move = Move(flight.seed.id, RunState.STOPPED, sources, values, claim=flight.claim, chain=chain)
        await self._context.writer.write(Work(moves=[move]))
        self._context.gate.free(flight.seed.id)

    async def _stop_broadcast(self, parent: Run, why: Stop) -> StopReport:
        """Shards that wait end at once, the others are killed where they run."""
        family = await self._context.runs.family(parent.job_id, parent.slot_key)
        gone: list[Run] = []
        failure: Unreachable | None = None
        for run in family:
            if run.state is RunState.STOPPING and run.sequel == Sequel.AGAIN:
                await self._not_again(run, why)
            if run.shard == BROADCAST_PARENT or run.state not in WAITING | _STOPPABLE:
                continue
            try:
                gone += [run] if await self._stop_before_sending(run, why) else await self._kill(run, why)
            except Unreachable as error:
                failure = error
        if failure is not None and not gone:
            raise failure
        await self._mark([parent], why)
        await self._finisher.close_parent(parent.job_id, parent.slot_key)
        return StopReport(parent.id, RunState.STOPPING, tuple({run.id: None for run in gone}))

    async def _stop_before_sending(self, run: Run, why: Stop) -> bool:
        """End a run that waits or is claimed but not sent. False if it is neither."""
        if run.state in WAITING and await self._admitter.stop_waiting(seed_of(run), why.reason):
            return True
        unsent = self._dispatcher.withdraw_run(run.id)
        if unsent is not None:
            await self._stop_unsent(unsent, why)
        return unsent is not None

    async def _kill(self, run: Run, why: Stop) -> list[Run]:
        """Mark what goes, then ask the executor. The mark comes first: the end may be reported before the answer.

        Nothing goes where the run was taken back meanwhile.
        """
        going = [run, *await self._siblings(run)]
        before = {one.id: one.state for one in going}
        if run.id in await self._mark(going, why):
            await self._unmark(going[1:], before, f"run {run.id} was not stopped after all")
            return []
        app = self._context.registry.app(run.app_id)
        try:
            dialect = self._context.registry.dialect_at(run.app_id, run.address, run.dialect)
            answer = await self._context.link.kill(
                run.address, dialect, app.appname if app else "", run.job_id
            )
        except Unreachable as error:
            if not error.may_have_heard:
                await self._unmark(going, before, "the executor could not be reached to stop it")
                raise
            # An executor that stands still reads it when it goes on: what ends then was stopped by this.
            self._context.counters.add("kills_unanswered")
            log.warning("kill_unanswered", run_id=run.id, error=str(error)[:200])
        else:
            self._context.counters.add("kills")
            if not answer.ok:  # some clients say so when nothing runs: the sweeper finds out
                self._context.counters.add("kills_refused")
        return going

    def _was_ignored(self, run: Run) -> bool:
        return kill_state(run, self._context.clock.now_ms()) is KillState.IGNORED

    async def _not_again(self, run: Run, why: Stop) -> bool:
        """A run that was only to make room is stopped for good. False if it has ended meanwhile."""
        self._tell_flight(run.id, why, again=False)
        move = Move(
            run.id, RunState.STOPPING, _GOING, _mark_values(why, self._context.clock.now_ms(), Sequel.BY_JOB)
        )
        return run.id not in (await self._context.writer.write(Work(moves=[move]))).lost_moves

    async def _siblings(self, run: Run) -> list[Run]:
        """Other runs of the job on the same executor."""
        found: list[Run] = []
        after_id = 0
        while page := await self._context.runs.open_runs_of_job(run.job_id, run.part, after_id, 500):
            after_id = page[-1].id
            found += [
                one
                for one in page
                if one.id != run.id
                and one.address == run.address
                and one.state in _STOPPABLE
                and self._is_out(one)
            ]
        return found

    def _is_out(self, run: Run) -> bool:
        """Whether it has been sent; the row learns it a little later than we do."""
        flight = self._context.flights.get(run.id)
        return bool(run.sent_ms) or (flight is not None and bool(flight.order.sent_ms))

    async def _mark(self, runs: Sequence[Run], why: Stop) -> frozenset[int]:
        """Those that could not be marked: they have moved meanwhile. The outcome of one that is not stopped is kept."""
        moves: list[Move] = []
        others: dict[int, Stop] = {}
        now_ms = self._context.clock.now_ms()
        for index, run in enumerate(runs):
            again = index > 0 and why.others_again and run.root_id != runs[0].root_id
            again = again and not _is_spent(run)
            one = why if index == 0 else _together(runs[0], again=again)
            if again:
                others[run.id] = one
            else:
                self._tell_flight(run.id, one, again=False)
            follows = Sequel.AGAIN if again else Sequel.NOTHING if _is_spent(run) else Sequel.BY_JOB
            values = _mark_values(one, now_ms, follows)
            sources = _STOPPABLE | _GOING if index == 0 else _STOPPABLE
            moves.append(Move(run.id, RunState.STOPPING, sources, values))
        lost = (await self._context.writer.write(Work(moves=moves))).lost_moves
        for run_id, one in others.items():  # not before: a result that comes first is the run's own
            self._tell_flight(run_id, one, again=True)
        for run_id in lost:
            flight = self._context.flights.get(run_id)
            if flight is not None:
                flight.stop_asked = False
        return lost

    def _tell_flight(self, run_id: int, why: Stop, *, again: bool) -> None:
        flight = self._context.flights.get(run_id)
        if flight is not None:
            flight.stop_asked, flight.stop_again = True, again
            flight.stop_reason, flight.stop_outcome = why.reason, why.outcome

    async def _unmark(self, runs: Sequence[Run], before: dict[int, RunState], why: str) -> None:
        for run in runs:
            flight = self._context.flights.get(run.id)
            if flight is not None:
                flight.stop_asked = False
        moves = [
            Move(
                run.id,
                RunState.RUNNING,
                _GOING,
                {"reason": why, "stop_asked_ms": 0, "outcome": 0, "sequel": run.sequel},
            )
            for run in runs
            if before[run.id] in _STOPPABLE
        ]
        await self._context.writer.write(Work(moves=moves))

    async def _look(self, run_id: int) -> Run:
        found = await self._context.runs.get_many([run_id])
        if run_id not in found:
            raise NotFound("run", run_id)
        return found[run_id]


def _is_spent(run: Run) -> bool:
    """Whether nothing follows its end: an attempt before it has succeeded after all."""
    return run.sequel == Sequel.NOTHING


def _together(run: Run, *, again: bool) -> Stop:
    why = f"stopped together with run {run.id}: a kill takes the whole job"
    return Stop(f"{why}; it runs again" if again else why)


def _mark_values(why: Stop, now_ms: int, sequel: int) -> dict[str, Value]:
    """What the row of a run says that is being stopped, for whoever learns of its end."""
    return {
        "reason": why.reason,
        "stop_asked_ms": now_ms,
        "outcome": 0 if why.outcome is RunState.STOPPED else int(why.outcome),
        "sequel": int(sequel),
    }
