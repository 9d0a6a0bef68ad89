"""Handler: counts of days."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from gateway.api.intake import query_as
from gateway.api.models.stats import MOST_DAYS, DailyAnswer, DailyQuery, DayAnswer, day_text
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES, Services
from gateway.core.daily import STATES, DailyFilter, DayTally, Tally, day_of
from gateway.core.errors import InvalidValue, NotFound

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
    wanted = DailyFilter(first, last, job_id=query.job_id, app_id=app_id)
    found = await services.daily.read(wanted)
    if query.job_id is not None and not found:
        await _require(services, query.job_id, replace(wanted, first=0))
    by_day = {one.day: one for one in found}
    days = [_answer(by_day.get(day) or DayTally(day, Tally(), 0)) for day in range(first, last + 1)]
    return json_answer(DailyAnswer(days=days))


async def _require(services: Services, job_id: int, ever: DailyFilter) -> None:
    """Raises `NotFound` for a job that is not there, and of which no counts are left."""
    try:
        await services.jobs.get(job_id)
    except NotFound:
        if not await services.daily.read(ever):
            raise


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
