"""Estate: what the stages do when parts come to this node and go.

In: parts that this node owns from now on, or no longer. Out: their open rows in the stages' hands; or claims taken
back, so that nothing of them is on its way when the next owner begins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import structlog

from gateway.core.cluster import Member, Roster
from gateway.core.context import Context
from gateway.core.model import Run
from gateway.core.policy import seed_of
from gateway.core.states import OPEN, WAITING, RunState
from gateway.flow.admit import Admitter
from gateway.flow.dispatch import Dispatcher
from gateway.flow.follow import Follower
from gateway.flow.neighbours import Neighbours
from gateway.flow.plan import Planner
from gateway.flow.settle import Doubt, Settler

log = structlog.get_logger(__name__)

PAGE = 2000


class Estate:
    """Implements `flow.ownership.Estate`."""

    def __init__(
        self,
        context: Context,
        planner: Planner,
        admitter: Admitter,
        dispatcher: Dispatcher,
        settler: Settler,
        follower: Follower,
        neighbours: Neighbours,
        spawn: Callable[[Awaitable[object]], None],
        on_running: Callable[[Iterable[Run]], None],
    ) -> None:
        self._on_running = on_running
        self._context = context
        self._planner = planner
        self._admitter = admitter
        self._dispatcher = dispatcher
        self._settler = settler
        self._follower = follower
        self._neighbours = neighbours
        self._spawn = spawn

    async def take_up(self, parts: Collection[int], *, after_crash: bool) -> None:
        """Read what is open in these parts and plan what is due in them, then hold them, all at one moment."""
        context = self._context
        runs: list[Run] = []
        last: Run | None = None
        while page := await context.runs.open_runs(last, PAGE, OPEN, parts):
            last = page[-1]
            runs += page
        planned = await self._planner.run_ahead(parts)
        doubtful = [run for run in runs if run.state is RunState.DISPATCHING]
        waiting = [seed_of(run) for run in runs if run.state in WAITING]
        context.held.add(parts)
        for flight in context.flights:
            if flight.seed.part in parts:
                flight.let_go = False  # its part is back
        self._admitter.add(waiting)
        self._admitter.add(planned)
        self._on_running(runs)
        if waiting or doubtful:
            log.info("recovered", waiting=len(waiting), doubtful=len(doubtful))
        if after_crash:
            self.settle(doubtful)
        elif doubtful:
            self._spawn(self._settle_later({run.id: run.claim_token for run in doubtful}))

    async def _settle_later(self, claims: Mapping[int, int]) -> None:
        """The node that gave these away is there, and may still be answered."""
        await self._context.clock.sleep(self._context.tuning.answer_wait_s)
        found = await self._context.runs.get_many(claims)
        self.settle(
            [
                run
                for run in found.values()
                if run.state is RunState.DISPATCHING
                and run.claim_token == claims[run.id]
                and run.part in self._context.held
                and self._context.flights.get(run.id) is None
            ]
        )

    def settle(self, doubtful: Iterable[Run]) -> None:
        now_ms = self._context.clock.now_ms()
        for run in doubtful:
            self._settler.start(_left_behind(run, now_ms))

    async def let_go(self, parts: Collection[int], *, leaving: bool = False) -> None:
        context = self._context
        mine = frozenset(parts)
        context.held.remove(mine)
        self._admitter.drop(mine)
        await self._planner.settled()
        await self._admitter.settled()
        await self._admitter.take_back(
            self._dispatcher.withdraw_parts(mine), "claimed again: its part went to another node"
        )
        await self._settler.drop(mine)
        ends = context.clock.monotonic() + context.tuning.hand_over_wait_s
        while self._unanswered(mine) and context.clock.monotonic() < ends:
            await context.clock.sleep(0.01)
        if not leaving:
            self._forget_flights(mine)

    def _unanswered(self, parts: Collection[int]) -> bool:
        """Whether a send of these parts has no answer in the database yet."""
        return any(
            flight.handed_over and not (flight.answer_written or flight.ended)
            for flight in self._context.flights
            if flight.seed.part in parts
        )

    def _forget_flights(self, parts: Collection[int]) -> None:
        """What becomes of these runs is in the database; an answer that is still missing is only written there."""
        for flight in list(self._context.flights):
            if flight.seed.part not in parts:
                continue
            if flight.answer_written or flight.ended or not flight.handed_over:
                self._context.flights.pop(flight.seed.id)
            else:
                flight.let_go = True

    def forget(self, parts: Collection[int]) -> None:
        mine = frozenset(parts)
        self._context.held.remove(mine)
        dropped = self._admitter.drop(mine)
        for flight in self._dispatcher.withdraw_parts(mine):
            self._context.flights.pop(flight.seed.id)
        self._settler.stop(mine)
        self._forget_flights(mine)
        # What was queued here after the lease had ended is in nobody's memory.
        self._neighbours.leave_to_owner([run for run in dropped if run.state is RunState.QUEUED])

    async def follow(self, roster: Roster) -> None:
        await self._follower.follow(roster)

    def nudge(self, member: Member) -> None:
        self._neighbours.nudge(member)

    async def is_gone(self, member: Member) -> bool:
        return await self._neighbours.is_gone(member)


def _left_behind(run: Run, now_ms: int) -> Doubt:
    """A claim of another life: its row says until when it could be sent."""
    return Doubt(
        seed_of(run),
        run.address,
        run.dialect,
        run.trigger_ms,
        run.claim_token,
        max(now_ms, run.send_deadline_ms),
        "the node stopped while it was sending",
    )
