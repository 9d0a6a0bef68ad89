"""Whether an instant is a slot of a job and by which part of its schedule, or what keeps it from being one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.core.calendar_days import CalendarMode
from gateway.core.chain import is_chained
from gateway.core.confine import Slots, schedule_of
from gateway.core.facts import Fact, when
from gateway.core.model import Job
from gateway.core.schedule import Cron, FixedRate, OneTime, Schedule, Union, parse_schedule, zone_of
from gateway.core.zones import DAY_S, Zone

_FIRST_BACK_MS = 60_000
_FARTHEST_BACK_MS = 40 * 366 * DAY_S * 1000
_JUMP_S = 4 * 3600  # clocks go forward by less
SAME_MS = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """One of a job's schedules, as it is stored and as it was read."""

    spec: Mapping[str, Any]
    schedule: Schedule
    zone: Zone

    @property
    def words(self) -> str:
        match self.schedule:
            case Cron():
                return f"{self.spec['kind']} {self.schedule.expression.text!r} ({self.zone.name})"
            case FixedRate():
                return f"{self.spec['kind']} every {self.spec['expression']}"
            case OneTime():
                return f"one time {self.spec['expression']!r}"
            case _:
                return str(self.spec["kind"])


@dataclass(frozen=True, slots=True)
class Look:
    """`slot_ms` is the slot at the instant or within the second before it; `before_ms`, `after_ms` its neighbours."""

    slot_ms: int | None
    before_ms: int | None
    after_ms: int | None


NOWHERE = Look(None, None, None)


def members_of(job: Job) -> list[Member]:
    """Raises `InvalidValue` for a schedule that cannot be read."""
    specs: Sequence[Mapping[str, Any]] = job.schedule if isinstance(job.schedule, tuple) else (job.schedule,)
    schedule = parse_schedule(job.schedule, anchor_ms=job.anchor_ms)
    members = schedule.members if isinstance(schedule, Union) else (schedule,)
    return [Member(spec, member, zone_of(spec)) for spec, member in zip(specs, members, strict=True)]


def look_at(job: Job, at_ms: int) -> Look:
    """Raises `InvalidValue` for a schedule that cannot be read."""
    schedule = schedule_of(job)
    before_ms = slot_before(schedule, at_ms)
    slot_ms = None
    if before_ms is not None and at_ms - before_ms < SAME_MS:
        slot_ms, before_ms = before_ms, slot_before(schedule, before_ms - 1)
    after_ms = schedule.next_after(at_ms)
    return Look(slot_ms, before_ms, after_ms)


def slot_before(schedule: Slots, at_ms: int) -> int | None:
    """The last slot up to an instant, that one included. Schedules look forward only, so it is searched."""
    back_ms = _FIRST_BACK_MS
    while not _has_slot(schedule, at_ms - back_ms, at_ms):
        if back_ms > min(at_ms, _FARTHEST_BACK_MS):
            return None
        back_ms *= 4
    low, high = at_ms - back_ms, at_ms  # there is a slot from `low` on, and none after `high`
    while low < high:
        middle = (low + high + 1) // 2
        if _has_slot(schedule, middle, at_ms):
            low = middle
        else:
            high = middle - 1
    return low


def _has_slot(schedule: Slots, from_ms: int, to_ms: int) -> bool:
    following = schedule.next_after(from_ms - 1)
    return following is not None and following <= to_ms


def matching(members: Sequence[Member], at_ms: int) -> list[Member]:
    """Those that are due at that instant, whatever bounds the job."""
    return [member for member in members if member.schedule.next_after(at_ms - 1) == at_ms]


def match_facts(job: Job, slot_ms: int, zone: Zone) -> Iterator[Fact]:
    """Which schedules a slot is of, and what of its bounds let it be one."""
    members = members_of(job)
    for member in matching(members, slot_ms):
        several = f" (one of {len(members)} schedules)" if len(members) > 1 else ""
        yield Fact(
            "schedule",
            f"{member.words} matches{several}: {when(slot_ms, member.zone)}.",
            {"slot": slot_ms},
            {
                "schedule": member.spec["kind"],
                "expression": member.spec.get("expression"),
                "timezone": member.zone.name,
                "local": when(slot_ms, member.zone),
            },
        )
        yield from _doubled(member, slot_ms)
    for use in job.timing.calendars:
        listed = "lists the day" if use.mode is CalendarMode.INCLUDE else "does not list the day"
        yield Fact(
            "calendar",
            f"Calendar {use.name!r} ({use.mode.value}) {listed}.",
            fields={"calendar": use.name, "mode": use.mode.value},
        )
    yield from jitter_facts(job, slot_ms, zone)


def jitter_facts(job: Job, slot_ms: int, zone: Zone) -> Iterator[Fact]:
    due_ms = job.timing.due_ms(job.id, slot_ms)
    if due_ms != slot_ms:
        yield Fact(
            "jitter",
            f"Its part of the jitter makes it due at {when(due_ms, zone)}.",
            {"due": due_ms},
            {"jitter_ms": due_ms - slot_ms},
        )


def obstacles(job: Job, at_ms: int) -> Iterator[Fact]:
    """Why an instant is no slot although a schedule matches, or would on a day without a clock change."""
    members = members_of(job)
    if is_chained(job):
        yield from _excluded(job, f"{members[0].words} may go on at any time", members[0].zone, at_ms)
        return
    matched = matching(members, at_ms)
    for member in matched:
        yield from _excluded(job, f"{member.words} matches", member.zone, at_ms)
    if not matched:
        for member in members:
            yield from _clock_change(member, at_ms)


def _excluded(job: Job, lead: str, zone: Zone, at_ms: int) -> Iterator[Fact]:
    """What of a job's bounds excludes an instant. `lead`: what would make it a slot."""
    window = job.timing.window
    if window.start_ms and at_ms < window.start_ms:
        text = f"{lead}, but its window begins at {when(window.start_ms, zone)} only."
        yield Fact("window", text, {"window_start": window.start_ms})
    elif window.end_ms and at_ms >= window.end_ms:
        text = f"{lead}, but its window ended at {when(window.end_ms, zone)}."
        yield Fact("window", text, {"window_end": window.end_ms})
    for exclusion in job.timing.exclusions:
        if exclusion.end_ms(at_ms, zone) is not None:
            told = exclusion.stored()
            why = f": {exclusion.comment}" if exclusion.comment else ""
            days = f" {told['weekdays']}" if told.get("weekdays") else ""
            shown = [
                when(value, zone) if isinstance(value, int) else value for value in (told["from"], told["to"])
            ]
            text = f"{lead}, but {shown[0]} to {shown[1]}{days} is excluded{why}."
            yield Fact("exclusion", text, fields={"exclusion": told})
    day = (at_ms // 1000 + zone.offset_s(at_ms // 1000)) // DAY_S
    for use, listing in zip(job.timing.calendars, job.days or (), strict=False):
        listed = day in listing
        if listed is not (use.mode is CalendarMode.INCLUDE):
            text = f"{lead}, but calendar {use.name!r} {'lists' if listed else 'does not list'} the day."
            yield Fact("calendar", text, fields={"calendar": use.name, "mode": use.mode.value})


def _doubled(member: Member, slot_ms: int) -> Iterator[Fact]:
    if not isinstance(member.schedule, Cron):
        return
    both = member.zone.instants(slot_ms // 1000 + member.zone.offset_s(slot_ms // 1000))
    if len(both) == 2:
        is_first = slot_ms // 1000 == both[0]
        text = (
            f"The clocks of {member.zone.name} showed this time twice that day; this is the "
            f"{'first' if is_first else 'second'} of both."
        )
        yield Fact("clock_change", text, {"first": both[0] * 1000, "second": both[1] * 1000})


def _clock_change(member: Member, at_ms: int) -> Iterator[Fact]:
    """The second pass of a time that has fired at its first, or a time that clocks went forward over."""
    if not isinstance(member.schedule, Cron) or at_ms % 1000:
        return
    at_s, zone = at_ms // 1000, member.zone
    both = zone.instants(at_s + zone.offset_s(at_s))
    if len(both) == 2 and at_s == both[1] and matching([member], both[0] * 1000):
        text = (
            f"The clocks of {zone.name} showed this time twice that day; {member.words} fired at the first, "
            f"{when(both[0] * 1000, zone)}."
        )
        yield Fact("clock_change", text, {"first": both[0] * 1000, "second": at_ms})
    jump_s = zone.span(at_s).start
    old_s = zone.offset_s(jump_s - 1)
    gap_s = zone.offset_s(jump_s) - old_s
    if 0 <= at_s - jump_s < gap_s <= _JUMP_S:
        old = Zone("before the change", old_s)
        if member.schedule.expression.next_after(at_s - 1, old) == at_s:
            yield _skipped(zone, jump_s, old_s, gap_s, when(at_ms, old))


def _skipped(zone: Zone, jump_s: int, old_s: int, gap_s: int, local: str) -> Fact:
    first, last = (when((jump_s + later) * 1000, Zone("old", old_s))[11:19] for later in (0, gap_s))
    text = (
        f"{local[:19].replace('T', ' ')} did not exist in {zone.name}: clocks went forward from {first} to {last}. "
        "Skipped local times do not fire."
    )
    return Fact("clock_change", text, {"change": jump_s * 1000})


def local_gap(text: str, zone: Zone) -> tuple[int, Fact] | None:
    """For a local time that a zone's clocks went forward over: the instant of the change, and the fact."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return None
    local_s = int((moment.replace(microsecond=0) - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 - both are local
    if zone.instants(local_s):
        return None
    old_s = zone.offset_s(local_s - 2 * DAY_S)
    jump_s = zone.span(local_s - old_s).start
    gap_s = zone.offset_s(jump_s) - old_s
    return jump_s * 1000, _skipped(zone, jump_s, old_s, gap_s, text.strip().replace("T", " "))
