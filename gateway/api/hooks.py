"""Calls of the addresses that start a job: no token, but a part that cannot be guessed, and rules of their own."""

from __future__ import annotations

import structlog
from aiohttp import web

from gateway.api.intake import parsed, read_body
from gateway.api.models.trigger_urls import CallBody
from gateway.api.problems import NoRoute, WrongMethod, problem, problem_of
from gateway.api.render import JSON
from gateway.api.services import SERVICES, Services
from gateway.api.trigger import KEY, key_of, run_id_of
from gateway.api.trigger_urls import PATH, caller_in
from gateway.core.errors import GatewayError, NotFound, Refused
from gateway.core.model import DEFAULT_NAMESPACE
from gateway.core.submission import Submission
from gateway.core.trigger_url import TriggerUrl, UrlKind, why_not

log = structlog.get_logger(__name__)

KIND = web.AppKey("trigger_url_kind", UrlKind)
_NO_STORE = {"Cache-Control": "no-store"}


def setup_hooks(app: web.Application, services: Services, kind: UrlKind) -> None:
    """Take calls of addresses of this kind, and of no other."""
    app[SERVICES] = services
    app[KIND] = kind
    app.router.add_route("*", f"{PATH}{{secret}}", _answered)


async def _answered(request: web.Request) -> web.Response:
    """Nothing that is logged or answered names the address: it is a secret."""
    try:
        return await _call(request)
    except GatewayError as error:
        return problem_of(error)
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:
        log.exception("trigger_url_failed", method=request.method)
        return problem(500, "internal", "Internal error", "something went wrong here; the log says what")


async def _call(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    url = await services.trigger_urls.find(request.match_info["secret"])
    if url is None or url.kind is not request.app[KIND]:
        raise NoRoute("there is nothing at this address")
    if (reason := why_not(url.rules, caller_in(request))) is not None:
        raise Refused(reason)
    if request.method not in url.rules.methods:
        raise WrongMethod(request.method, url.rules.methods)
    body = await read_body(request)
    wanted = _wanted(url, parsed(body, CallBody) if body else CallBody())
    await services.quotas.take(DEFAULT_NAMESPACE)
    try:
        if KEY in request.headers:
            name = f"trigger-url-{url.id}"
            key = key_of(request, name, body, space=f"{name}:")
            (outcome,) = await services.operations.submit(url.job_id, [wanted], key=key)
            run_id = run_id_of(outcome, wanted)
        else:
            run_id = await services.operations.trigger(url.job_id, wanted)
    except NotFound:
        raise NoRoute("there is nothing at this address") from None
    headers = _NO_STORE | {"X-Run-Id": str(run_id)}
    return web.Response(status=202, body=b'{"run_id":%d}' % run_id, content_type=JSON, headers=headers)


def _wanted(url: TriggerUrl, body: CallBody) -> Submission:
    return Submission(
        envs=tuple((env.name, env.value) for env in body.Envs),
        replicas=body.Replicas or 0,
        author=f"trigger URL {url.id}",
    )
