"""Handlers: calendars."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from aiohttp import web

from gateway.api.intake import parsed, query_as, read_as, read_body
from gateway.api.models.calendars import (
    CalendarAnswer,
    CalendarBody,
    CalendarList,
    CalendarQuery,
    DaysBody,
)
from gateway.api.problems import FieldError, InvalidInput
from gateway.api.render import json_answer, nothing, times
from gateway.api.services import SERVICES, Services
from gateway.core.calendar_days import Calendar, Days
from gateway.core.calendar_files import Format, days_of_file, days_of_json
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.timing import Timing

YEARS_AHEAD = 10
_FILES: dict[str, Format] = {"text/csv": "csv", "text/calendar": "ics"}


async def create(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, CalendarBody)
    made = await services.calendars.create(
        Calendar(body.name, await _days_of(services, body), body.description)
    )
    return json_answer(_answer(made), 201)


async def page(request: web.Request) -> web.Response:
    query = query_as(request, CalendarQuery)
    found = await request.app[SERVICES].calendars.page(cursor=query.cursor, limit=query.limit)
    items = [_answer(one, whole=False) for one in found.items]
    return json_answer(CalendarList(items=items, next_cursor=found.next_cursor))


async def get(request: web.Request) -> web.Response:
    return json_answer(_answer(await request.app[SERVICES].calendars.get(request.match_info["name"])))


async def put(request: web.Request) -> web.Response:
    """A file is taken as it is, with the content type text/csv or text/calendar; the description then stays."""
    services = request.app[SERVICES]
    old = await services.calendars.get(request.match_info["name"])
    raw = await read_body(request)
    format_ = _FILES.get(request.content_type)
    if format_ is not None:
        new = replace(old, days=await _read(services, _text_of(raw), format_))
    else:
        body = parsed(raw, DaysBody)
        new = replace(old, days=await _days_of(services, body), description=body.description)
    changed, job_ids = await services.calendars.replace(new)
    if job_ids:
        await services.operations.jobs_changed(job_ids)
    return json_answer(_answer(changed))


async def delete(request: web.Request) -> web.Response:
    await request.app[SERVICES].calendars.delete(request.match_info["name"])
    return nothing()


async def days_of(services: Services, timing: Timing, within: str = "") -> tuple[Days, ...]:
    """Of the calendars that a job which is not stored would use. Raises `InvalidValue`."""
    found: list[Days] = []
    for number, use in enumerate(timing.calendars):
        try:
            found.append((await services.calendars.get(use.name)).days)
        except NotFound:
            which = f"calendar[{number}]" if len(timing.calendars) > 1 else "calendar"
            field = f"{within}.{which}.name" if within else f"{which}.name"
            raise InvalidValue(field, use.name, "the name of a calendar that exists") from None
    return tuple(found)


def _text_of(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidInput([FieldError("file", f"line {line}", "text in UTF-8")]) from None


async def _days_of(services: Services, body: DaysBody) -> Days:
    if body.file is not None and body.format is not None:
        return await _read(services, body.file, body.format, body.last_year)
    if body.days is None:
        raise InvalidInput([FieldError("days", None, "days, or a file with its format")])
    return Days(days_of_json(body.days))


async def _read(services: Services, text: str, format_: Format, last_year: int | None = None) -> Days:
    """The days of a file. In a thread: of a large one it takes a second or two, in which runs are due."""
    if last_year is None:
        last_year = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC).year + YEARS_AHEAD
    return Days(await asyncio.to_thread(days_of_file, text, format_, last_year=last_year))


def _answer(one: Calendar, *, whole: bool = True) -> CalendarAnswer:
    return CalendarAnswer(
        name=one.name,
        description=one.description,
        version=one.version,
        count=len(one.days),
        years=sorted(one.days.years),
        days=one.days.by_year() if whole else None,
        **times(created=one.created_ms, updated=one.updated_ms),
    )
