"""Handlers: what people do about runs that have ended."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import parsed, path_id, query_as, read_as, read_body
from gateway.api.models.failures import (
    FailureFilter,
    FailureQuery,
    MarkBody,
    RedriveAnswer,
    RedriveBody,
    RedriveResult,
    RerunAnswer,
    RerunBody,
)
from gateway.api.models.runs import RunList, states_of
from gateway.api.render import json_answer
from gateway.api.run_answers import answer_of, answers_of
from gateway.api.services import SERVICES, Services
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.listing import RunFilter
from gateway.core.reruns import Rerun
from gateway.core.retry import FAILURES


async def rerun(request: web.Request) -> web.Response:
    body = await read_body(request)
    wanted = parsed(body or b"{}", RerunBody)
    how = Rerun(wanted.children, wanted.only_failed)
    run_id = await request.app[SERVICES].reruns.rerun(path_id(request, "run_id"), how)
    return json_answer(RerunAnswer(run_id=run_id), 202)


async def mark_succeeded(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    run_id = path_id(request, "run_id")
    body = await read_as(request, MarkBody)
    run = await services.reruns.mark_succeeded(run_id, body.reason)
    return json_answer(await answer_of(services, run))


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, FailureQuery)
    app_id = None if query.app is None else (await services.apps.get(query.app)).id
    wanted = _filter(query, app_id, not_rerun=query.again == "without")
    found = await services.runs.page(wanted, cursor=query.cursor, limit=query.limit)
    return json_answer(RunList(items=await answers_of(services, found.items), next_cursor=found.next_cursor))


async def redrive(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, RedriveBody)
    how = Rerun(body.children, body.only_failed)
    cursor: str | None = None
    if body.filter is None:
        results = await services.reruns.redrive(body.ids or (), how)
    else:
        wanted = _filter(body.filter, await _app_id(services, body.filter.app), not_rerun=True)
        results, cursor = await services.reruns.redrive_where(wanted, how, body.limit, body.cursor)
    return json_answer(
        RedriveAnswer(
            results=[
                RedriveResult(run_id=one.run_id, new_run_id=one.new_run_id or None, error=one.error or None)
                for one in results
            ],
            again=sum(one.new_run_id > 0 for one in results),
            next_cursor=cursor,
        )
    )


def _filter(query: FailureQuery | FailureFilter, app_id: int | None, *, not_rerun: bool) -> RunFilter:
    return RunFilter(
        job_id=query.job_id,
        app_id=app_id,
        states=FAILURES if query.state is None else states_of(query.state),
        from_ms=query.from_,
        to_ms=query.to,
        no_shards=True,
        not_rerun=not_rerun,
    )


async def _app_id(services: Services, appname: str | None) -> int | None:
    if appname is None:
        return None
    try:
        return (await services.apps.get(appname)).id
    except NotFound:
        raise InvalidValue("filter.app", appname, "the appname of an app that exists") from None
