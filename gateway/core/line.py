"""Runs that wait for a place, in the order in which they will get one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TypeAlias

from gateway.core.model import NewRun

Turn: TypeAlias = tuple[int, int, int, int]


def turn_of(run: NewRun) -> Turn:
    """Whoever was moved to the front, then the higher priority, the earlier due time, the smaller id."""
    return (-run.queue_rank, -run.priority, run.due_ms, run.id)


class Line:
    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._runs: dict[int, NewRun] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[NewRun]:
        return (self._runs[turn[3]] for turn in self._turns)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._runs

    def add(self, run: NewRun) -> None:
        insort(self._turns, turn_of(run))
        self._runs[run.id] = run

    def first(self) -> NewRun:
        """Raises `IndexError` when nobody waits."""
        return self._runs[self._turns[0][3]]

    def remove(self, run: NewRun) -> None:
        del self._turns[self.ahead_of(run)]
        del self._runs[run.id]

    def ahead_of(self, run: NewRun) -> int:
        """How many wait before this one."""
        return bisect_left(self._turns, turn_of(run))
