"""What people and programs ask of the running flow. Implements `core.ports.Operations`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from gateway.core.catalog import RunCatalog
from gateway.core.chain import chain_end
from gateway.core.errors import AlreadySubmitted, Conflict, NotFound, StoreError, Unreachable
from gateway.core.inflight import Flight
from gateway.core.model import BROADCAST_PARENT, Executor, LogPage, Run, TriggerKind
from gateway.core.policy import seed_of
from gateway.core.ports import Health, StopReport
from gateway.core.states import IN_FLIGHT, WAITING, RunState
from gateway.core.work import Move, Value, Work
from gateway.flow.loops import Flow
from gateway.flow.timekeeping import Timekeeper

log = structlog.get_logger(__name__)

_STOPPABLE = frozenset({RunState.DISPATCHING, RunState.RUNNING})
_REASON = "stopped on request"
STOP_TRIES = 5


class FlowOperations:
    def __init__(self, flow: Flow, runs: RunCatalog, keeper: Timekeeper) -> None:
        self._flow = flow
        self._keeper = keeper
        self._context = flow.context
        self._runs = runs
        flow.stop_run = self._stop_for

    async def trigger(
        self,
        job_id: int,
        *,
        params: str | None,
        addresses: tuple[str, ...] | None,
        task_id: str | None,
        kind: TriggerKind,
    ) -> int:
        spec = self._context.specs.get(job_id)
        if spec is None:
            await self._context.specs.ensure([(job_id, 0)])
            spec = self._context.specs.get(job_id)
            if spec is None:
                raise NotFound("job", job_id)
        if not self._flow.ready:
            raise StoreError("the scheduler is starting or stopping: try again in a moment")
        pause = self._context.pauses.find(spec.job.app_id, job_id, self._context.clock.now_ms())
        if pause is not None:
            raise Conflict(f"job {job_id} cannot be triggered: {pause.words}")
        run, first_id = await self._flow.admitter.request(
            spec.job, kind=kind, params=params, addresses=addresses, task_id=task_id
        )
        if first_id != run.id:
            raise AlreadySubmitted(task_id or "", first_id)
        if run.part not in self._context.held:
            self._flow.neighbours.nudge_owner(run.part)
        return run.id

    async def jobs_changed(self, job_ids: Collection[int]) -> None:
        await asyncio.gather(self._flow.jobs_changed(job_ids), self._flow.neighbours.tell_change(job_ids))

    async def pauses_changed(self) -> None:
        await asyncio.gather(self._flow.pausing.changed(), self._flow.neighbours.tell_pauses())

    async def app_changed(self, app_id: int, moved: Collection[int] = ()) -> None:
        await asyncio.gather(self._flow.app_changed(app_id), self._flow.neighbours.tell_app(app_id))
        if moved:
            await self.jobs_changed(moved)

    def live_executors(self, app_id: int) -> list[Executor]:
        return self._context.registry.executors(app_id)

    def health(self) -> Health:
        health = self._flow.health()
        if self._keeper.problem is None:
            return health
        return replace(health, problems=(*health.problems, self._keeper.problem))

    # ------------------------------------------------------------ stop

    async def stop(self, run_id: int) -> StopReport:
        """A waiting run ends at once. A running one is `stopping` until its executor has reported its end.

        `/kill` takes all of the job on that executor, so the siblings there go with it. The owner of the run's part
        does it: it knows what has been sent and not been written yet.
        """
        run = await self._runs.get(run_id)
        owner = self._flow.ownership.owner(run.part)
        if owner is not None and run.state in WAITING | IN_FLIGHT:
            try:
                return await self._flow.neighbours.stop(owner, run_id)
            except Unreachable as error:
                log.warning("stop_not_handed_on", run_id=run_id, node=owner.name, error=str(error))
        return await self.stop_here(run)

    async def stop_here_by_id(self, run_id: int) -> StopReport:
        """What another node has handed on to this one."""
        return await self.stop_here(await self._runs.get(run_id))

    async def _stop_for(self, run_id: int, reason: str) -> StopReport:
        """Stop a run of this node's own parts."""
        return await self.stop_here(await self._runs.get(run_id), reason)

    async def stop_here(self, run: Run, reason: str = _REASON) -> StopReport:
        """As `stop`, by this node."""
        run_id = run.id
        for _ in range(STOP_TRIES):
            for _ in range(2):  # it may be claimed, or taken back, between a look and what follows
                if await self._stop_before_sending(run, reason):
                    if run.root_id != run.id:
                        await self._flow.completer.close_parent(run.job_id, run.slot_key)
                    return StopReport(run_id, RunState.STOPPED)
                run = await self._runs.get(run_id)
            if run.state is RunState.STOPPING:
                return StopReport(run_id, run.state)
            if run.state in WAITING:
                continue
            if run.state not in _STOPPABLE:
                raise Conflict(
                    f"run {run_id} is {run.state.word}: only a run that waits or runs can be stopped"
                )
            if run.shard == BROADCAST_PARENT:
                return await self._stop_broadcast(run, reason)
            if reached := await self._kill(run, reason):
                also = tuple(one.id for one in reached if one.id != run_id)
                return StopReport(run_id, RunState.STOPPING, also)
        raise Conflict(f"run {run_id} is claimed and taken back at this moment: try again")

    async def _stop_unsent(self, flight: Flight, reason: str) -> None:
        self._context.flights.pop(flight.seed.id)
        now_ms = self._context.clock.now_ms()
        values: dict[str, Value] = {"finished_ms": now_ms, "reason": reason}
        sources = frozenset({RunState.DISPATCHING})
        chain = chain_end(flight.seed, flight.order.job, now_ms)
        move = Move(flight.seed.id, RunState.STOPPED, sources, values, claim=flight.claim, chain=chain)
        await self._context.writer.write(Work(moves=[move]))
        self._context.gate.free(flight.seed.id)

    async def _stop_broadcast(self, parent: Run, reason: str) -> StopReport:
        """Shards that wait end at once, the others are killed where they run."""
        family = await self._context.runs.family(parent.job_id, parent.slot_key)
        gone: list[Run] = []
        failure: Unreachable | None = None
        for run in family:
            if run.shard == BROADCAST_PARENT or run.state not in WAITING | _STOPPABLE:
                continue
            try:
                is_gone = await self._stop_before_sending(run, reason)
                gone += [run] if is_gone else await self._kill(run, reason)
            except Unreachable as error:
                failure = error
        if failure is not None and not gone:
            raise failure
        await self._mark([parent], reason)
        await self._flow.completer.close_parent(parent.job_id, parent.slot_key)
        return StopReport(parent.id, RunState.STOPPING, tuple({run.id: None for run in gone}))

    async def _stop_before_sending(self, run: Run, reason: str) -> bool:
        """End a run that waits or is claimed but not sent. False if it is neither."""
        if run.state in WAITING and await self._flow.admitter.stop_waiting(seed_of(run), reason):
            return True
        unsent = self._flow.dispatcher.withdraw_run(run.id)
        if unsent is not None:
            await self._stop_unsent(unsent, reason)
        return unsent is not None

    async def _kill(self, run: Run, reason: str) -> list[Run]:
        """Mark what goes, then ask the executor. The mark comes first: the end may be reported before the answer.

        Nothing goes where the run was taken back meanwhile.
        """
        going = [run, *await self._siblings(run)]
        before = {one.id: one.state for one in going}
        if run.id in await self._mark(going, reason):
            await self._unmark(going[1:], before, f"run {run.id} was not stopped after all")
            return []
        app = self._context.registry.app(run.app_id)
        try:
            answer = await self._context.link.kill(
                run.address, run.dialect, app.appname if app else "", run.job_id
            )
        except Unreachable:
            await self._unmark(going, before, "the executor could not be reached to stop it")
            raise
        if not answer.ok:
            # Some clients answer 500 when nothing runs: the sweeper finds out.
            self._context.counters.add("kills_refused")
        self._context.counters.add("kills")
        return going

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

    async def _mark(self, runs: Sequence[Run], reason: str) -> frozenset[int]:
        """Those that could not be marked: they have moved meanwhile."""
        moves: list[Move] = []
        for index, run in enumerate(runs):
            why = (
                reason
                if index == 0
                else f"stopped together with run {runs[0].id}: a kill takes the whole job"
            )
            flight = self._context.flights.get(run.id)
            if flight is not None:
                flight.stop_asked, flight.stop_reason = True, why
            moves.append(Move(run.id, RunState.STOPPING, _STOPPABLE, {"reason": why}))
        lost = (await self._context.writer.write(Work(moves=moves))).lost_moves
        for run_id in lost:
            flight = self._context.flights.get(run_id)
            if flight is not None:
                flight.stop_asked = False
        return lost

    async def _unmark(self, runs: Sequence[Run], before: dict[int, RunState], why: str) -> None:
        for run in runs:
            flight = self._context.flights.get(run.id)
            if flight is not None:
                flight.stop_asked = False
        moves = [
            Move(run.id, RunState.RUNNING, frozenset({RunState.STOPPING}), {"reason": why})
            for run in runs
            if before[run.id] in _STOPPABLE
        ]
        await self._context.writer.write(Work(moves=moves))

    # ------------------------------------------------------------ log

    async def log(self, run_id: int, from_line: int) -> LogPage:
        """Lines of the executor's log. The end is there when the run is over and nothing more came."""
        run = await self._runs.get(run_id)
        if run.shard == BROADCAST_PARENT:
            raise Conflict(f"run {run_id} is the parent of a broadcast: its shards have the logs")
        if not run.address or not run.trigger_ms:
            raise Conflict(f"run {run_id} is {run.state.word} and was never sent: there is no log")
        app = self._context.registry.app(run.app_id)
        page = await self._context.link.log(
            run.address, run.dialect, app.appname if app else "", run.id, run.trigger_ms, from_line
        )
        over = run.state not in WAITING | IN_FLIGHT
        if page is None:
            return LogPage(from_line, from_line - 1, "", is_end=over)
        is_end = over and (page.is_end or page.to_line < from_line)
        return LogPage(from_line, page.to_line, page.content, is_end=is_end)
