"""Handlers: removing finished runs by hand."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import path_id, query_as, read_as
from gateway.api.models.run_removal import RemovalAnswer, RemovalBody, RemovalQuery
from gateway.api.models.runs import states_of
from gateway.api.render import json_answer, nothing
from gateway.api.services import SERVICES
from gateway.core.errors import Conflict
from gateway.core.listing import RunFilter
from gateway.core.states import FINAL


async def one(request: web.Request) -> web.Response:
    """With all attempts and shards of its slot: none of them says what happened without the others."""
    services = request.app[SERVICES]
    run = await services.runs.get(path_id(request, "run_id"))
    if not await services.remover.remove_runs([run]):
        raise Conflict(
            f"run {run.id} is {run.state.word}: it can be removed when it and all attempts and shards of its slot "
            "have ended"
        )
    return nothing()


async def many(request: web.Request) -> web.Response:
    """A page of runs a call, so that each has an end."""
    services = request.app[SERVICES]
    query = query_as(request, RemovalQuery)
    body = await read_as(request, RemovalBody)
    wanted = RunFilter(
        job_id=body.job_id,
        app_id=None if body.app is None else (await services.apps.get(body.app)).id,
        states=FINAL if body.state is None else states_of(body.state),
        from_ms=body.from_,
        to_ms=body.to,
    )
    found = await services.runs.page(wanted, cursor=query.cursor, limit=body.limit)
    removed = await services.remover.remove_runs(found.items)
    return json_answer(RemovalAnswer(removed=removed, next_cursor=found.next_cursor))
