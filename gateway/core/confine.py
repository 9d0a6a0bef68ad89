"""A job's schedule within its bounds: what is left of it by window, exclusions and calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.calendar_days import CalendarMode, Days
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
    days: Days | None,
) -> Slots:
    """The schedule that was parsed from `spec`, as it is where nothing bounds it."""
    window = timing.window
    if not (window.start_ms or window.end_ms or timing.exclusions or timing.calendar):
        return schedule
    members = schedule.members if isinstance(schedule, Union) else (schedule,)
    specs = (spec,) if isinstance(spec, Mapping) else spec
    zones = tuple(map(zone_of, specs))
    return Confined(tuple(zip(members, zones, strict=True)), timing, days or Days(()))


@dataclass(frozen=True, slots=True)
class Confined:
    """Members with the zones on whose clocks their exclusions and days are read."""

    members: tuple[tuple[Schedule, Zone], ...]
    timing: Timing
    days: Days

    @property
    def misfire(self) -> Misfire:
        return self.members[0][0].misfire

    def first_after(self, now_ms: int) -> int | None:
        start_ms = max(now_ms, self.timing.window.start_ms - 1)
        return self._earliest([(member, zone, member.first_after(start_ms)) for member, zone in self.members])

    def next_after(self, slot_ms: int) -> int | None:
        start_ms = max(slot_ms, self.timing.window.start_ms - 1)
        return self._earliest([(member, zone, member.next_after(start_ms)) for member, zone in self.members])

    def _earliest(self, found: Sequence[tuple[Schedule, Zone, int | None]]) -> int | None:
        return min(
            (at for member, zone, first in found if (at := self._left(member, zone, first)) is not None),
            default=None,
        )

    def _left(self, member: Schedule, zone: Zone, at_ms: int | None) -> int | None:
        """The first slot of a member from that one on that nothing excludes."""
        end_ms = self.timing.window.end_ms
        for _ in range(MOST_EXCLUDED):
            if at_ms is None or (end_ms and at_ms >= end_ms):
                return None
            again_ms = self._again(at_ms, zone)
            if again_ms == at_ms:
                return at_ms
            at_ms = None if again_ms is None else member.next_after(again_ms - 1)
        return None

    def _again(self, at_ms: int, zone: Zone) -> int | None:
        """That instant if nothing excludes it, else one up to which all are excluded; None if all that follow are."""
        for exclusion in self.timing.exclusions:
            end_ms = exclusion.end_ms(at_ms, zone)
            if end_ms is not None:
                return end_ms
        use = self.timing.calendar
        if use is None:
            return at_ms
        at_s = at_ms // 1000
        day = (at_s + zone.offset_s(at_s)) // DAY_S
        if use.mode is CalendarMode.EXCLUDE:
            following: int | None = self.days.first_unlisted(day)
        else:
            following = self.days.first_listed(day)
        if following is None or following == day:
            return at_ms if following == day else None
        return day_start_s(zone, following, at_s) * 1000


def day_start_s(zone: Zone, day: int, after_s: int) -> int:
    """When the clock of a zone first shows that day after an instant at which it shows an earlier one."""
    midnight = day * DAY_S
    for instant in zone.instants(midnight):
        if instant > after_s:
            return instant
    # Clocks go forward over this midnight: the day begins with the jump.
    before = zone.offset_s(midnight - 2 * DAY_S)
    return max(zone.span(midnight - before).start, after_s + 1)
