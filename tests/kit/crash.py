"""What happens at a named point of the flow: a death, or whatever the test puts there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection


class Crash(BaseException):
    """The process dies here."""


class CrashSignals:
    """Implements `core.ports.Signals`: notes the named points, and dies at `crash_at`, once.

    `at` holds what else is to be done at a point, the next time that it is reached.
    """

    def __init__(self, on_crash: Callable[[], None]) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.at: dict[str, Callable[[], None]] = {}
        self.crash_at: str | None = None
        self.crashed = False
        self._on_crash = on_crash

    def reached(self, point: str, ids: Collection[int]) -> None:
        self.seen[point].extend(ids)
        if point in self.at:
            self.at.pop(point)()
        if point == self.crash_at and not self.crashed:
            self.crashed = True
            self._on_crash()
            raise Crash
