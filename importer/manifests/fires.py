"""Which fire times a change adds and takes away in the next days, with bounded work.

Judged here, by the scheduler's own code, and not by the gateway: it knows only the calendars that it has, not those
that it is about to get.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.core.calendar_days import Days
from gateway.core.chain import is_chained
from gateway.core.confine import schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.model import Job
from gateway.core.schedule import phases

DAYS = 30
HORIZON_MS = DAYS * 86_400_000
MOST_SLOTS = 3000
"""Of one side of one job: every 15 minutes for 30 days are 2,880."""
MOST_IN_ALL = 300_000
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Slots:
    """In ascending order, up to `until_ms`: the horizon, or the last of the `MOST_SLOTS` that are looked at."""

    at_ms: tuple[int, ...]
    until_ms: int


@dataclass(frozen=True, slots=True)
class FireChange:
    """`before` and `after` count slots up to `until_ms`; `cut` says that there are more until the horizon.

    `gone` and `new` are the first of those that only one side has; `timezone` is where to show them.
    """

    before: int
    after: int
    until_ms: int
    cut: bool
    gone: tuple[int, ...]
    new: tuple[int, ...]
    timezone: str

    @property
    def is_none(self) -> bool:
        return not self.gone and not self.new


class Budget:
    """How many slots a whole plan may still look at."""

    def __init__(self, most: int = MOST_IN_ALL) -> None:
        self.left = most
        self.unlooked = 0


def slots_of(job: Job | None, now_ms: int, *, left: int | None = None) -> Slots | None:
    """Of a job that would be enabled; none for no job. None where they depend on when runs end.

    `left`: how many a maximum of fires still allows.
    """
    until_ms = now_ms + HORIZON_MS
    if job is None or not job.enabled:
        return Slots((), until_ms)
    if is_chained(job):
        return None
    try:
        schedule = schedule_of(job)
    except InvalidValue:
        return None
    most = MOST_SLOTS if left is None else min(left, MOST_SLOTS)
    found: list[int] = []
    at = schedule.first_after(now_ms)
    while at is not None and at <= until_ms:
        if len(found) == most:
            return Slots(tuple(found), until_ms if most < MOST_SLOTS else found[-1])
        found.append(at)
        at = schedule.next_after(at)
    return Slots(tuple(found), until_ms)


def compared(before: Slots, after: Slots, now_ms: int, timezone: str) -> FireChange:
    until_ms = min(before.until_ms, after.until_ms)
    old = [at for at in before.at_ms if at <= until_ms]
    new = [at for at in after.at_ms if at <= until_ms]
    was, will = frozenset(old), frozenset(new)
    return FireChange(
        before=len(old),
        after=len(new),
        until_ms=until_ms,
        cut=until_ms < now_ms + HORIZON_MS,
        gone=_first(at for at in old if at not in will),
        new=_first(at for at in new if at not in was),
        timezone=timezone,
    )


def _first(found: Iterable[int]) -> tuple[int, ...]:
    return tuple(at for _, at in zip(range(SHOWN), found, strict=False))


def change_of(
    before: Job | None,
    after: Job | None,
    now_ms: int,
    budget: Budget,
    *,
    left: tuple[int | None, int | None] = (None, None),
) -> FireChange | None:
    """None where nothing can be said: a schedule that depends on the ends of runs, or the budget is used up."""
    if budget.left <= 0:
        budget.unlooked += 1
        return None
    was, will = slots_of(before, now_ms, left=left[0]), slots_of(after, now_ms, left=left[1])
    budget.left -= len(was.at_ms if was else ()) + len(will.at_ms if will else ()) + 1
    if was is None or will is None:
        return None
    known = after or before
    return compared(was, will, now_ms, "UTC" if known is None else _zone_of(known))


def _zone_of(job: Job) -> str:
    specs = job.schedule if isinstance(job.schedule, tuple) else (job.schedule,)
    zones = {str(one["timezone"]) for one in specs if one.get("timezone")}
    return zones.pop() if len(zones) == 1 else "UTC"


def is_phase_kept(before: Job | None, after: Job) -> bool:
    """Whether its fixed rates go on counting from where they did, unless they say from where."""
    return before is not None and phases(before.schedule) == phases(after.schedule)


def is_phase_open(before: Job | None, after: Job) -> bool:
    """Whether some of its slots depend on when it is applied."""
    counts = any(anchor is None for _, anchor in phases(after.schedule))
    return after.enabled and counts and not is_phase_kept(before, after)


def days_of(job: Job, calendars: Mapping[str, Days]) -> tuple[Days, ...]:
    return tuple(calendars.get(use.name, Days(())) for use in job.timing.calendars)
