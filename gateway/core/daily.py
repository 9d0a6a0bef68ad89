"""How the runs of a day went: counts of those that ended on it, by job. Days are those of UTC, numbered from 1970."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Protocol

from gateway.core.model import DEFAULT_NAMESPACE

DAY_MS = 86_400_000
LATE_MS = 1000
"""A run that was sent later than this counts as late."""


def day_of(ms: int) -> int:
    return ms // DAY_MS


@dataclass(slots=True)
class Tally:
    """Counts of runs by final state, of slots that skipped runs stand for, of sends and their lateness, of durations.

    `timed` are the runs that were sent and have ended, whose durations are added up.
    """

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    lost: int = 0
    stopped: int = 0
    retrying: int = 0
    skipped: int = 0
    expired: int = 0
    invalid: int = 0
    skipped_slots: int = 0
    sent: int = 0
    late: int = 0
    lateness_ms: int = 0
    lateness_max_ms: int = 0
    timed: int = 0
    duration_ms: int = 0
    duration_max_ms: int = 0

    @property
    def runs(self) -> int:
        return sum(getattr(self, name) for name in STATES)

    def add(self, other: Tally, sign: int = 1) -> None:
        """The sum; of the largest values the larger one, which taking away (`sign` -1) leaves alone."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        if sign > 0:
            for name in LARGEST:
                setattr(self, name, max(getattr(self, name), getattr(other, name)))


LARGEST = ("lateness_max_ms", "duration_max_ms")
SUMS = tuple(one.name for one in fields(Tally) if one.name not in LARGEST)
STATES = SUMS[:9]


class Ended(Protocol):
    """A row of a run that has ended. `state` is the number of a final state."""

    state: int
    shard: int
    slot_count: int
    due_ms: int
    sent_ms: int
    finished_ms: int


_NAMES = dict(zip((10, 11, 12, 13, 14, 15, 16, 17, 18), STATES, strict=True))


def tally(rows: Iterable[Ended]) -> dict[int, Tally]:
    """What these rows add to each day."""
    days: dict[int, Tally] = {}
    for row in rows:
        day = days.setdefault(day_of(row.finished_ms), Tally())
        name = _NAMES[row.state]
        setattr(day, name, getattr(day, name) + 1)
        if name == "skipped":
            day.skipped_slots += row.slot_count
        if not row.sent_ms or row.shard < 0:
            continue  # the parent of a broadcast is never sent itself
        lateness_ms = max(row.sent_ms - row.due_ms, 0)
        day.sent += 1
        day.late += lateness_ms > LATE_MS
        day.lateness_ms += lateness_ms
        day.lateness_max_ms = max(day.lateness_max_ms, lateness_ms)
        if row.finished_ms >= row.sent_ms:
            day.timed += 1
            day.duration_ms += row.finished_ms - row.sent_ms
            day.duration_max_ms = max(day.duration_max_ms, row.finished_ms - row.sent_ms)
    return days


@dataclass(frozen=True, slots=True)
class DailyFilter:
    """Days from `first` to `last`, both included; None means any."""

    first: int
    last: int
    namespace_id: int = DEFAULT_NAMESPACE
    job_id: int | None = None
    app_id: int | None = None


@dataclass(frozen=True, slots=True)
class DayTally:
    """A day that has any, and when what is still there of it was last counted (0: all of it is removed)."""

    day: int
    tally: Tally
    counted_ms: int


class DailyCatalog(Protocol):
    async def read(self, wanted: DailyFilter) -> list[DayTally]:
        """In the order of days, without those on which nothing ended. From counts, never from the history."""
        ...

    async def of_old_admins(self, first: int, last: int) -> dict[int, Tally]:
        """What daily reports of old admins say of these days, both included, of which no runs are here."""
        ...
