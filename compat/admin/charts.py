"""`/chartInfo`: how the runs of each day went."""

from __future__ import annotations

from datetime import UTC, datetime

from compat.admin.calls import Call
from compat.admin.dates import day_at
from compat.admin.replies import Json
from gateway.core.daily import DAY_MS, DailyFilter, Tally
from gateway.core.moments import parse_moment

_DAYS = 7
_MOST_DAYS = 400


async def chart(call: Call) -> Json:
    """Days are those of UTC, under the dates that were asked for; what runs now belongs to today."""
    ports = call.ports
    today = day_at(ports.clock.now_ms(), ports.zone)
    first, last = (_day(call, name) for name in ("startDate", "endDate"))
    if last is None:
        last = today
    if first is None or first > last:
        first = last - _DAYS + 1
    first = max(first, last - _MOST_DAYS + 1)
    tallies = await _tallies(call, first, last)
    running = await ports.positions.running(None if call.user.is_admin else call.user.app_ids)
    days = range(first, last + 1)
    counts = {
        "Running": [running if day == today else 0 for day in days],
        "Suc": [tallies.get(day, Tally()).succeeded for day in days],
        "Fail": [_failed(tallies.get(day, Tally())) for day in days],
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
    return day_at(parse_moment(text, call.ports.zone, field=name), call.ports.zone)


def _failed(tally: Tally) -> int:
    """Each attempt is a row of the log."""
    ended = (tally.failed, tally.timed_out, tally.lost, tally.stopped, tally.retrying)
    return sum(ended) + tally.expired + tally.invalid


async def _tallies(call: Call, first: int, last: int) -> dict[int, Tally]:
    apps = [None] if call.user.is_admin else sorted(call.user.app_ids)
    found: dict[int, Tally] = {}
    for app_id in apps:
        for one in await call.ports.daily.read(DailyFilter(first, last, app_id=app_id)):
            found.setdefault(one.day, Tally()).add(one.tally)
    return found
