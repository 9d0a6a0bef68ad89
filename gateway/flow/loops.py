"""The only module that joins the stages: it owns them, starts their loops and answers for the node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.errors import LeaseLost
from gateway.core.inflight import Flight
from gateway.core.model import Beat, ExecutorResult, NewRun, Run
from gateway.core.policy import seed_of
from gateway.core.ports import AppReader, ExecutorWriter, ForeignResults, Health, Spool, Writer
from gateway.core.states import OPEN, WAITING, RunState
from gateway.flow.admit import Admitter
from gateway.flow.complete import Completer
from gateway.flow.dispatch import Dispatcher
from gateway.flow.plan import Planner
from gateway.flow.presence import CreateApp, Presence
from gateway.flow.report import Reporter
from gateway.flow.settle import Doubt, Settler
from gateway.flow.sweep import Sweeper

log = structlog.get_logger(__name__)

CLAIMED_AT_ONCE = 4000
RECOVERY_PAGE = 2000
STALL_S = 5.0
STRAY_EVERY_S = 15.0
STRAY_AFTER_MS = 10_000
_TAKEN_UP = WAITING | {RunState.DISPATCHING}


class Verdicts:
    """Where sends go that did not simply succeed: from `dispatch` and `settle` to the other stages."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def refused(self, flight: Flight, message: str) -> None:
        self._fail(flight, message, "the executor refused the run")

    def unreachable(self, flight: Flight, message: str) -> None:
        self._fail(flight, None, f"the executor could not be reached: {message}")

    def unsent(self, flights: Sequence[Flight], why: str) -> None:
        self._flow.spawn(self._flow.admitter.take_back(flights, f"claimed again: {why}"))

    def doubtful(self, flight: Flight, message: str) -> None:
        now_ms = self._flow.context.clock.now_ms()
        self._flow.settler.start(
            Doubt(
                flight.seed,
                flight.order.address,
                flight.order.dialect,
                flight.order.trigger_ms,
                flight.claim,
                flight.order.sent_ms or now_ms,
                f"no answer to /run ({message})",
            )
        )

    def again(self, seed: NewRun) -> None:
        self._flow.admitter.add((seed,))

    def lost(self, seed: NewRun, reason: str) -> None:
        end = End(seed, RunState.LOST, reason=reason, sources=frozenset({RunState.DISPATCHING}))
        self._flow.spawn(self._flow.end(end))

    def unroutable(self, run: NewRun, reason: str) -> None:
        self._flow.spawn(self._flow.end(End(run, RunState.FAILED, reason=reason, sources=WAITING)))

    def _fail(self, flight: Flight, message: str | None, reason: str) -> None:
        flight.ended = True
        order = flight.order
        end = End(
            flight.seed,
            RunState.STOPPED if flight.stop_asked else RunState.FAILED,
            message=message,
            reason=reason,
            sent_ms=order.sent_ms,
            answered_ms=flight.answered_ms,
            sources=frozenset({RunState.DISPATCHING, RunState.STOPPING}),
        )
        self._flow.spawn(self._flow.end(end))


class Flow:
    """All stages of one node. `start` recovers what an earlier life left, `stop` hands over in order."""

    def __init__(
        self,
        context: Context,
        *,
        apps: AppReader,
        executors: ExecutorWriter,
        foreign: ForeignResults,
        spool: Spool,
        renew: Callable[[], Awaitable[None]],
        on_fatal: Callable[[Exception], None],
        plan_writer: Writer | None = None,
        result_writer: Writer | None = None,
        create_app: CreateApp | None = None,
    ) -> None:
        self.context = context
        self._apps = apps
        self._renew = renew
        self._on_fatal = on_fatal
        verdicts = Verdicts(self)
        self.admitter = Admitter(context, self._claimed, verdicts.unroutable)
        self.planner = Planner(context, self.admitter.add, plan_writer)
        self.dispatcher = Dispatcher(context, verdicts)
        self.settler = Settler(context, verdicts)
        self.completer = Completer(context, self.admitter.add, result_writer)
        self.reporter = Reporter(context, self.completer, foreign, spool)
        self.sweeper = Sweeper(context, self.completer)
        self.presence = Presence(context, executors, create_app)
        self._loops: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._grace_over = False
        self._planned_at = 0.0
        self._replan = asyncio.Event()
        self.ready = False
        context.writer.add_lazy(self.dispatcher.answers)

    # ------------------------------------------------------------ executors' desk

    async def register(self, beat: Beat) -> None:
        await self.presence.register(beat)

    async def remove(self, appname: str, address: str) -> None:
        await self.presence.remove(appname, address)

    async def report(self, results: Sequence[ExecutorResult], client: str) -> bool:
        return await self.reporter.report(results, client)

    # ------------------------------------------------------------ life

    async def start(self, seen_ms: int) -> None:
        """Load, recover and begin. `seen_ms`: when this node's last life wrote its last beat, 0 if never."""
        context = self.context
        for app in await self._apps.all_apps():
            context.registry.set_app(app)
        context.registry.load(await self._apps.all_executors())
        context.registry.pardon(seen_ms, context.clock.now_ms())
        await context.run_ids.refill()
        await self._recover()
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
            "strays": self._stray_loop,
            "renew": self._renew_loop,
        }
        for name, loop in loops.items():
            self._loops.append(asyncio.create_task(self._forever(name, loop), name=f"flow-{name}"))
        self.ready = True

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

    async def stop_sending(self) -> None:
        """No new dispatch; unsent claims go back."""
        if self._stopping:
            return
        self._stopping = True
        self.ready = False
        log.info("stopping", in_flight=len(self.context.flights))
        withdrawn = self.dispatcher.withdraw_all()
        await self.admitter.settled()
        withdrawn += self.dispatcher.withdraw_all()
        await self.admitter.take_back(withdrawn, "the node was stopped before it was sent")

    async def await_results(self) -> None:
        """Results of what was sent are taken for a grace period."""
        if self._grace_over:
            return
        clock = self.context.clock
        grace_ends = clock.monotonic() + self.context.tuning.stop_grace_s
        while len(self.context.flights) and clock.monotonic() < grace_ends:
            await clock.sleep(0.05)
        self._grace_over = True

    async def _recover(self) -> None:
        """Take up the open runs of an earlier life."""
        now_ms = self.context.clock.now_ms()
        last: Run | None = None
        counts = {"waiting": 0, "doubtful": 0, "unsent": 0}
        while runs := await self.context.runs.open_runs(last, RECOVERY_PAGE, OPEN):
            last = runs[-1]
            waiting = [run for run in runs if run.state in WAITING]
            self.admitter.add(seed_of(run) for run in waiting)
            counts["waiting"] += len(waiting)
            for run in runs:
                if run.state is RunState.DISPATCHING:
                    counts["doubtful"] += 1
                    self.settler.start(_left_behind(run, now_ms))
        if any(counts.values()):
            log.info("recovered", **counts)

    async def _forever(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep a loop going: an error is logged and the loop begins again, a lost lease ends the node."""
        while True:
            try:
                await loop()
                return
            except LeaseLost as error:
                self.ready = False
                self._on_fatal(error)
                return
            except Exception as error:
                log.exception("loop_failed", loop=name, error=str(error)[:200])
                await self.context.clock.sleep(1)

    async def _plan_loop(self) -> None:
        context = self.context
        while not self._stopping:
            self._replan.clear()
            await context.run_ids.refill()
            await self.planner.run_once()
            self._planned_at = context.clock.monotonic()
            await context.clock.wait(self._replan, context.tuning.plan_every_ms / 1000)

    async def _admit_loop(self) -> None:
        context = self.context
        tick_s = context.tuning.tick_ms / 1000
        while not self._stopping:
            next_due = self.admitter.next_due_ms()
            wait_s = tick_s
            if next_due is None:
                wait_s = 1.0
            elif next_due > context.clock.now_ms() + context.tuning.claim_lead_ms:
                ahead_ms = next_due - context.clock.now_ms() - context.tuning.claim_lead_ms
                wait_s = min(max(ahead_ms / 1000, tick_s), 1.0)
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
            await self.context.clock.sleep(1)

    async def _sweep_loop(self) -> None:
        while True:
            # Never in step with a schedule: short runs of a job would look as if it were always busy.
            stretch = random.uniform(0.75, 1.25)  # noqa: S311 – jitter
            await self.context.clock.sleep(self.context.tuning.sweep_every_s * stretch)
            await self.sweeper.run_once()

    async def _stray_loop(self) -> None:
        """Take up rows that no memory holds, should a hand-over ever fail: none may vanish or stay open."""
        context = self.context
        suspects: set[int] = set()
        while True:
            await context.clock.sleep(STRAY_EVERY_S)
            before_ms = context.clock.now_ms() - STRAY_AFTER_MS
            overdue = await context.runs.overdue(before_ms, RECOVERY_PAGE, _TAKEN_UP)
            await self.admitter.settled()
            strays = [run for run in self.admitter.strays(overdue) if run.id not in self.settler]
            confirmed = [run for run in strays if run.id in suspects]
            suspects = {run.id for run in strays}
            if confirmed:
                log.warning("strays_taken_up", runs=[run.id for run in confirmed[:20]], count=len(confirmed))
                context.counters.add("strays", len(confirmed))
            self.admitter.add(seed_of(run) for run in confirmed if run.state in WAITING)
            for run in confirmed:
                if run.state is RunState.DISPATCHING:
                    self.settler.start(_left_behind(run, context.clock.now_ms()))

    async def _renew_loop(self) -> None:
        while True:
            await self._renew()
            await self.context.clock.sleep(self.context.tuning.renew_every_ms / 1000)

    # ------------------------------------------------------------ hand-over between stages

    def _claimed(self, flights: list[Flight]) -> None:
        if self._stopping:
            self.spawn(self.admitter.take_back(flights, "the node was stopped before it was sent"))
        else:
            self.dispatcher.add(flights)

    async def end(self, end: End) -> None:
        """Write an ending and wait for it, however long the database takes."""
        await self.context.specs.ensure_patiently([(end.seed.job_id, 0)], self.context.clock)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_written(result: frozenset[int] | Exception) -> None:
            if done.done():
                return
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(None)

        self.completer.finish([end], on_written)
        await done

    def spawn(self, work: Awaitable[object]) -> None:
        """Run something that a callback began; its failure is logged."""

        async def run() -> None:
            try:
                await work
            except LeaseLost as error:
                self._on_fatal(error)
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
        await self.admitter.settled()
        withdrawn = self.dispatcher.withdraw(frozenset(job_ids))
        await self.admitter.take_back(withdrawn, "claimed again: the job was changed before it was sent")

    # ------------------------------------------------------------ health

    def health(self) -> Health:
        context = self.context
        problems: list[str] = []
        if not self.ready:
            problems.append("the scheduler is starting or stopping")
        if not context.writer.healthy:
            problems.append("the database does not take writes")
        stalled_s = context.clock.monotonic() - self._planned_at
        if self.ready and stalled_s > STALL_S:
            problems.append(f"slots have not been planned for {stalled_s:.0f} s")
        gauges: dict[str, float] = {
            "waiting": self.admitter.waiting,
            "in_flight": len(context.flights),
            "unsent": self.dispatcher.held,
            "doubtful_now": len(self.settler),
            "executors": context.registry.count(),
        }
        return Health(tuple(problems), dict(context.counters.values), gauges)


def _left_behind(run: Run, now_ms: int) -> Doubt:
    """A claim of an earlier life: its sender is dead, so its last chance was before now."""
    return Doubt(
        seed_of(run),
        run.address,
        run.dialect,
        run.trigger_ms,
        None,
        now_ms,
        "the node stopped while it was sending",
    )
