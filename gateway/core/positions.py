"""Lists by position, as XXL-JOB's pages are asked for: so many rows from the n-th on, and how many there are in all.

A cursor costs the same on every page and this does not, so only surfaces that have to be like that use it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from gateway.core.model import App, Job, Run

T = TypeVar("T")

MAX_START = 1_000_000
MAX_TEXT = 16_000_000
"""A slice ends early where its texts have more characters, with the item that goes beyond."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows `start` (from 0) to `start + length`, the last one not included."""

    start: int = 0
    length: int = 10


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    total: int
    items: Sequence[T]


@dataclass(frozen=True, slots=True)
class JobSearch:
    """Texts are parts, in any case; None means any."""

    app_ids: frozenset[int] | None = None
    enabled: bool | None = None
    name: str = ""
    handler: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class AppSearch:
    """Texts are parts, in any case; None means any."""

    app_ids: frozenset[int] | None = None
    appname: str = ""
    title: str = ""


class LogStatus(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class RunSearch:
    """Times bound the instant at which a run is due. Job 0 and None mean any."""

    app_ids: frozenset[int] | None = None
    job_id: int = 0
    status: LogStatus | None = None
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DayEnds:
    """How many sends ended in a day, and how."""

    succeeded: int
    failed: int


class Positions(Protocol):
    async def jobs(self, search: JobSearch, window: Window) -> Slice[Job]:
        """The largest id first."""
        ...

    async def apps(self, search: AppSearch, window: Window) -> Slice[App]:
        """By appname."""
        ...

    async def runs(self, search: RunSearch, window: Window) -> Slice[Run]:
        """Sends of runs, the latest first, among the newest of the job, of the apps or of all.

        Without those that are planned, that were skipped, and parents that have shards.
        """
        ...

    async def ended(self, app_ids: frozenset[int] | None, bounds: Sequence[int]) -> list[DayEnds | None]:
        """Between each two of these instants, ascending; None where more has happened since than is looked at."""
        ...

    async def last_due(self, job_ids: Collection[int]) -> dict[int, int]:
        """When the last run of each that was to start was due."""
        ...

    async def running(self, app_ids: frozenset[int] | None) -> int:
        """How many are under way."""
        ...
