"""A job's schedule within its bounds: what is left of it by window, exclusions and calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.calendar_days import DayRule, Days
from gateway.core.chain import SecondDelay, is_chained
from gateway.core.model import Job, Misfire
from gateway.core.schedule import Schedule, Union, parse_schedule, zone_of
from gateway.core.timing import Timing
from gateway.core.zones import DAY_S, Zone

MOST_EXCLUDED = 2000
"""Excluded instants in a row after which a search ends: there may be no other."""


class Slots(Protocol):
    """Whatever is due at instants."""

    @property
    def misfire(self) -> Misfire: ...

    def first_after(self, now_ms: int) -> int | None: ...

    def next_after(self, slot_ms: int) -> int | None: ...


def schedule_of(job: Job) -> Slots:
    """Of a stored job, with all that bounds it but the maximum of fires. Raises InvalidValue."""
    schedule = parse_schedule(job.schedule, anchor_ms=job.anchor_ms)
    return confined(schedule, job.schedule, job.timing, job.days)


def confined(
    schedule: Schedule,
    spec: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    timing: Timing,
    days: Sequence[Days] | None,
) -> Slots:
    """The schedule that was parsed from `spec`, as it is where nothing bounds it. `days`: of each of its calendars."""
    window = timing.window
    bounded = window.start_ms or window.end_ms or timing.exclusions or timing.calendars
    # The maximum of a chain is judged with its other bounds: no row tells how many of its slots are ahead.
    if not bounded and not (isinstance(schedule, SecondDelay) and window.max_fires):
        return schedule
    zones = tuple(map(zone_of, (spec,) if isinstance(spec, Mapping) else spec))
    known = [Days(())] * len(timing.calendars) if days is None else days
    bounds = Bounds(timing, DayRule(timing.calendars, known) if timing.calendars else None)
    if isinstance(schedule, SecondDelay):
        return ConfinedChain(schedule, zones[0], bounds)
    members = schedule.members if isinstance(schedule, Union) else (schedule,)
    return Confined(tuple(zip(members, zones, strict=True)), bounds)


def is_slot(job: Job, schedule: Slots, at_ms: int) -> bool:
    """Whether an instant may be a slot of a job; any is one of a chain that nothing excludes."""
    if is_chained(job):
        return schedule.first_after(at_ms) == at_ms
    return schedule.next_after(at_ms - 1) == at_ms


def next_slot(job: Job) -> int | None:
    """The next slot of a stored job: what is kept of a chain is the instant at which its delay is over."""
    if job.next_fire_at is None or not is_chained(job):
        return job.next_fire_at
    if 0 < job.timing.window.max_fires <= job.fired:
        return None
    return schedule_of(job).first_after(job.next_fire_at)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Window, exclusions and the days of the calendars."""

    timing: Timing
    days: DayRule | None

    def again(self, at_ms: int, zone: Zone) -> int | None:
        """That instant if nothing excludes it, else one up to which all are excluded; None if all that follow are."""
        end_ms = self.timing.window.end_ms
        if end_ms and at_ms >= end_ms:
            return None
        for exclusion in self.timing.exclusions:
            after_ms = exclusion.end_ms(at_ms, zone)
            if after_ms is not None:
                return after_ms
        if self.days is None:
            return at_ms
        at_s = at_ms // 1000
        day = (at_s + zone.offset_s(at_s)) // DAY_S
        following = self.days.first_left(day)
        if following is None or following == day:
            return at_ms if following == day else None
        return day_start_s(zone, following, at_s) * 1000


@dataclass(frozen=True, slots=True)
class Confined:
    """Members with the zones on whose clocks their exclusions and days are read."""

    members: tuple[tuple[Schedule, Zone], ...]
    bounds: Bounds

    @property
    def misfire(self) -> Misfire:
        return self.members[0][0].misfire

    def first_after(self, now_ms: int) -> int | None:
        start_ms = max(now_ms, self.bounds.timing.window.start_ms - 1)
        return self._earliest([(member, zone, member.first_after(start_ms)) for member, zone in self.members])

    def next_after(self, slot_ms: int) -> int | None:
        start_ms = max(slot_ms, self.bounds.timing.window.start_ms - 1)
        return self._earliest([(member, zone, member.next_after(start_ms)) for member, zone in self.members])

    def _earliest(self, found: Sequence[tuple[Schedule, Zone, int | None]]) -> int | None:
        return min(
            (at for member, zone, first in found if (at := self._left(member, zone, first)) is not None),
            default=None,
        )

    def _left(self, member: Schedule, zone: Zone, at_ms: int | None) -> int | None:
        """The first slot of a member from that one on that nothing excludes."""
        for _ in range(MOST_EXCLUDED):
            if at_ms is None:
                return None
            again_ms = self.bounds.again(at_ms, zone)
            if again_ms == at_ms:
                return at_ms
            at_ms = None if again_ms is None else member.next_after(again_ms - 1)
        return None


@dataclass(frozen=True, slots=True)
class ConfinedChain:
    """A second delay: what is excluded when its delay is over moves to the first instant after it that is not."""

    chain: SecondDelay
    zone: Zone
    bounds: Bounds

    @property
    def misfire(self) -> Misfire:
        return self.chain.misfire

    def first_after(self, now_ms: int) -> int | None:
        at_ms: int | None = max(now_ms, self.bounds.timing.window.start_ms)
        for _ in range(MOST_EXCLUDED):
            if at_ms is None:
                return None
            again_ms = self.bounds.again(at_ms, self.zone)
            if again_ms == at_ms:
                return at_ms
            at_ms = again_ms
        return None

    def next_after(self, slot_ms: int) -> int | None:
        return self.chain.next_after(slot_ms)

    def slot_of(self, over_ms: int, now_ms: int) -> int | None:
        """The slot after a delay that is over at one instant, seen at another: by then it may be excluded."""
        slot_ms = self.first_after(over_ms)
        if slot_ms is None or slot_ms >= now_ms:
            return slot_ms
        later_ms = self.first_after(now_ms)
        return slot_ms if later_ms == now_ms else later_ms


def day_start_s(zone: Zone, day: int, after_s: int) -> int:
    """When the clock of a zone first shows that day after an instant at which it shows an earlier one."""
    midnight = day * DAY_S
    for instant in zone.instants(midnight):
        if instant > after_s:
            return instant
    # Clocks go forward over this midnight: the day begins with the jump.
    before = zone.offset_s(midnight - 2 * DAY_S)
    return max(zone.span(midnight - before).start, after_s + 1)
