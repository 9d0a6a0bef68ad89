"""A death at a named point of the flow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection


class Crash(BaseException):
    """The process dies here."""


class CrashSignals:
    """Implements `core.ports.Signals`: notes the named points, and dies at `crash_at`, once."""

    def __init__(self, on_crash: Callable[[], None]) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.crash_at: str | None = None
        self.crashed = False
        self._on_crash = on_crash

    def reached(self, point: str, ids: Collection[int]) -> None:
        self.seen[point].extend(ids)
        if point == self.crash_at and not self.crashed:
            self.crashed = True
            self._on_crash()
            raise Crash
