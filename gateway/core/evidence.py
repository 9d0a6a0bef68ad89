"""What is known of a job when it is judged: its versions, the first rows of its slots, what may have been removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.core.calendar_days import Editions
from gateway.core.expected import Interval, before
from gateway.core.model import Job
from gateway.core.states import OPEN, RunState
from gateway.core.versions import JobVersion

MOST_SLOTS = 100_000
"""Of one job; a longer range has to be asked for in pieces."""
EDIT_MS = 5000
"""For so long after a change, what was claimed before it may still have been sent: the change had not been answered."""
UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class FirstRow:
    """The row of a slot, not of a retry or a shard. `ended_ms`: the end of its last attempt, 0 while one is open.

    `first_sent_ms`: when the first of its attempts and shards was sent, where that may be another row than this.
    `is_belated`: it had been given up before its end, when is not kept.
    """

    id: int
    slot_ms: int
    last_slot_ms: int
    slot_count: int
    state: RunState
    reason: str
    due_ms: int
    sent_ms: int
    ended_ms: int = 0
    first_sent_ms: int = 0
    is_belated: bool = False

    @property
    def began_ms(self) -> int:
        """When it really began, 0 if nothing of it was sent."""
        return self.first_sent_ms or self.sent_ms

    @property
    def counts(self) -> bool:
        """Whether it was sent, or may still be."""
        return bool(self.began_ms) or self.state in OPEN


class Fired(NamedTuple):
    """How many slots of a maximum there were before the range, at least and at most; in which version it begins."""

    version: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database knows of one job.

    `next_fire_at`: from there on nothing is planned yet; None if all is, or the job has no slots ahead. `cut_ms`: rows
    of slots before it may have been removed by age. `removed`: rows of slots from one instant to another may have been
    removed by hand. `deleted_ms` is 0 for a job that is there, -1 if it is not known when it was deleted. `before`: the
    last row before the range, for a job whose runs follow each other. `editions`: the calendars of its versions as they were.
    `open_at`: when the job was changed or deleted, and which run of its chain was open then, as far as was known.
    """

    versions: Sequence[JobVersion]
    rows: Sequence[FirstRow]
    next_fire_at: int | None
    cut_ms: int
    removed: Sequence[tuple[int, int]] = ()
    deleted_ms: int = 0
    fired: Fired | None = None
    before: FirstRow | None = None
    editions: Mapping[str, Editions] = field(default_factory=dict)
    open_at: Mapping[int, int] = field(default_factory=dict)

    def is_removed(self, from_ms: int, to_ms: int) -> bool:
        """Whether rows of slots between these instants may have been removed by hand."""
        return any(first <= to_ms and from_ms <= last for first, last in self.removed)

    def job_before(self, interval: Interval) -> Job | None:
        """As it was before the change that the interval begins with."""
        return before(interval, self.versions, self.editions)


class EvidenceReader(Protocol):
    async def jobs(
        self, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
    ) -> list[int]:
        """Jobs with larger ids, deleted ones too as long as something of them is left."""
        ...

    async def of_job(self, job_id: int, from_ms: int, to_ms: int) -> Evidence:
        """Raises `NotFound`, and `InvalidValue` for a range with too many rows."""
        ...
