"""Handler: counts of days."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import query_as
from gateway.api.models.stats import MOST_DAYS, DailyAnswer, DailyQuery, DayAnswer, day_text
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES
from gateway.core.daily import STATES, DailyFilter, DayTally, Tally, day_of
from gateway.core.errors import InvalidValue

_DAYS = 30


async def daily(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, DailyQuery)
    last = day_of(services.clock.now_ms()) if query.to is None else query.to
    first = last - _DAYS + 1 if query.from_ is None else query.from_
    if first > last:
        raise InvalidValue("from", day_text(first), f"a day not after {day_text(last)}")
    if last - first >= MOST_DAYS:
        raise InvalidValue("from", day_text(first), f"at most {MOST_DAYS} days up to {day_text(last)}")
    app_id = None if query.app is None else (await services.apps.get(query.app)).id
    found = await services.daily.read(DailyFilter(first, last, job_id=query.job_id, app_id=app_id))
    by_day = {one.day: one for one in found}
    days = [_answer(by_day.get(day) or DayTally(day, Tally(), 0)) for day in range(first, last + 1)]
    return json_answer(DailyAnswer(days=days))


def _answer(one: DayTally) -> DayAnswer:
    counts = one.tally
    return DayAnswer(
        day=day_text(one.day),
        runs=counts.runs,
        skipped_slots=counts.skipped_slots,
        sent=counts.sent,
        late=counts.late,
        lateness_avg_ms=round(counts.lateness_ms / counts.sent, 1) if counts.sent else None,
        lateness_max_ms=counts.lateness_max_ms if counts.sent else None,
        duration_avg_ms=round(counts.duration_ms / counts.timed, 1) if counts.timed else None,
        duration_max_ms=counts.duration_max_ms if counts.timed else None,
        **{name: getattr(counts, name) for name in STATES},
        **times(counted=one.counted_ms),
    )
