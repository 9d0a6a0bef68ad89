"""What people are told of the slots ahead: the next ones, and what may not be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.core.calendar_days import CalendarMode, Days
from gateway.core.confine import Confined, ConfinedChain, Slots, schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.model import Job
from gateway.core.schedule import is_timed
from gateway.core.timing import Timing

MOST_COUNTED = 20_000


def upcoming(
    schedule: Slots, from_ms: int, count: int, *, left: int | None = None, next_fire_at: int | None = None
) -> list[int]:
    """The next slots after an instant. `left`: how many a maximum still allows, from `next_fire_at` on.

    Raises InvalidValue where so many would have to be counted up to that instant that others would wait.
    """
    if left is not None and next_fire_at is not None:
        left -= _counted(schedule, next_fire_at, from_ms, left)
    found: list[int] = []
    at = schedule.first_after(from_ms)
    while at is not None and len(found) < count:
        if left is not None and (next_fire_at is None or at >= next_fire_at):
            if left == 0:
                break
            left -= 1
        found.append(at)
        at = schedule.next_after(at)
    return found


def fires_before(job: Job, slot_ms: int) -> int:
    """How many fires will be planned before that slot, as far as that matters for the maximum of the job."""
    if job.next_fire_at is None:
        return 0
    return _counted(schedule_of(job), job.next_fire_at, slot_ms - 1, job.timing.window.max_fires, "at")


def _counted(schedule: Slots, first_ms: int, to_ms: int, most: int, field: str = "from") -> int:
    """How many slots there are from one on to an instant, at most that many. Raises `InvalidValue` for very many."""
    found = 0
    at: int | None = first_ms
    while at is not None and at <= to_ms and found < most:
        if found == MOST_COUNTED:
            raise InvalidValue(
                field, to_ms, f"an instant within the next {MOST_COUNTED} slots of a job with a maximum"
            )
        found += 1
        at = schedule.next_after(at)
    return found


def cautions(
    schedule: Slots,
    spec: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    timing: Timing,
    days: Sequence[Days] | None,
    now_ms: int,
    *,
    fired: int = 0,
) -> list[str]:
    """Why a schedule may not do what was meant, in whole sentences."""
    if not is_timed(spec) and not isinstance(schedule, ConfinedChain):
        return []
    found: list[str] = []
    if 0 < timing.window.max_fires <= fired:
        found.append(f"The maximum of {timing.window.max_fires} fires is reached: it fires no more.")
    if schedule.first_after(now_ms) is None:
        found.append(
            "Its window, exclusions and calendar leave nothing of its schedule: it never fires."
            if isinstance(schedule, Confined | ConfinedChain)
            else "Its schedule has no instant after now: it never fires."
        )
    year = datetime.fromtimestamp(now_ms / 1000, UTC).year
    for number, use in enumerate(timing.calendars):
        years = days[number].years if days is not None else frozenset()
        if use.mode is CalendarMode.INCLUDE and not {year, year + 1} <= years:
            empty = year if year not in years else year + 1
            found.append(f"Calendar {use.name!r} lists no day of {empty}: nothing fires in that year.")
    return found
