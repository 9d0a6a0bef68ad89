"""What was due in a range of time: by the versions of a job, and by its calendars as they were then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gateway.core.calendar_days import Editions, days_at
from gateway.core.confine import is_slot, schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.model import Job
from gateway.core.schedule import phases
from gateway.core.versions import JobVersion

_NO_CALENDAR: Mapping[str, Editions] = {}


@dataclass(frozen=True, slots=True)
class Interval:
    """A version, with calendars as they were, held for slots after one instant and up to another, within the range.

    `since_ms`: from when on it did, also before the range.
    """

    job: Job
    after_ms: int
    until_ms: int
    since_ms: int

    def holds(self, slot_ms: int) -> bool:
        return self.after_ms < slot_ms <= self.until_ms

    def holds_of_chain(self, slot_ms: int) -> bool:
        """At the instant of a change a chain goes on by what it was before, or by what it is from then on."""
        return self.holds(slot_ms) or slot_ms == self.after_ms == self.since_ms


def intervals(
    versions: Sequence[JobVersion],
    deleted_ms: int,
    from_ms: int,
    to_ms: int,
    editions: Mapping[str, Editions] = _NO_CALENDAR,
) -> list[Interval]:
    """From `from_ms` up to before `to_ms`. A slot at the instant of a change is of before."""
    found: list[Interval] = []
    ordered = sorted(versions, key=lambda one: one.number)
    ends = [one.created_ms for one in ordered[1:]] + [deleted_ms if deleted_ms > 0 else to_ms - 1]
    for version, end_ms in zip(ordered, ends, strict=True):
        cuts = [version.created_ms, *_changes(version, end_ms, editions), end_ms]
        for since_ms, until_ms in pairwise(cuts):
            after_ms, last_ms = max(since_ms, from_ms - 1), min(until_ms, to_ms - 1)
            if after_ms < last_ms:
                job = dated(version.job, editions, until_ms)
                found.append(Interval(job, after_ms, last_ms, since_ms))
    return found


def _changes(version: JobVersion, end_ms: int, editions: Mapping[str, Editions]) -> list[int]:
    """When calendars of a version were changed while it was in force."""
    names = {use.name for use in version.job.timing.calendars}
    ends = {at for name in names for one in editions.get(name, ()) for at in (one.from_ms, one.until_ms)}
    return sorted(at for at in ends if version.created_ms < at < end_ms)


def dated(job: Job, editions: Mapping[str, Editions], at_ms: int) -> Job:
    """With the days of its calendars for slots at an instant, none where those of one of them are not known."""
    uses = job.timing.calendars
    return replace(job, days=days_at(uses, editions, at_ms)) if uses else job


def before(
    interval: Interval, versions: Iterable[JobVersion], editions: Mapping[str, Editions]
) -> Job | None:
    """The job as it was before the change that an interval begins with."""
    earlier = [one for one in versions if one.created_ms < interval.since_ms]
    if not earlier:
        return None
    return dated(max(earlier, key=lambda one: one.number).job, editions, interval.since_ms)


def why_unproven(job: Job) -> str:
    """Why nobody can tell from this version alone what was due."""
    if job.anchor_ms == 0 and phases(job.schedule):
        return "the phase of its fixed rate was not kept yet"
    if job.timing.calendars and job.days is None:
        return "its calendar was changed or deleted since, and the days of then were not kept"
    try:
        schedule_of(job)
    except InvalidValue:
        return "the schedule cannot be read by this version"
    return ""


def had_slot(job: Job | None, slot_ms: int) -> bool:
    """Whether the job as it was is known to have had this slot."""
    if job is None or not job.enabled or why_unproven(job):
        return False
    return is_slot(job, schedule_of(job), slot_ms)
