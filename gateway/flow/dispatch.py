"""Dispatch: claimed runs go out at their due instant, with no database in the way.

In: flights in `dispatching`. Out: `running` (the executor took it), or a verdict for the other stages: refused
or unreachable (complete), provably unsent (back to admit), doubtful (settle).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from gateway.core.context import Context
from gateway.core.errors import Unreachable
from gateway.core.inflight import Flight
from gateway.core.model import Route
from gateway.core.ports import Outcome, RunOrder
from gateway.core.states import RunState
from gateway.core.turns import Turns
from gateway.core.work import After, Move, Work

log = structlog.get_logger(__name__)

BURST = 64
SPELL_S = 0.003  # how long sends go on before answers, results and the database get their turn
MANY = 64  # runs of one instant that are worth half a millisecond of CPU to leave in time
EARLY_MS = 1  # by which a wait may be too long: the clock and the timers of the loop count whole milliseconds
SPIN_S = 0.0004  # not waited for at all by uvloop
IDLE_S = 3600.0
LOOK_S = 1.0  # scheduling time may be set forward while we wait for an instant
_CLAIMED = frozenset({RunState.DISPATCHING})


class Verdicts(Protocol):
    """Where a send that did not simply succeed goes on."""

    def refused(self, flight: Flight, message: str) -> None: ...

    def unreachable(self, flight: Flight, message: str) -> None: ...

    def unsent(self, flights: Sequence[Flight], why: str) -> None: ...

    def doubtful(self, flight: Flight, message: str) -> None: ...


class Dispatcher:
    """Holds claimed runs until they are due and sends them in turn by app, a burst at a time."""

    def __init__(self, context: Context, verdicts: Verdicts, on_taken: Callable[[Flight], None]) -> None:
        """`on_taken` is told of runs with a deadline that an executor has taken."""
        self._on_taken = on_taken
        self._context = context
        self._verdicts = verdicts
        self._by_due: dict[int, list[Flight]] = {}
        self._dues: list[int] = []
        self._ready: Turns[Flight] = Turns()
        self._held = 0
        self._wake = asyncio.Event()
        self._answers: list[Flight] = []
        self._written: list[Flight] = []
        self._probes: set[asyncio.Task[None]] = set()
        self._probing: dict[int, Flight] = {}

    @property
    def held(self) -> int:
        """Claimed runs whose bytes have not been handed over."""
        return self._held

    def add(self, flights: Sequence[Flight]) -> None:
        for flight in flights:
            due_ms = flight.order.due_ms
            bucket = self._by_due.get(due_ms)
            if bucket is None:
                self._by_due[due_ms] = [flight]
                heapq.heappush(self._dues, due_ms)
            else:
                bucket.append(flight)
        self._held += len(flights)
        self._wake.set()

    def withdraw(self, job_ids: Collection[int]) -> list[Flight]:
        """Take out the unsent claims of these jobs."""
        return self.withdraw_where(lambda flight: flight.seed.job_id in job_ids)

    def jobs_of_app(self, app_id: int) -> set[int]:
        """The jobs of this app that have unsent claims, or some that may not have left yet."""
        found = [flight for bucket in self._by_due.values() for flight in bucket]
        found += [*self._ready, *self._probing.values()]
        found += [flight for flight in self._context.flights if not flight.answered_ms]
        return {flight.seed.job_id for flight in found if flight.seed.app_id == app_id}

    def withdraw_parts(self, parts: Collection[int]) -> list[Flight]:
        """Take out the unsent claims of these parts."""
        return self.withdraw_where(lambda flight: flight.seed.part in parts)

    def withdraw_where(self, wanted: Callable[[Flight], bool]) -> list[Flight]:
        """Take out the unsent claims of which this is true."""
        taken: list[Flight] = []
        for due_ms, bucket in self._by_due.items():
            theirs = [flight for flight in bucket if wanted(flight)]
            if theirs:
                taken.extend(theirs)
                self._by_due[due_ms] = [flight for flight in bucket if not wanted(flight)]
        taken += self._ready.take_out(wanted)
        self._held -= len(taken)
        probing = [flight for flight in self._probing.values() if wanted(flight)]
        for flight in probing:
            del self._probing[flight.seed.id]
        recalled = [flight for flight in self._context.flights if wanted(flight) and self._recall(flight)]
        return taken + probing + recalled

    def _recall(self, flight: Flight) -> bool:
        """Whether it was handed to the link, and still waited there for a connection."""
        return flight.handed_over and not flight.ended and self._context.link.recall(flight.order)

    def withdraw_run(self, run_id: int) -> Flight | None:
        """Take out one unsent claim."""
        flight = self._context.flights.get(run_id)
        if flight is None or flight.handed_over:
            return flight if flight is not None and self._recall(flight) else self._probing.pop(run_id, None)
        bucket = self._by_due.get(flight.order.due_ms, [])
        if flight in bucket:
            bucket.remove(flight)
        elif not self._ready.take_out(lambda one: one is flight):
            return None
        self._held -= 1
        return flight

    def withdraw_all(self) -> list[Flight]:
        """Take out every unsent claim."""
        taken = [flight for bucket in self._by_due.values() for flight in bucket]
        taken += self._ready.take_out(lambda _: True)
        taken.extend(self._probing.values())
        self._probing.clear()
        self._by_due.clear()
        self._dues.clear()
        self._held = 0
        return taken

    # ------------------------------------------------------------ sending

    async def run(self) -> None:
        clock = self._context.clock
        while True:
            self._send_due()
            if not self._ready:
                self._wake.clear()
                wait_s = self._ahead_s()
                if wait_s > 0:
                    await clock.wait(self._wake, wait_s)
                    continue
            await clock.sleep(0)  # answers and results get their turn

    def _ahead_s(self) -> float:
        """How long to wait; for many runs of one instant short of it, and then in small steps."""
        if not self._dues:
            return IDLE_S
        due_ms = self._dues[0]
        ahead_ms = due_ms - self._context.clock.now_ms()
        if len(self._by_due[due_ms]) >= MANY and ahead_ms > 0:
            return min((ahead_ms - EARLY_MS) / 1000, LOOK_S) if ahead_ms > EARLY_MS else SPIN_S
        return min(ahead_ms / 1000, LOOK_S)

    def _send_due(self) -> None:
        """Send what is due, and what becomes due meanwhile in turn with it; others get the loop now and then.

        Answers are not read in between: each would hold up all sends behind it.
        """
        clock = self._context.clock
        stop_at = clock.monotonic() + SPELL_S
        self._collect(clock.now_ms())
        while self._ready:
            self._send_burst()
            if clock.monotonic() >= stop_at:
                return
            self._collect(clock.now_ms())

    def _collect(self, now_ms: int) -> None:
        """Move what is due to the ready queue, which serves the apps in turn."""
        while self._dues and self._dues[0] <= now_ms:
            for flight in self._by_due.pop(heapq.heappop(self._dues)):
                self._ready.push(flight.seed.app_id, flight)

    def _send_burst(self) -> None:
        monotonic = self._context.clock.monotonic()
        wall_ms = self._context.clock.wall_ms()
        now_ms = self._context.clock.now_ms()
        late: list[Flight] = []
        for _ in range(min(BURST, len(self._ready))):
            flight = self._ready.pop()
            self._held -= 1
            if flight.ended:
                continue  # claimed again, and then the result of the first send came after all
            flight.handed_over = True
            if flight.order.send_before <= monotonic or flight.order.wall_before_ms <= wall_ms:
                late.append(flight)
            elif flight.candidates:
                self._probe(flight)
            else:
                flight.order.sent_ms = now_ms  # the link corrects it if the bytes had to wait
                self._context.link.run(flight.order, self._on_outcome)
                self._context.signals.reached("after_send", (flight.order.run_id,))
        if late:
            self._verdicts.unsent(late, "the claim was too old to send")

    def _on_outcome(self, order: RunOrder, outcome: Outcome, message: str) -> None:
        flight = self._context.flights.get(order.run_id)
        if flight is None or flight.ended or flight.order is not order:
            return  # its result came first, or it was taken back
        order.request = b""
        match outcome:
            case Outcome.ACCEPTED:
                self._context.signals.reached("after_answer", (order.run_id,))
                flight.answered_ms = self._context.clock.now_ms()
                self._answers.append(flight)
                if order.job.deadline_s:
                    self._on_taken(flight)
            case Outcome.REFUSED:
                flight.answered_ms = self._context.clock.now_ms()
                self._verdicts.refused(flight, message)
            case Outcome.NOT_SENT:
                if self._is_too_old(order):
                    self._verdicts.unsent([flight], message)
                else:
                    self._verdicts.unreachable(flight, message)
            case Outcome.DOUBTFUL:
                self._verdicts.doubtful(flight, message)

    # ------------------------------------------------------------ answers

    def answers(self) -> Work | None:
        """The answers that are not written yet. Nobody waits for them, so they share another commit.

        The writer asks again when that commit is done: until then a result may be the first to be written. One that
        another node has written knows nothing of these times, so they follow it.
        """
        for flight in self._written:
            flight.answer_written = True
            if flight.ended_elsewhere or flight.let_go:
                self._context.flights.pop(flight.seed.id)
        answers = [flight for flight in self._answers if not flight.ended]
        self._answers, self._written = [], answers
        is_shared = self._context.registry.is_shared
        moves = [
            Move(
                flight.seed.id,
                RunState.RUNNING,
                _CLAIMED,
                {
                    "sent_ms": After("due_ms", flight.order.sent_ms - flight.order.due_ms),
                    "answered_ms": After("due_ms", flight.answered_ms - flight.order.due_ms),
                },
                claim=flight.claim if is_shared else None,
                optional=True,  # its result may overtake it, or it was given up and claimed again
                belated=is_shared,
            )
            for flight in answers
        ]
        if not moves:
            return None
        self._context.counters.add("accepted", len(moves))
        return Work(moves=moves)

    # ------------------------------------------------------------ FAILOVER and BUSYOVER

    def _probe(self, flight: Flight) -> None:
        self._probing[flight.seed.id] = flight
        task = asyncio.get_running_loop().create_task(self._ask_in_turn(flight))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)
        task.add_done_callback(lambda _: self._end_probe(flight))

    def _end_probe(self, flight: Flight) -> bool:
        """Whether the flight is still ours to send or to judge: it was not withdrawn while its probe ran."""
        if self._probing.get(flight.seed.id) is not flight:
            return False
        del self._probing[flight.seed.id]
        return not flight.ended

    async def _ask_in_turn(self, flight: Flight) -> None:
        """Send to the first executor that answers its probe; the row names each address before it is used."""
        context = self._context
        order = flight.order
        said: list[str] = []
        for address in flight.candidates:
            dialect = context.registry.dialect_at(flight.seed.app_id, address, order.dialect)
            try:
                if order.job.route is Route.FAILOVER:
                    answer = await context.link.beat(address, dialect, order.appname)
                else:
                    answer = await context.link.idle(address, dialect, order.appname, order.job.id)
            except Unreachable as error:
                said.append(f"{address}: {error.why}")
                continue
            if not answer.ok:
                said.append(f"{address}: {answer.message or answer.code}")
                continue
            try:
                why_not = await self._address(flight, address, dialect)
            except Exception as error:
                why_not = f"its address was not written: {error}"
            if not self._end_probe(flight):
                return
            if why_not is not None:
                self._verdicts.unsent([flight], why_not)
                return
            order.sent_ms = context.clock.now_ms()
            context.link.run(order, self._on_outcome)
            context.signals.reached("after_send", (order.run_id,))
            return
        if self._end_probe(flight):
            self._verdicts.unreachable(
                flight, f"{order.job.route.value}: no executor answered: " + "; ".join(said)
            )

    async def _address(self, flight: Flight, address: str, dialect: str) -> str | None:
        """Write the address into the row and renew the claim; why it must not be sent, None if it may be."""
        context = self._context
        order = flight.order
        if address == order.address and dialect == order.dialect and not self._is_too_old(order):
            return None
        budget_ms = context.tuning.lease_ms - context.tuning.lease_margin_ms
        send_before = context.clock.monotonic() + budget_ms / 1000
        wall_before_ms = context.clock.wall_ms() + budget_ms
        move = Move(
            order.run_id,
            RunState.DISPATCHING,
            _CLAIMED,
            {"address": address, "dialect": dialect, "send_deadline_ms": context.clock.now_ms() + budget_ms},
            claim=flight.claim,
            job_id=order.job.id,
            job_version=order.job.version,
        )
        work = Work(moves=[move], lease=context.lease, pauses=context.pauses.revision)
        written = await context.writer.write(work)
        if order.run_id in written.lost_moves:
            return "it was another's by then, or its job or a pause was changed"
        order.address, order.dialect = address, dialect
        order.send_before, order.wall_before_ms = send_before, wall_before_ms
        context.link.prepare(order)
        return "probing took longer than the claim lasts" if self._is_too_old(order) else None

    def _is_too_old(self, order: RunOrder) -> bool:
        clock = self._context.clock
        return clock.monotonic() >= order.send_before or clock.wall_ms() >= order.wall_before_ms
