"""How many slots a job with a maximum of fires has had by some instant, as far as the evidence says.

The count begins when a maximum is set where there was none, and goes on when it is changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.evidence import UNLIMITED, Fired
from gateway.core.model import Job
from gateway.core.versions import JobVersion


class Fires:
    """Is told of versions and slots in their order. `before`: what there was before the range."""

    def __init__(self, versions: Sequence[JobVersion], before: Fired | None) -> None:
        self._most_of = {one.number: one.job.timing.window.max_fires for one in versions}
        self._at, self._least, self._most = before or Fired(0, 0, 0)
        self._maximum = 0

    def reach(self, job: Job) -> None:
        """What follows are slots of this version."""
        for number in range(self._at + 1, job.version + 1):
            if not (self._most_of.get(number) and self._most_of.get(number - 1)):
                self._least = self._most = 0
        self._at, self._maximum = job.version, job.timing.window.max_fires

    @property
    def is_over(self) -> bool:
        """Whether nothing more is due."""
        return 0 < self._maximum <= self._least

    @property
    def is_unsure(self) -> bool:
        """Whether it may be that nothing more is due."""
        return 0 < self._maximum <= self._most

    def add(self, *, is_certain: bool = True) -> None:
        """One more slot; not `is_certain`: it may not have counted."""
        self._least += is_certain
        self._most += 1

    def lose_count(self) -> None:
        """Of some slots nobody knows whether there were any."""
        self._most = UNLIMITED
