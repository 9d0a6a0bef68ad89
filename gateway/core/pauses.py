"""Pauses: nothing new of a job, of an app or of all starts until somebody, or the clock, ends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.clock import iso_utc
from gateway.core.listing import Covered

PAUSED_BY = " is paused by "


class Scope(StrEnum):
    """What a pause covers. Stored as these words."""

    ALL = "all"
    APP = "app"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Pause:
    """`scope_id` is the app's or job's id, 0 for all; `until_ms` 0 for no end of its own."""

    scope: Scope
    scope_id: int
    reason: str
    author: str
    created_ms: int
    until_ms: int = 0

    def holds(self, at_ms: int) -> bool:
        return not self.until_ms or at_ms < self.until_ms

    @property
    def words(self) -> str:
        what = "everything" if self.scope is Scope.ALL else f"the {self.scope.value}"
        why = f": {self.reason}" if self.reason else ""
        until = f", until {iso_utc(self.until_ms)}" if self.until_ms else ""
        return f"{what}{PAUSED_BY}{self.author}{until}{why}"


class Pauses:
    """Those that this node knows of, by what they cover. `revision` is the count of changes that they surely hold."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[Scope, int], Pause] = {}
        self.revision = 0

    def __bool__(self) -> bool:
        return bool(self._pauses)

    def replace(self, pauses: Iterable[Pause], revision: int = 0) -> None:
        self._pauses = {(pause.scope, pause.scope_id): pause for pause in pauses}
        self.revision = revision

    def find(self, app_id: int, job_id: int, at_ms: int) -> Pause | None:
        """What keeps a run of this job from starting at that instant; the widest pause first."""
        for key in ((Scope.ALL, 0), (Scope.APP, app_id), (Scope.JOB, job_id)):
            pause = self._pauses.get(key)
            if pause is not None and pause.holds(at_ms):
                return pause
        return None

    def covered(self, at_ms: int) -> Covered:
        """What they cover at that instant."""
        held = [key for key, pause in self._pauses.items() if pause.holds(at_ms)]
        apps, jobs = (
            frozenset(id_ for scope, id_ in held if scope is wanted) for wanted in (Scope.APP, Scope.JOB)
        )
        return Covered((Scope.ALL, 0) in held, apps, jobs)

    def next_end_ms(self, now_ms: int) -> int | None:
        """When the next of them ends by itself."""
        ends = (pause.until_ms for pause in self._pauses.values() if pause.until_ms > now_ms)
        return min(ends, default=None)


class PauseReader(Protocol):
    async def all_pauses(self) -> Sequence[Pause]:
        """Those in force, the oldest first."""
        ...

    async def revision(self) -> int:
        """How often pauses have been changed: whoever reads them after that knows of all these changes."""
        ...


class PauseCatalog(PauseReader, Protocol):
    async def put(self, pause: Pause, *, called: str, name: str = "") -> Pause:
        """Begin it, or change the one that covers the same. `called`, `name`: what events call the job or app."""
        ...

    async def end(self, scope: Scope, scope_id: int, *, called: str, name: str = "") -> None:
        """Raises `NotFound`."""
        ...
