"""What people and programs ask of the running flow. Implements `core.operations.Operations`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from gateway.core.catalog import RunCatalog
from gateway.core.errors import AlreadySubmitted, Conflict, InvalidValue, NotFound, StoreError, Unreachable
from gateway.core.idempotency import IdempotencyKey
from gateway.core.model import BROADCAST_PARENT, DEFAULT_NAMESPACE, Executor, Job, LogPage, TriggerKind
from gateway.core.ports import Health, StopReport
from gateway.core.states import IN_FLIGHT, WAITING
from gateway.core.submission import NOW, Submission, Submitted
from gateway.flow.loops import Flow
from gateway.flow.stopping import Stop
from gateway.flow.submit import outcomes_of
from gateway.flow.timekeeping import Timekeeper

log = structlog.get_logger(__name__)


class FlowOperations:
    def __init__(self, flow: Flow, runs: RunCatalog, keeper: Timekeeper) -> None:
        self._flow = flow
        self._keeper = keeper
        self._context = flow.context
        self._runs = runs
        flow.stop_run = self._stop_for

    async def trigger(
        self, job_id: int, wanted: Submission = NOW, *, kind: TriggerKind = TriggerKind.API
    ) -> int:
        job = await self.startable(job_id)
        submitted = await self._flow.submitter.one(job, wanted, kind)
        if not submitted.is_new:
            raise AlreadySubmitted(wanted.task_id or "", submitted.first_id)
        return submitted.run_id

    async def submit(
        self,
        job_id: int,
        wanted: Sequence[Submission],
        *,
        kind: TriggerKind = TriggerKind.API,
        key: IdempotencyKey | None = None,
    ) -> list[Submitted | InvalidValue]:
        submitter = self._flow.submitter
        record = None if key is None else await submitter.earlier(DEFAULT_NAMESPACE, key)
        if record is not None and record.done:
            return outcomes_of(wanted, record)
        return await submitter.many(await self.startable(job_id), wanted, kind, key, record)

    async def startable(self, job_id: int) -> Job:
        """The job, of which runs may be submitted. Raises `NotFound`."""
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
        return spec.job

    async def jobs_changed(self, job_ids: Collection[int]) -> None:
        await asyncio.gather(self._flow.jobs_changed(job_ids), self._flow.neighbours.tell_change(job_ids))

    def backfills_changed(self) -> None:
        self._flow.backfiller.wake.set()

    async def pauses_changed(self) -> None:
        await asyncio.gather(self._flow.pausing.changed(), self._flow.neighbours.tell_pauses())

    async def app_changed(self, app_id: int, moved: Collection[int] = ()) -> None:
        await asyncio.gather(self._flow.app_changed(app_id), self._flow.neighbours.tell_app(app_id))
        if moved:
            await self.jobs_changed(moved)

    async def access_changed(self) -> None:
        await self._flow.doorkeeper.load()
        self._flow.neighbours.nudge_all()

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
        return await self._flow.stopper.stop(run)

    async def stop_here_by_id(self, run_id: int) -> StopReport:
        """What another node has handed on to this one."""
        return await self._flow.stopper.stop(await self._runs.get(run_id))

    async def _stop_for(self, run_id: int, reason: str) -> StopReport:
        """Stop a run of this node's own parts to make room; others that go with it run again."""
        why = Stop(reason, others_again=True)
        return await self._flow.stopper.stop(await self._runs.get(run_id), why)

    # ------------------------------------------------------------ log

    async def log(self, run_id: int, from_line: int) -> LogPage:
        """Lines of the executor's log. The end is there when the run is over and nothing more came."""
        run = await self._runs.get(run_id)
        if run.shard == BROADCAST_PARENT:
            raise Conflict(f"run {run_id} is the parent of a broadcast: its shards have the logs")
        if not run.address or not run.trigger_ms:
            raise Conflict(f"run {run_id} is {run.state.word} and was never sent: there is no log")
        app = self._context.registry.app(run.app_id)
        dialect = self._context.registry.dialect_at(run.app_id, run.address, run.dialect)
        page = await self._context.link.log(
            run.address, dialect, app.appname if app else "", run.log_id, run.trigger_ms, from_line
        )
        over = run.state not in WAITING | IN_FLIGHT
        if page is None:
            return LogPage(from_line, from_line - 1, "", is_end=over)
        is_end = over and (page.is_end or page.to_line < from_line)
        return LogPage(from_line, page.to_line, page.content, is_end=is_end)
