"""What is simulated: jobs, apps, pauses, and how long runs take, in a range of time; and who is asked for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.confine import Slots
from gateway.core.model import App, Job
from gateway.core.pauses import Pauses
from gateway.core.tallies import Outcome

MOST_FIRES = 200_000
MOST_JOBS = 20_000
DEFAULT_RUN_MS = 1000


@dataclass(frozen=True, slots=True)
class Subject:
    """A job and how long each of its runs is assumed to take."""

    job: Job
    schedule: Slots
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """From `from_ms` to `to_ms`, outside. `executors`: how many a job may use, where that is not one.

    `away`: spans, in order and apart, in which the scheduler is not there. `listed`: so many runs are told one by one.
    """

    from_ms: int
    to_ms: int
    subjects: Sequence[Subject]
    apps: Mapping[int, App]
    pauses: Pauses = field(default_factory=Pauses)
    executors: Mapping[int, int] = field(default_factory=dict)
    away: Sequence[tuple[int, int]] = ()
    most_fires: int = MOST_FIRES
    listed: int = 1000


def parents_of(subjects: Sequence[Subject]) -> dict[int, set[int]]:
    """Of each child, the jobs that start it."""
    found: dict[int, set[int]] = {}
    for subject in subjects:
        for child in subject.job.children:
            found.setdefault(child.job_id, set()).add(subject.job.id)
    return found


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to see: the stored jobs of an app, or these, or all; and `drafts`, which are not stored.

    `stored` is False for the drafts alone. `duration_ms` None: as long as the last runs of each job took. `apps`:
    instead of those stored.
    """

    from_ms: int
    to_ms: int
    app_id: int | None = None
    job_ids: tuple[int, ...] | None = None
    stored: bool = True
    drafts: tuple[Job, ...] = ()
    duration_ms: int | None = None
    away: tuple[tuple[int, int], ...] = ()
    apps: Mapping[int, App] = field(default_factory=dict)
    listed: int = 1000


@dataclass(frozen=True, slots=True)
class Simulated:
    """`unreadable`: jobs whose stored schedule cannot be read, which were left out."""

    outcome: Outcome
    subjects: Mapping[int, Subject]
    apps: Mapping[int, App]
    unreadable: tuple[int, ...] = ()


class Durations(Protocol):
    async def mean_ms(self, job_ids: Collection[int]) -> dict[int, int]:
        """How long the last runs of these jobs took on the average; jobs without any are left out."""
        ...


class Simulator(Protocol):
    """Called by the API."""

    async def simulate(self, wish: Wish) -> Simulated:
        """Raises `NotFound`, `InvalidValue` for what is too much, `Conflict` while another one is at work."""
        ...
