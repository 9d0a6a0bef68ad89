"""Handlers: runs."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import path_id, query_as
from gateway.api.models.runs import LogAnswer, LogQuery, RunList, RunQuery, StopAnswer, states_of
from gateway.api.render import json_answer
from gateway.api.run_answers import answer_of, answers_of
from gateway.api.services import SERVICES
from gateway.core.listing import RunFilter
from gateway.core.model import DEFAULT_NAMESPACE, TriggerKind
from gateway.core.states import PUBLIC_WORDS


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, RunQuery)
    app_id = None if query.app is None else (await services.apps.get(query.app)).id
    root_id = query.root_id
    if query.task_id is not None:
        root_id = await services.tasks.root_of(DEFAULT_NAMESPACE, query.task_id)
        if root_id is None or query.root_id not in (None, root_id):
            return json_answer(RunList(items=[], next_cursor=None))
    wanted = RunFilter(
        job_id=query.job_id,
        app_id=app_id,
        states=None if query.state is None else states_of(query.state),
        from_ms=query.from_,
        to_ms=query.to,
        root_id=root_id,
        trigger=None if query.trigger is None else TriggerKind[query.trigger.upper()],
        parent_id=query.parent_id,
        author=query.author,
    )
    found = await services.runs.page(wanted, cursor=query.cursor, limit=query.limit)
    items = await answers_of(services, found.items)
    return json_answer(RunList(items=items, next_cursor=found.next_cursor))


async def get(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    return json_answer(await answer_of(services, await services.runs.get(path_id(request, "run_id"))))


async def log(request: web.Request) -> web.Response:
    run_id = path_id(request, "run_id")
    query = query_as(request, LogQuery)
    found = await request.app[SERVICES].operations.log(run_id, query.from_line)
    return json_answer(
        LogAnswer(
            run_id=run_id,
            from_line=found.from_line,
            to_line=found.to_line,
            content=found.content,
            is_end=found.is_end,
        )
    )


async def stop(request: web.Request) -> web.Response:
    report = await request.app[SERVICES].operations.stop(path_id(request, "run_id"))
    return json_answer(
        StopAnswer(
            run_id=report.run_id,
            state=report.state.word,
            status=PUBLIC_WORDS[report.state],
            also_stopped=list(report.also_stopped),
        )
    )
