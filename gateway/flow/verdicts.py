"""Verdicts: where sends go that did not simply succeed, from `dispatch` and `settle` to the other stages."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.holding import holds_place
from gateway.core.inflight import Flight
from gateway.core.model import NewRun
from gateway.core.states import WAITING, RunState
from gateway.flow.admit import Admitter
from gateway.flow.settle import Doubt, Settler


class Hub(Protocol):
    """What joins the stages; see `loops`."""

    context: Context
    admitter: Admitter
    settler: Settler

    def spawn(self, work: Awaitable[object]) -> None: ...

    def queued(self, runs: Sequence[NewRun]) -> None: ...

    async def end(self, end: End) -> None: ...


class Verdicts:
    """Every move names the claim it speaks of: the run may be another owner's by now, and claimed again."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def refused(self, flight: Flight, message: str) -> None:
        self._fail(flight, message, "the executor refused the run", as_owner=False)

    def unreachable(self, flight: Flight, message: str) -> None:
        self._fail(flight, None, f"the executor could not be reached: {message}", as_owner=True)

    def unsent(self, flights: Sequence[Flight], why: str) -> None:
        self._hub.spawn(self._take_back(flights, f"claimed again: {why}"))

    async def _take_back(self, flights: Sequence[Flight], why: str) -> None:
        self._hub.queued(await self._hub.admitter.take_back(flights, why))

    def doubtful(self, flight: Flight, message: str) -> None:
        if flight.let_go:
            self._hub.context.flights.pop(flight.seed.id)
            return  # its part's owner asks
        now_ms = self._hub.context.clock.now_ms()
        self._hub.settler.start(
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
        self._hub.queued((seed,))

    def lost(self, doubt: Doubt, reason: str) -> None:
        context = self._hub.context
        present = context.registry.present(doubt.seed.app_id)
        end = End(
            doubt.seed,
            RunState.LOST,
            reason=reason,
            sources=frozenset({RunState.DISPATCHING}),
            claim=doubt.claim,
            as_owner=True,
            holds=holds_place(context.specs.job(doubt.seed.job_id), doubt.address, present),
        )
        self._hub.spawn(self._hub.end(end))

    def unroutable(self, run: NewRun, reason: str) -> None:
        self._hub.spawn(
            self._hub.end(End(run, RunState.FAILED, reason=reason, sources=WAITING, as_owner=True))
        )

    def _fail(self, flight: Flight, message: str | None, reason: str, *, as_owner: bool) -> None:
        flight.ended = True
        order = flight.order
        end = End(
            flight.seed,
            flight.stop_outcome if flight.stop_asked else RunState.FAILED,
            message=message,
            reason=reason,
            sent_ms=order.sent_ms,
            answered_ms=flight.answered_ms,
            sources=frozenset({RunState.DISPATCHING, RunState.STOPPING}),
            claim=flight.claim,
            as_owner=as_owner,
            again=flight.stop_asked and flight.stop_again,
        )
        self._hub.spawn(self._hub.end(end))
