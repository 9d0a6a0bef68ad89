"""Deadlines of the server's own: how long an attempt may run, counted from its send, and what happens then."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import StrEnum

LOST_AFTER_S = 60
MAX_DEADLINE_S = 30 * 86_400


class OnDeadline(StrEnum):
    ALERT = "alert"
    KILL = "kill"


class Due:
    """Runs by the instant at which their deadline is to be looked at. One that ends early may stay until then."""

    KEPT = 1000

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._at: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._at)

    def add(self, run_id: int, at_ms: int) -> None:
        """A run that is there already is looked at at the earlier of both instants."""
        if self._at.get(run_id, at_ms + 1) > at_ms:
            self._at[run_id] = at_ms
            heapq.heappush(self._heap, (at_ms, run_id))

    def next_ms(self) -> int | None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now_ms: int) -> list[int]:
        """Those that are to be looked at now."""
        taken: list[int] = []
        while (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            run_id = heapq.heappop(self._heap)[1]
            del self._at[run_id]
            taken.append(run_id)
        return taken

    def shrink(self, runs: int, is_there: Callable[[int], bool]) -> None:
        """Forget those that are over, once they are many beside the `runs` that there are."""
        if len(self._heap) > self.KEPT + 2 * runs:
            self._at = {run_id: at_ms for run_id, at_ms in self._at.items() if is_there(run_id)}
            self._heap = [(at_ms, run_id) for run_id, at_ms in self._at.items()]
            heapq.heapify(self._heap)
