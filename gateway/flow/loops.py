"""The only module that joins the stages: it owns them, starts their loops and answers for the node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from gateway.core.access import Reach
from gateway.core.backfill import BackfillStore
from gateway.core.cluster import Identity
from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.errors import Conflict, GatewayError, LeaseLost, StoreError
from gateway.core.events import EventWriter, Level, Source
from gateway.core.idempotency import CallRecords
from gateway.core.inflight import Flight
from gateway.core.model import Beat, ExecutorResult, NewRun, Run
from gateway.core.pauses import PauseReader
from gateway.core.ports import (
    AppReader,
    ExecutorWriter,
    ForeignResults,
    Health,
    NodeStore,
    Peers,
    Spool,
    Writer,
)
from gateway.core.retention import EVENT_DAYS, RUN_DAYS, History
from gateway.core.states import RunState
from gateway.flow.access import Doorkeeper
from gateway.flow.admit import LOOK_S, Admitter
from gateway.flow.backfill import Backfiller
from gateway.flow.complete import Completer
from gateway.flow.deadlines import Deadlines
from gateway.flow.dispatch import Dispatcher
from gateway.flow.estate import Estate
from gateway.flow.follow import Follower
from gateway.flow.limits import Limiter
from gateway.flow.neighbours import Neighbours
from gateway.flow.ownership import Ownership
from gateway.flow.pausing import Pausing
from gateway.flow.plan import Planner
from gateway.flow.presence import CreateApp, Presence
from gateway.flow.report import Reporter
from gateway.flow.retention import Retention
from gateway.flow.scribe import Scribe
from gateway.flow.settle import Settler
from gateway.flow.stopping import Stop, Stopper
from gateway.flow.strays import Strays
from gateway.flow.submit import Submitter
from gateway.flow.sweep import Sweeper
from gateway.flow.verdicts import Verdicts

log = structlog.get_logger(__name__)

CLAIMED_AT_ONCE = 4000
STALL_S = 5.0


StopRun = Callable[[int, str], Awaitable[object]]


async def _cannot_stop(run_id: int, reason: str) -> None:
    raise Conflict(f"run {run_id} cannot be stopped yet ({reason})")


class Flow:
    """All stages of one node. `start` recovers what an earlier life left, `stop` hands over in order."""

    def __init__(
        self,
        context: Context,
        *,
        apps: AppReader,
        pauses: PauseReader,
        backfills: BackfillStore,
        executors: ExecutorWriter,
        foreign: ForeignResults,
        events: EventWriter,
        history: History,
        spool: Spool,
        nodes: NodeStore,
        calls: CallRecords,
        identity: Identity,
        on_fatal: Callable[[Exception], None],
        peers: Peers | None = None,
        wall_offset: Callable[[], int] | None = None,
        plan_writer: Writer | None = None,
        result_writer: Writer | None = None,
        create_app: CreateApp | None = None,
        retention_days: int = RUN_DAYS,
        event_days: int = EVENT_DAYS,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        self.context = context
        self.doorkeeper = doorkeeper or Doorkeeper(context)
        self._nodes = nodes
        verdicts = Verdicts(self)
        self.ownership: Ownership
        self.follower: Follower
        self.pausing: Pausing
        self.neighbours = Neighbours(context, nodes, peers, lambda: self.ownership, self.spawn)
        self.admitter = Admitter(
            context,
            self._claimed,
            verdicts.unroutable,
            self.neighbours.leave_to_owner,
            self._replace,
            lambda: self.spawn(self.follower.reload_apps()),
            lambda: self.spawn(self.pausing.catch_up()),
        )
        self.limiter = Limiter(context)
        self.submitter = Submitter(context, calls, self.queued, self.neighbours.nudge_owner, plan_writer)
        self.planner = Planner(context, self.admitter.add, plan_writer)
        self.deadlines = Deadlines(context, self._kill, self.spawn)
        self.dispatcher = Dispatcher(context, verdicts, self.deadlines.taken)
        self.settler = Settler(context, verdicts)
        self.completer = Completer(
            context,
            self.queued,
            self.neighbours.ended_for_others,
            result_writer,
            self.neighbours.nudge_owner,
        )
        self.reporter = Reporter(context, self.completer, foreign, spool, self.neighbours)
        self.stopper = Stopper(context, self.admitter, self.dispatcher, self.completer)
        self.sweeper = Sweeper(context, self.completer, self.deadlines.running)
        self.scribe = Scribe(context, events)
        self.retention = Retention(context, history, retention_days, event_days)
        self.presence = Presence(
            context, executors, create_app, self.neighbours.nudge_all, self.neighbours.pass_beat
        )
        self.backfiller = Backfiller(context, backfills, self.queued)
        self.pausing = Pausing(context, pauses, self.admitter, self.dispatcher, self.spawn)
        self.follower = Follower(
            context, apps, self._jobs_may_have_changed, self.queued, self.pausing, self.doorkeeper
        )
        self.estate = Estate(
            context,
            self.planner,
            self.admitter,
            self.dispatcher,
            self.settler,
            self.follower,
            self.neighbours,
            self.spawn,
            self.deadlines.running,
        )
        self.strays = Strays(context, self.admitter, self.settler, self.estate)
        self.ownership = Ownership(context, nodes, self.estate, identity, on_fatal, wall_offset)
        self._loops: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._grace_over = False
        self._planned_at = 0.0
        self._replan = asyncio.Event()
        self.stop_run: StopRun = _cannot_stop  # what people and programs use stops runs for the flow as well
        self.ready = False
        context.writer.add_lazy(self.dispatcher.answers)

    # ------------------------------------------------------------ executors' desk

    async def register(self, beat: Beat) -> None:
        await self.presence.register(beat)

    async def remove(self, appname: str, address: str) -> None:
        await self.presence.remove(appname, address)

    async def report(self, results: Sequence[ExecutorResult], client: str, reach: Reach) -> bool:
        if not reach.is_everything:
            return await self.doorkeeper.report(results, client, reach, self.reporter.report)
        return await self.reporter.report(results, client)

    # ------------------------------------------------------------ life

    async def start(self, seen_ms: int) -> None:
        """Load, recover and begin. `seen_ms`: when this node's last life wrote its last beat, 0 if never."""
        context = self.context
        await self.follower.load(dict((await self._nodes.look(())).revisions))
        context.registry.pardon(seen_ms, context.clock.now_ms())
        await context.refill_ids()
        # From the first moment: what was left behind may take longer to read than a lease lasts.
        self._begin("renew", self.ownership.renew)
        await self.ownership.start()
        await self.planner.run_once()
        self._planned_at = context.clock.monotonic()
        loops = {
            "plan": self._plan_loop,
            "admit": self._admit_loop,
            "dispatch": self.dispatcher.run,
            "report": self.reporter.watch,
            "replay": self._replay_loop,
            "sweep": self._sweep_loop,
            "presence": self.presence.run,
            "strays": self.strays.run,
            "limits": self.limiter.run,
            "ownership": self.ownership.run,
            "scribe": self.scribe.run,
            "deadlines": self.deadlines.run,
            "retention": self.retention.run,
            "backfill": self.backfiller.run,
        }
        for name, loop in loops.items():
            self._begin(name, loop)
        self.ready = True
        text = f"epoch {context.lease.epoch}, {len(context.held)} parts"
        context.journal.note(
            context.clock.now_ms(), Level.INFO, Source.NODE, context.lease.node, "joined", text
        )

    def _begin(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        self._loops.append(asyncio.create_task(self._forever(name, loop), name=f"flow-{name}"))

    async def stop(self) -> None:
        """Whatever of these steps has not been done yet, then the end of all loops."""
        await self.stop_sending()
        await self.await_results()
        for task in self._loops:
            task.cancel()
        self.settler.stop()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        await self.presence.save()
        await self.scribe.write()

    async def stop_sending(self) -> None:
        """No new dispatch; unsent claims go back."""
        if self._stopping:
            return
        self._stopping = True
        self.ready = False
        self.ownership.renewing = False  # should this not come to its end, others may end the lease
        log.info("stopping", in_flight=len(self.context.flights))
        withdrawn = self.dispatcher.withdraw_all()
        await self.admitter.settled()
        withdrawn += self.dispatcher.withdraw_all()
        await self.admitter.take_back(withdrawn, "the node was stopped before it was sent")
        await self.ownership.leave()

    async def await_results(self) -> None:
        """Results of what was sent are taken for a grace period."""
        if self._grace_over:
            return
        clock = self.context.clock
        grace_ends = clock.monotonic() + self.context.tuning.stop_grace_s
        while len(self.context.flights) and clock.monotonic() < grace_ends:
            await clock.sleep(0.05)
        self._grace_over = True

    async def _forever(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep a loop going: an error is logged and the loop begins again, after a lost lease under the next one."""
        while True:
            try:
                await loop()
                return
            except LeaseLost:
                self.ownership.wake.set()
                await self.context.clock.sleep(0.1)
            except Exception as error:
                log.exception("loop_failed", loop=name, error=str(error)[:200])
                await self.context.clock.sleep(1)

    async def _plan_loop(self) -> None:
        context = self.context
        while not self._stopping:
            self._replan.clear()
            begun = context.clock.monotonic()
            await context.refill_ids()
            await self.planner.run_once()
            self._planned_at = context.clock.monotonic()
            next_look = begun + context.tuning.plan_every_ms / 1000
            await context.clock.wait(self._replan, max(next_look - self._planned_at, 0))

    async def _admit_loop(self) -> None:
        context = self.context
        tick_s = context.tuning.tick_ms / 1000
        while not self._stopping:
            next_due = self.admitter.next_due_ms()
            wait_s: float = tick_s
            if next_due is None:
                wait_s = LOOK_S
            elif next_due > context.clock.now_ms() + context.tuning.claim_lead_ms:
                ahead_ms = next_due - context.clock.now_ms() - context.tuning.claim_lead_ms
                wait_s = min(max(ahead_ms / 1000, tick_s), LOOK_S)
            self.admitter.wake.clear()
            if self._caught_up():
                await self.admitter.run_once(CLAIMED_AT_ONCE - self.dispatcher.held)
                next_due = self.admitter.next_due_ms()
            await context.clock.wait(self.admitter.wake, wait_s)

    def _caught_up(self) -> bool:
        """Whether all slots up to now have rows: after an outage late slots must be judged together."""
        return self.planner.planned_until_ms >= self.context.clock.now_ms() and self.context.writer.healthy

    async def _replay_loop(self) -> None:
        while True:
            if self.context.writer.healthy:
                await self.reporter.replay()
            else:
                with contextlib.suppress(StoreError):  # the writer has said it already
                    await self.reporter.replay()
            await self.context.clock.sleep(1)

    async def _sweep_loop(self) -> None:
        while True:
            # Never in step with a schedule: short runs of a job would look as if it were always busy.
            stretch = self.context.chance.uniform(0.75, 1.25)
            await self.context.clock.sleep(self.context.tuning.sweep_every_s * stretch)
            await self.sweeper.run_once()

    # ------------------------------------------------------------ hand-over between stages

    def _claimed(self, flights: list[Flight]) -> None:
        if self._stopping:
            self.spawn(self.admitter.take_back(flights, "the node was stopped before it was sent"))
        else:
            self.dispatcher.add(flights)

    def _replace(self, run_id: int, by: int) -> None:
        """Stop a run of a job that is due again: `by` is to have its place."""

        async def stop() -> None:
            try:
                await self.stop_run(run_id, f"replaced by run {by}: overlap replace")
            except GatewayError as error:
                log.warning("run_not_replaced", run_id=run_id, by=by, error=str(error)[:200])
                self.context.gate.not_stopped(run_id)

        self.spawn(stop())

    def queued(self, runs: Iterable[NewRun]) -> None:
        """Rows that wait: into the agenda, or left to the owner of their part."""
        self.neighbours.leave_to_owner(self.admitter.add(runs))

    async def _kill(self, run: Run, why: str) -> None:
        """What has run for too long: it has failed, and may be tried again."""
        await self.stopper.stop(run, Stop(f"{why}: stopped", RunState.TIMED_OUT))

    async def end(self, end: End) -> None:
        """Write an ending and wait for it, however long the database takes."""
        await self.completer.prepare([end.seed.job_id], patiently=True)
        await self.completer.ended(end)

    def spawn(self, work: Awaitable[object]) -> None:
        """Run something that a callback began; its failure is logged."""

        async def run() -> None:
            try:
                await work
            except LeaseLost:
                self.ownership.wake.set()
            except Exception as error:
                log.exception("hand_over_failed", error=str(error)[:200])

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ changes

    async def jobs_changed(self, job_ids: Collection[int]) -> None:
        """After a committed change: returns when no claim made under the old version is left unsent."""
        self.context.specs.invalidate(job_ids)
        self._replan.set()
        self.admitter.reconsider(job_ids)
        await self.admitter.settled()
        withdrawn = self.dispatcher.withdraw(frozenset(job_ids))
        await self.admitter.take_back(withdrawn, "claimed again: the job was changed before it was sent")

    async def app_changed(self, app_id: int) -> None:
        """After a committed change: returns when no claim made under the old limits and settings is left unsent."""
        await self.follower.reload_apps()
        await self.admitter.settled()
        await self.jobs_changed(self.dispatcher.jobs_of_app(app_id))

    def _jobs_may_have_changed(self) -> None:
        self._replan.set()
        self.admitter.reconsider(None)

    # ------------------------------------------------------------ health

    def health(self) -> Health:
        context = self.context
        problems: list[str] = []
        if not self.ready:
            problems.append("the scheduler is starting or stopping")
        if not context.writer.healthy:
            problems.append("the database does not take writes")
        if self.ownership.problem is not None:
            problems.append(self.ownership.problem)
        stalled_s = context.clock.monotonic() - self._planned_at
        if self.ready and stalled_s > STALL_S:
            problems.append(f"slots have not been planned for {stalled_s:.0f} s")
        gauges: dict[str, float] = {
            "waiting": self.admitter.waiting,
            "queued_for_limits": len(context.gate),
            "queued_for_limits_s": context.gate.longest_wait_ms(context.clock.now_ms()) / 1000,
            "places": len(context.gate.places),
            "in_flight": len(context.flights),
            "unsent": self.dispatcher.held,
            "doubtful_now": len(self.settler),
            "executors": context.registry.count(),
            "parts": len(context.held),
            "nodes": len(self.ownership.alive),
        }
        return Health(tuple(problems), dict(context.counters.values), gauges)
