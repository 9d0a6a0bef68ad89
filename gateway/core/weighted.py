"""Weighted turns: executors in proportion to their weights, each one's turns spread evenly."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping

_RESTART_AT = 1e4  # passes grow by 1 / weight a turn: before rounding could disturb the order
_MOST_ABSENT = 20  # whose turns are remembered beside those of as many as are there


class WeightedTurns:
    """By job. An executor of weight w is due again 1/w after its last turn; whoever is due first is next.

    So equal weights take strict turns, and any number of turns in a row holds each executor's share of them, give or
    take one turn of each. The first turn is chosen by chance, so that many jobs with few runs spread by weight as well.
    """

    def __init__(self, rng: random.Random, max_jobs: int = 100_000) -> None:
        self._rng = rng
        self._max_jobs = max_jobs
        self._jobs: OrderedDict[int, _Turns] = OrderedDict()

    def next(self, job_id: int, weights: Mapping[str, int]) -> str:
        """One of these addresses; there is at least one, and no weight is 0."""
        turns = self._jobs.get(job_id)
        if turns is None or turns.now > _RESTART_AT:
            turns = self._jobs[job_id] = _Turns()
            if len(self._jobs) > self._max_jobs:
                self._jobs.popitem(last=False)
        self._jobs.move_to_end(job_id)
        return turns.next(weights, self._rng)


class _Turns:
    """`due` has the weight by which each address's next turn was set, and when that is."""

    __slots__ = ("due", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.due: dict[str, tuple[int, float]] = {}

    def next(self, weights: Mapping[str, int], rng: random.Random) -> str:
        is_first = not self.due
        for address, weight in weights.items():
            known = self.due.get(address)
            # One that was away makes up for nothing, and another weight holds from now on.
            if known is None or known[0] != weight or known[1] < self.now:
                self.due[address] = (weight, self.now + rng.random() / weight)
        if is_first:
            (chosen,) = rng.choices(tuple(weights), tuple(weights.values()))
            self.due[chosen] = (weights[chosen], self.now)
        else:
            chosen = min(weights, key=lambda address: self.due[address][1])
        weight, self.now = self.due[chosen]
        self.due[chosen] = (weight, self.now + 1 / weight)
        if len(self.due) > 2 * len(weights) + _MOST_ABSENT:
            self.due = {address: self.due[address] for address in weights}
        return chosen
