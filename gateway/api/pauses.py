"""Handlers: pauses of a job, of an app, of everything."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import parsed, read_body
from gateway.api.jobs import job_id_in
from gateway.api.models.pauses import PauseAnswer, PauseBody, PauseList
from gateway.api.render import json_answer, nothing, times
from gateway.api.services import SERVICES, Services
from gateway.core.acting import author
from gateway.core.clock import iso_utc
from gateway.core.errors import InvalidValue
from gateway.core.pauses import Pause, Scope

EVERYTHING = "everything"


async def pause_job(request: web.Request) -> web.Response:
    return await _pause(request, *await _job(request))


async def resume_job(request: web.Request) -> web.Response:
    return await _resume(request, *await _job(request))


async def pause_app(request: web.Request) -> web.Response:
    return await _pause(request, *await _app(request))


async def resume_app(request: web.Request) -> web.Response:
    return await _resume(request, *await _app(request))


async def pause_all(request: web.Request) -> web.Response:
    return await _pause(request, Scope.ALL, 0, EVERYTHING, "")


async def resume_all(request: web.Request) -> web.Response:
    return await _resume(request, Scope.ALL, 0, EVERYTHING, "")


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    found = await services.pauses.all_pauses()
    names = await services.apps.names({one.scope_id for one in found if one.scope is Scope.APP})
    return json_answer(PauseList(items=[_answer(one, names.get(one.scope_id)) for one in found]))


async def _pause(request: web.Request, scope: Scope, scope_id: int, called: str, name: str) -> web.Response:
    services = request.app[SERVICES]
    body = parsed(await read_body(request) or b"{}", PauseBody)
    now_ms = services.clock.now_ms()
    until_ms = body.until or (now_ms + body.for_s * 1000 if body.for_s else 0)
    if until_ms and until_ms <= now_ms:
        raise InvalidValue(
            "until", iso_utc(until_ms), f"an instant in the future: it is {iso_utc(now_ms)} now"
        )
    pause = Pause(scope, scope_id, body.reason, author(), now_ms, until_ms)
    await services.pauses.put(pause, called=called, name=name)
    await services.operations.pauses_changed()
    return json_answer(_answer(pause, called))


async def _resume(request: web.Request, scope: Scope, scope_id: int, called: str, name: str) -> web.Response:
    services = request.app[SERVICES]
    await services.pauses.end(scope, scope_id, called=called, name=name)
    await services.operations.pauses_changed()
    return nothing()


async def _job(request: web.Request) -> tuple[Scope, int, str, str]:
    services: Services = request.app[SERVICES]
    job = await services.jobs.get(job_id_in(request))
    return Scope.JOB, job.id, str(job.id), job.name


async def _app(request: web.Request) -> tuple[Scope, int, str, str]:
    services: Services = request.app[SERVICES]
    app = await services.apps.get(request.match_info["appname"])
    return Scope.APP, app.id, app.appname, app.title


def _answer(pause: Pause, appname: str | None) -> PauseAnswer:
    return PauseAnswer(
        scope=pause.scope.value,
        app=appname if pause.scope is Scope.APP else None,
        job_id=pause.scope_id if pause.scope is Scope.JOB else None,
        reason=pause.reason,
        author=pause.author,
        **times(created=pause.created_ms, until=pause.until_ms),
    )
