"""What the old admin's release fires, beside what is fired here: the next times of one job."""

from __future__ import annotations

from gateway.core.chain import is_chained
from gateway.core.model import Job
from gateway.core.schedule import Cron, FixedRate, parse_schedule
from gateway.core.zones import LAST_MS, Zone
from importer.plan.old_cron import CronEra, eras, old_cron_fires, our_cron_fires
from importer.plan.schedules import first_of_rate, kind_of, text_in_force, whole_seconds
from importer.plan.values import Fires
from importer.source.values import SourceJob

COUNT = 100
_LAST_OF_32_BITS = (3, 0, 0)


def old_fires(
    job: SourceJob,
    *,
    first: tuple[int, ...],
    last: tuple[int, ...],
    zone: Zone,
    from_ms: int,
    count: int = COUNT,
) -> tuple[int, ...] | None:
    """The next instants, were the job enabled; None where the release cannot read its schedule.

    Where releases from `first` to `last` differ, what the oldest of them does.
    """
    kind = kind_of(job)
    if kind == "NONE":
        return ()
    if kind == "CRON":
        text = text_in_force(job) or ""
        return old_cron_fires(text, eras(first, last)[0], zone, from_ms, count)
    seconds = whole_seconds(job.schedule_conf)
    if kind != "FIX_RATE" or seconds is None:
        return None
    return _rate(job, seconds, from_ms, count, is_narrow=first <= _LAST_OF_32_BITS)


def compare(
    old: SourceJob, new: Job, first: tuple[int, ...], last: tuple[int, ...], zone: Zone, from_ms: int
) -> Fires:
    """Both sides from the same instant on. `why` also says where the releases that it may be differ among themselves."""
    ours = our_fires(new, from_ms, COUNT)
    theirs = old_fires(old, first=first, last=last, zone=zone, from_ms=from_ms)
    also = _other_releases(old, first, last, zone, from_ms, theirs)
    differ_at = _first_difference(ours, theirs)
    why = "" if differ_at is None else _why(old, ours, theirs, differ_at, first, zone)
    return Fires(ours, theirs, differ_at, "; ".join(filter(None, [why, also])), also)


def our_fires(job: Job, from_ms: int, count: int) -> tuple[int, ...]:
    """What can be told ahead: nothing of a second delay."""
    if is_chained(job):
        return ()
    schedule = parse_schedule(job.schedule, anchor_ms=job.anchor_ms)
    if isinstance(schedule, Cron):
        return our_cron_fires(schedule.expression, schedule.timezone, from_ms, count)
    if isinstance(schedule, FixedRate):
        start = schedule.next_after(from_ms)
        return () if start is None else _steps(start, schedule.every_ms, count)
    return ()


def _rate(job: SourceJob, seconds: int, from_ms: int, count: int, *, is_narrow: bool) -> tuple[int, ...]:
    """On time each time: a late run moves the phase there, which nobody can tell ahead."""
    every_ms = seconds * 1000
    if is_narrow:
        # The product is kept in 32 bits: from 25 days on it is another number, or negative.
        every_ms = (every_ms + (1 << 31)) % (1 << 32) - (1 << 31)
        if every_ms <= 0:
            return ()
    at = job.next_ms or 0
    start = at // 1000 * 1000 if 0 < at <= LAST_MS else first_of_rate(seconds, from_ms)
    if start <= from_ms:
        start += ((from_ms - start) // every_ms + 1) * every_ms
    return _steps(start // 1000 * 1000, every_ms, count)


def _steps(start_ms: int, every_ms: int, count: int) -> tuple[int, ...]:
    return tuple(at for at in range(start_ms, start_ms + every_ms * count, every_ms) if at <= LAST_MS)


def _first_difference(ours: tuple[int, ...], theirs: tuple[int, ...] | None) -> int | None:
    if theirs is None:
        return 0 if ours else None
    if ours == theirs:
        return None
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return at
    return min(len(ours), len(theirs))


def _other_releases(
    job: SourceJob,
    first: tuple[int, ...],
    last: tuple[int, ...],
    zone: Zone,
    from_ms: int,
    theirs: tuple[int, ...] | None,
) -> str:
    if kind_of(job) == "FIX_RATE":
        seconds = whole_seconds(job.schedule_conf)
        if seconds and seconds > 2_147_483 and first <= _LAST_OF_32_BITS < last:
            return "from 3.1 on it fires every so many seconds as it says; --source-release says which it is"
        return ""
    if kind_of(job) != "CRON":
        return ""
    text = text_in_force(job) or ""
    told = []
    fields = text.upper().split()
    if CronEra.LAST_IS_31 in eras(first, last) and len(fields) > 3 and "W" in fields[3]:
        told.append(
            "3.1.0 to 3.3.2 misplace W days at weekends and ends of months, in ways that are not worked out here"
        )
    for era in eras(first, last)[1:]:
        others = old_cron_fires(text, era, zone, from_ms, COUNT)
        if others != theirs:
            told.append(f"if the old admin is of {era.value}: {_habit(era, text, others)}")
    if told and len(eras(first, last)) > 1:
        told.append("--source-release says which it is")
    return "; ".join(told)


def _habit(era: CronEra, text: str, fires: tuple[int, ...] | None) -> str:
    if fires is None:
        return "it refuses the expression"
    if era is CronEra.LAST_IS_31 and "L" in text.upper():
        return "it skips every month without 31 days"
    return "it reads lists of days with L and W as they are written"


def _why(
    job: SourceJob,
    ours: tuple[int, ...],
    theirs: tuple[int, ...] | None,
    at: int,
    first: tuple[int, ...],
    zone: Zone,
) -> str:
    kind = kind_of(job)
    if theirs is None:
        return f"the old admin cannot read this schedule ({kind or 'no type'})"
    if kind == "FIX_RATE":
        return "in 3.0 and before the seconds overflow 32 bits, so that it fires at other times or never"
    text = (text_in_force(job) or "").upper()
    day = text.split()[3] if len(text.split()) > 3 else ""
    era = eras(first, first)[0]
    if era is CronEra.LAST_IS_31 and "L" in day:
        return "3.1.0 to 3.3.2 skip every month without 31 days for L; here L is the last day of each month"
    if not ours:
        return "it does not fire here"
    at_s = min(one[at] for one in (ours, theirs) if at < len(one)) // 1000
    span = zone.span(at_s)
    if span.start > at_s - 86_400 * 2 or span.end < at_s + 86_400 * 2:
        return (
            "the clocks change: a local time that comes twice fires there when it comes again, "
            "here when it comes first, or both times if the hour is not restricted"
        )
    if era is CronEra.SINGLE and "W" in day and "," in day:
        return "before 3.1.0 only the lowest day of a list with W counts; here each does"
    return "the expression has parts that the old admin reads in a way of its own"


def is_readable(job: SourceJob, first: tuple[int, ...], last: tuple[int, ...], zone: Zone) -> bool:
    """Whether some release of these can read the schedule of this cron job."""
    text = text_in_force(job) or ""
    return any(old_cron_fires(text, era, zone, 0, 1) is not None for era in eras(first, last))
