"""Runs that this node has sent or is about to send, so that most results need no question to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.model import NewRun
from gateway.core.ports import RunOrder
from gateway.core.states import RunState


@dataclass(slots=True, eq=False)
class Flight:
    """A claimed run: its row, the order that carries it, and what has been asked of it.

    `committed` tells whether the database has taken its result, once one is on its way. `ended_elsewhere`: another
    node took its result. `stop_again`: once stopped it runs again. `let_go`: another node owns its part by now.
    """

    seed: NewRun
    order: RunOrder
    claim: int
    candidates: tuple[str, ...] = ()
    handed_over: bool = False
    answered_ms: int = 0
    answer_written: bool = False
    stop_asked: bool = False
    stop_reason: str = ""
    stop_outcome: RunState = RunState.STOPPED
    stop_again: bool = False
    ended: bool = False
    committed: asyncio.Future[bool] | None = None
    ended_elsewhere: bool = False
    let_go: bool = False


class InFlight:
    """By run id."""

    def __init__(self) -> None:
        self._flights: dict[int, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights.values())

    def add(self, flight: Flight) -> None:
        self._flights[flight.seed.id] = flight

    def get(self, run_id: int) -> Flight | None:
        return self._flights.get(run_id)

    def pop(self, run_id: int) -> Flight | None:
        return self._flights.pop(run_id, None)
