"""Handlers: runs that wait for a place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.api.intake import path_id, query_as
from gateway.api.models.queue import QueueAnswer, QueueQuery, WaitingAnswer
from gateway.api.render import json_answer, times
from gateway.api.run_answers import answer_of
from gateway.api.services import SERVICES
from gateway.core.model import Run


async def view(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    limit = query_as(request, QueueQuery).limit
    app = await services.apps.get(request.match_info["appname"])
    queue = await services.queues.view(app, limit)
    now_ms = services.clock.now_ms()
    items = [
        WaitingAnswer(
            run_id=one.run.id,
            job_id=one.run.job_id,
            position=one.position,
            priority=one.run.priority,
            attempt=one.run.attempt,
            waited_ms=max(now_ms - one.run.due_ms, 0),
            reason=one.reason,
            bypass=bool(one.run.bypass),
            **times(due=one.run.due_ms, predicted_start=one.predicted_ms),
        )
        for one in queue.first
    ]
    return json_answer(
        QueueAnswer(
            app=app.appname,
            max_running=app.max_running,
            starts_per_second=app.starts_per_second,
            running=queue.running,
            waiting=queue.count,
            items=items,
        )
    )


async def move_to_front(request: web.Request) -> web.Response:
    return await _changed(request, request.app[SERVICES].queues.move_to_front)


async def bypass(request: web.Request) -> web.Response:
    return await _changed(request, request.app[SERVICES].queues.bypass)


async def _changed(request: web.Request, change: Callable[[int], Awaitable[Run]]) -> web.Response:
    services = request.app[SERVICES]
    return json_answer(await answer_of(services, await change(path_id(request, "run_id"))))
