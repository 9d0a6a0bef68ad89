"""`/chartInfo`: how the runs of each day went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from compat.admin.calls import Call
from compat.admin.dates import day_at, instant, start_of
from compat.admin.replies import Json
from gateway.core.daily import DAY_MS, DailyFilter, Tally
from gateway.core.positions import DayEnds

_DAYS = 7
_RECENT = 3
_MOST_DAYS = 400


async def chart(call: Call) -> Json:
    """The last days are those of the zone, as they are now; days before are those of UTC, as they were counted.

    What runs now belongs to today.
    """
    ports = call.ports
    today = day_at(ports.clock.now_ms(), ports.zone)
    first, last = (_day(call, name) for name in ("startDate", "endDate"))
    if last is None:
        last = today
    if first is None or first > last:
        first = last - _DAYS + 1
    first = max(first, last - _MOST_DAYS + 1)
    tallies = await _tallies(call, first, last)
    recent = await _recent(call, range(max(first, today - _RECENT + 1), min(last, today) + 1))
    running = await ports.positions.running(None if call.user.is_admin else call.user.app_ids)
    days = range(first, last + 1)
    ends = [recent.get(day) or _ends(tallies.get(day, Tally())) for day in days]
    counts = {
        "Running": [running if day == today else 0 for day in days],
        "Suc": [one.succeeded for one in ends],
        "Fail": [one.failed for one in ends],
    }
    return {
        "triggerDayList": [
            datetime.fromtimestamp(day * DAY_MS // 1000, UTC).date().isoformat() for day in days
        ],
        **{f"triggerDayCount{name}List": values for name, values in counts.items()},
        **{f"triggerCount{name}Total": sum(values) for name, values in counts.items()},
    }


def _day(call: Call, name: str) -> int | None:
    text = (call.given.text(name) or "").strip()
    if not text:
        return None
    return day_at(instant(text, call.ports.zone, name), call.ports.zone)


async def _recent(call: Call, days: range) -> Mapping[int, DayEnds]:
    """Without those that have too many runs to be counted now; with what the report of an old admin says of others."""
    if not days:
        return {}
    app_ids = None if call.user.is_admin else call.user.app_ids
    bounds = [start_of(day, call.ports.zone) for day in (*days, days.stop)]
    found = await call.ports.positions.ended(app_ids, bounds)
    reported = await call.ports.daily.of_old_admins(days[0], days[-1]) if call.user.is_admin else {}
    told = {day: _ends(reported.get(day, Tally())) for day in days}
    return {
        day: DayEnds(one.succeeded + told[day].succeeded, one.failed + told[day].failed)
        for day, one in zip(days, found, strict=True)
        if one is not None
    }


def _ends(tally: Tally) -> DayEnds:
    """Each attempt is a row of the log."""
    failed = (tally.failed, tally.timed_out, tally.lost, tally.stopped, tally.retrying)
    return DayEnds(tally.succeeded, sum(failed) + tally.expired + tally.invalid)


async def _tallies(call: Call, first: int, last: int) -> dict[int, Tally]:
    apps = [None] if call.user.is_admin else sorted(call.user.app_ids)
    found: dict[int, Tally] = {}
    for app_id in apps:
        for one in await call.ports.daily.read(DailyFilter(first, last, app_id=app_id)):
            found.setdefault(one.day, Tally()).add(one.tally)
    return found
