"""Looking back at one instant of a job: the port of the store for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.core.calendar_days import Editions
from gateway.core.model import Job, Run
from gateway.core.versions import JobVersion


@dataclass(frozen=True, slots=True)
class Grave:
    """What is left of a job that was deleted."""

    name: str
    author: str
    deleted_ms: int


class Hindsight(Protocol):
    async def version_at(self, job_id: int, at_ms: int) -> JobVersion | None:
        """The version that slots at that instant follow; None before the first. Raises `NotFound`."""
        ...

    async def editions(self, job: Job, at_ms: int) -> Mapping[str, Editions]:
        """Of the calendars that a version of a job uses: what held for a slot at that instant, and what holds now."""
        ...

    async def grave(self, job_id: int) -> Grave | None: ...

    async def slot_row(self, job_id: int, slot_ms: int) -> Run | None:
        """A row of that slot, or the one that stands for it among others."""
        ...

    async def latest_slot(self, job_id: int, at_ms: int) -> int | None:
        """The last slot up to that instant that has a row."""
        ...
