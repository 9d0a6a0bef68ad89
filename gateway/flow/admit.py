"""Admit: waiting rows are judged, routed and claimed.

In: rows in `planned` or `queued` whose instant is near, and requests from people and programs (which enter as
`queued` rows). Out: rows in `dispatching`, with address, job version and claim token, handed on with the
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
    claim_move,
    is_late,
    late_reason,
    skip_move,
    stop_move,
    why_not,
    why_not_any_more,
    why_not_back,
)
from gateway.core.context import Context
from gateway.core.errors import LeaseLost
from gateway.core.inflight import Flight
from gateway.core.model import (
    BROADCAST_PARENT,
    Job,
    Misfire,
    NewRun,
    Route,
    Run,
    TriggerKind,
)
from gateway.core.ports import RunOrder
from gateway.core.routing import PROBED, Router
from gateway.core.shards import expand_move, is_pinned, shards_of
from gateway.core.states import RunState
from gateway.core.work import Move, TaskName, Value, Work, Written

log = structlog.get_logger(__name__)

LOOK_S = 1  # the longest time between two looks at what is due
RUNS_PER_CLAIM = 1000
CLAIMS_AT_ONCE = 3
DEFAULT_DIALECT = "rest"
_WITHDRAWN = frozenset({RunState.DISPATCHING})

OnClaimed = Callable[[list[Flight]], None]
OnUnroutable = Callable[[NewRun, str], None]
OnForeign = Callable[[list[NewRun]], None]


class Admitter:
    """Owns the agenda of waiting runs and turns them into claims, a batch at a time."""

    def __init__(
        self, context: Context, on_claimed: OnClaimed, on_unroutable: OnUnroutable, on_foreign: OnForeign
    ) -> None:
        self._context = context
        self._on_foreign = on_foreign
        self._on_claimed = on_claimed
        self._on_unroutable = on_unroutable
        self._agenda = Agenda()
        self._router = Router(context.chance)
        self._catch_ups = CatchUps()
        self._early: list[NewRun] = []
        self._claims: set[asyncio.Future[None]] = set()
        self.wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._agenda)

    def next_due_ms(self) -> int | None:
        return self._agenda.next_due_ms()

    def add(self, runs: Iterable[NewRun]) -> list[NewRun]:
        """Take committed rows that wait for their instant; returns those whose part another node owns."""
        held = self._context.held
        others: list[NewRun] = []
        runs = list(runs)
        if not held.is_all:
            others = [run for run in runs if run.part not in held]
            if others:
                runs = [run for run in runs if run.part in held]
        self._agenda.add(runs)
        soon_ms = self._context.clock.now_ms() + self._context.tuning.claim_lead_ms + 1000 * LOOK_S
        if any(run.due_ms <= soon_ms for run in runs):
            self.wake.set()  # of what is planned ahead the next look is early enough, and claims more at once
        return others

    def drop(self, parts: Collection[int]) -> list[NewRun]:
        """Forget what waits in these parts, and return it: it is in the database for their owner."""
        early = [run for run in self._early if run.part in parts]
        self._early = [run for run in self._early if run.part not in parts]
        return self._agenda.drop(parts) + early

    # ------------------------------------------------------------ requests

    async def request(
        self,
        job: Job,
        *,
        kind: TriggerKind,
        params: str | None,
        addresses: tuple[str, ...] | None,
        task_id: str | None,
    ) -> tuple[NewRun, int]:
        """Insert a run of this job that is due now. Returns it once it is durable, and the id that `task_id` names.

        That is another run's where the name was used before; nothing was inserted then. A run of a part that this
        node does not hold is left to its owner.
        """
        now_ms = self._context.clock.now_ms()
        (run_id,) = await self._context.run_ids.draw(1)
        run = NewRun(
            id=run_id,
            namespace_id=job.namespace_id,
            job_id=job.id,
            app_id=job.app_id,
            part=job.part,
            slot_key=-run_id,
            due_ms=now_ms,
            created_ms=now_ms,
            trigger_kind=kind,
            state=RunState.QUEUED,
            root_id=run_id,
            shard=BROADCAST_PARENT if job.route is Route.SHARDING_BROADCAST else 0,
            priority=job.priority,
            params=params,
            addresses=addresses,
        )
        names = (TaskName(job.namespace_id, task_id, run_id, now_ms),) if task_id else ()
        requests = () if run.part in self._context.held else ((run_id, run.part),)
        work = Work(inserts=(run,), names=names, requests=requests)
        written = await self._context.writer.write(work)
        # One commit may hold several requests of one name: the name is taken for all but the first.
        first = written.taken_names.get(task_id, run_id) if task_id else run_id
        if first == run_id and not requests:
            self._on_foreign(self.add((run,)))
        return run, first

    # ------------------------------------------------------------ claims

    async def run_once(self, room: int) -> None:
        """Claim what is due within the claim lead, at most `room` runs."""
        context = self._context
        while room > 0 and len(self._claims) < CLAIMS_AT_ONCE:
            now_ms = context.clock.now_ms()
            until_ms = now_ms + context.tuning.claim_lead_ms
            runs = self._agenda.take(until_ms, min(room, RUNS_PER_CLAIM))
            if not runs:
                break
            room -= len(runs)
            try:
                await context.specs.ensure([(job_id, 0) for job_id in {run.job_id for run in runs}])
                if not context.held.is_all:
                    runs = [run for run in runs if run.part in context.held]
                self._claim(runs)
            except Exception:
                # Each of them once: of two of a run in one claim, the second would lose the claim of the first.
                early, self._early = self._early, []
                self._agenda.add({run.id: run for run in (*runs, *early)}.values())
                raise
        early, self._early = self._early, []
        self._agenda.add(early)

    def _claim(self, runs: Sequence[NewRun]) -> None:
        context = self._context
        now_ms = context.clock.now_ms()
        budget_ms = context.tuning.lease_ms - context.tuning.lease_margin_ms
        send_before = context.clock.monotonic() + budget_ms / 1000
        wall_before_ms = context.clock.wall_ms() + budget_ms
        token = context.chance.getrandbits(62)
        moves: list[Move] = []
        flights: dict[int, Flight] = {}
        expanded: dict[int, tuple[NewRun, ...]] = {}
        late: Late | None = None
        for run in runs:
            spec = context.specs.get(run.job_id)
            job = spec.job if spec else None
            reason = why_not(run, job)
            if reason is None and job is not None and is_late(run, job, now_ms):
                if late is None and job.misfire is not Misfire.SKIP:
                    late = Late((*runs, *self._agenda.until(now_ms)), context.specs.job, now_ms)
                reason = late_reason(run, job, now_ms, late, self._catch_ups)
                if reason is None:
                    self._catch_ups.note(run)
            if reason is not None or job is None:
                moves.append(skip_move(run, reason or "", now_ms, job))
                context.counters.add("skipped")
                continue
            if spec is not None and (reason := why_not_any_more(run, spec)) is not None:
                moves.append(
                    stop_move(run, reason, now_ms, job)
                )  # its parent has started, so it is not skipped
                continue
            addresses = run.addresses or context.registry.addresses(run.app_id)
            if not addresses and run.due_ms > now_ms:
                self._early.append(run)  # an executor may still come before it is due
            elif not addresses:
                self._on_unroutable(run, self._nobody(run))
            elif run.shard == BROADCAST_PARENT:
                shards = shards_of(run, addresses)
                move = expand_move(run, job, shards, context.run_ids.take(len(shards)), now_ms)
                expanded[run.id] = move.then
                moves.append(move)
            else:
                flight = self._fly(run, job, addresses, token, now_ms, send_before, wall_before_ms)
                flights[run.id] = flight
                moves.append(claim_move(flight, now_ms, now_ms + budget_ms))
        if not moves:
            return

        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_written(result: Written | Exception) -> None:
            self._claims.discard(done)
            done.set_result(None)
            if isinstance(result, Exception):
                self._not_claimed(runs, result)
            else:
                self._claimed(runs, flights, expanded, result)

        self._claims.add(done)
        context.writer.submit(Work(moves=moves, lease=context.lease), on_written)

    def _claimed(
        self,
        runs: Sequence[NewRun],
        flights: dict[int, Flight],
        expanded: dict[int, tuple[NewRun, ...]],
        written: Written,
    ) -> None:
        lost = written.lost_moves
        if written.stale_jobs:
            self._context.specs.invalidate(written.stale_jobs)
            self.add(run for run in runs if run.id in lost and run.job_id in written.stale_jobs)
        won = (
            [flight for run_id, flight in flights.items() if run_id not in lost]
            if lost
            else list(flights.values())
        )
        for flight in won:
            self._context.flights.add(flight)
        for parent_id, shards in expanded.items():
            if parent_id not in lost:
                self.add(shards)
        if won:
            self._context.signals.reached("after_claim", [flight.seed.id for flight in won])
            self._context.counters.add("claimed", len(won))
            self._on_claimed(won)
        if expanded or written.stale_jobs:
            self.wake.set()

    def _not_claimed(self, runs: Sequence[NewRun], error: Exception) -> None:
        if isinstance(error, LeaseLost):
            return  # another node has these runs now; the next renewal tells the rest
        log.warning("claim_failed", runs=len(runs), error=str(error)[:200])
        self.add(runs)

    def _fly(
        self,
        run: NewRun,
        job: Job,
        addresses: Sequence[str],
        token: int,
        now_ms: int,
        send_before: float,
        wall_before_ms: int,
    ) -> Flight:
        context = self._context
        address = self._shard_address(run, addresses) or self._router.choose(job.route, job.id, addresses)
        executor = context.registry.executor(run.app_id, address)
        app = context.registry.app(run.app_id)
        order = RunOrder(
            run_id=run.id,
            job=job,
            appname=app.appname if app else "",
            address=address,
            dialect=executor.dialect if executor else DEFAULT_DIALECT,
            params=run.params,
            shard=run.shard,
            shard_total=run.shard_total,
            trigger_ms=run.trigger_ms or max(run.due_ms, now_ms),
            due_ms=run.due_ms,
            send_before=send_before,
            wall_before_ms=wall_before_ms,
        )
        context.link.prepare(order)
        candidates = tuple(addresses) if job.route in PROBED and not is_pinned(run) else ()
        return Flight(run, order, token, candidates=candidates)

    def _shard_address(self, run: NewRun, addresses: Sequence[str]) -> str | None:
        """A shard stays where it was put; its retry moves to the executor of its number if that one has left."""
        if not is_pinned(run):
            return None
        live = self._context.registry.addresses(run.app_id)
        if run.attempt > 1 and live and addresses[0] not in live:
            return live[run.shard] if run.shard < len(live) else live[0]
        return addresses[0]

    def _nobody(self, run: NewRun) -> str:
        app = self._context.registry.app(run.app_id)
        return (
            f"no executor of app {app.appname!r} is registered"
            if app
            else "the app of this job does not exist"
        )

    def strays(self, overdue: Iterable[Run]) -> list[Run]:
        """Those of these rows that are neither in the agenda nor on their way: nobody would start or end them."""
        flights = self._context.flights
        return [run for run in overdue if run.id not in self._agenda and flights.get(run.id) is None]

    # ------------------------------------------------------------ edits

    async def settled(self) -> None:
        """Return when no claim that is now on its way to the database still is."""
        if self._claims:
            await asyncio.wait(tuple(self._claims))

    async def take_back(self, flights: Sequence[Flight], why: str) -> list[NewRun]:
        """Claimed runs that were provably not sent wait again, unless their job no longer wants them.

        Returns those that wait in parts of other nodes.
        """
        if not flights:
            return []
        context = self._context
        now_ms = context.clock.now_ms()
        wanted = [(job_id, 0) for job_id in {flight.seed.job_id for flight in flights}]
        await context.specs.ensure_patiently(wanted, context.clock)
        moves: list[Move] = []
        back: dict[int, NewRun] = {}
        for flight in flights:
            run = flight.seed
            context.flights.pop(run.id)
            spec = context.specs.get(run.job_id)
            reason = why_not_back(flight, spec, now_ms)
            if reason is None:
                back[run.id] = run
                values: dict[str, Value] = {"reason": why, "claim_token": 0}
                moves.append(Move(run.id, RunState.QUEUED, _WITHDRAWN, values, claim=flight.claim))
            else:
                job = spec.job if spec else None
                moves.append(skip_move(run, reason, now_ms, job, sources=_WITHDRAWN, claim=flight.claim))
        # With the lease: after a take-over these rows are the new owner's to settle, who would miss the change.
        written = await context.writer.write(Work(moves=moves, lease=context.lease))
        return self.add([run for run_id, run in back.items() if run_id not in written.lost_moves])

    async def stop_waiting(self, run: NewRun, reason: str) -> bool:
        """End a run that waits. False if it no longer does."""
        await self._context.specs.ensure([(run.job_id, 0)])
        now_ms = self._context.clock.now_ms()
        move = stop_move(run, reason, now_ms, self._context.specs.job(run.job_id))
        written = await self._context.writer.write(Work(moves=[move]))
        return run.id not in written.lost_moves
