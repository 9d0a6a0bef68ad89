"""Handler: events."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import query_as
from gateway.api.models.events import EventAnswer, EventList, EventQuery, levels_of
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES
from gateway.core.events import Event, EventFilter


async def page(request: web.Request) -> web.Response:
    query = query_as(request, EventQuery)
    wanted = EventFilter(
        levels=None if query.level is None else levels_of(query.level),
        source_type=query.source_type,
        source_id=query.source,
        reason=query.reason,
        author=query.author,
        text=query.text,
        from_ms=query.from_,
        to_ms=query.to,
    )
    found = await request.app[SERVICES].events.page(wanted, cursor=query.cursor, limit=query.limit)
    return json_answer(EventList(items=[_answer(one) for one in found.items], next_cursor=found.next_cursor))


def _answer(one: Event) -> EventAnswer:
    return EventAnswer(
        id=one.id,
        level=one.level.word,
        source_type=one.source_type,
        source=one.source_id,
        name=one.source_name,
        reason=one.reason,
        text=one.text,
        author=one.author,
        **times(at=one.at_ms),
    )
