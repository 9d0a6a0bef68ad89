"""The control listener: what other nodes ask of this one. JSON over HTTP, proven by the secret all nodes share.

Nothing that arrives here is needed for safety, and none of it is believed: a node looks at the database itself.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import structlog
from aiohttp import web

from gateway.core.errors import Conflict, GatewayError, InvalidValue, NotFound, Unreachable
from gateway.core.model import Beat, ExecutorResult
from gateway.core.ports import StopReport

log = structlog.get_logger(__name__)

MAX_BODY = 64 << 20
T = TypeVar("T", Beat, ExecutorResult)
FOR_NODE = "X-Gateway-Node"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlDesk(Protocol):
    """What the listener hands on to."""

    def look(self) -> None: ...

    def ended(self, run_ids: list[int]) -> None: ...

    async def jobs_changed(self, job_ids: list[int]) -> None: ...

    async def app_changed(self, app_id: int) -> None: ...

    async def pauses_changed(self) -> None: ...

    async def stop(self, run_id: int) -> StopReport: ...

    def beat(self, beat: Beat) -> None: ...

    async def report(self, results: list[ExecutorResult], client: str) -> bool: ...


def control_app(desk: ControlDesk, secret: str, name: str) -> web.Application:
    """The listener's application; every route wants `Authorization: Bearer` with the secret.

    A call says for which node it is: an address may be another's by now.
    """

    @web.middleware
    async def proven(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode()):
            raise web.HTTPUnauthorized(text="the control listener is for the nodes of this database\n")
        if request.headers.get(FOR_NODE, name) != name:
            raise web.HTTPMisdirectedRequest(text=f"this is node {name}\n")
        return await handler(request)

    async def look(_request: web.Request) -> web.Response:
        desk.look()
        return web.Response(status=204)

    async def ended(request: web.Request) -> web.Response:
        desk.ended(_ids(await _body(request), "runs"))
        return web.Response(status=204)

    async def jobs(request: web.Request) -> web.Response:
        await desk.jobs_changed(_ids(await _body(request), "jobs"))
        return web.Response(status=204)

    async def apps(request: web.Request) -> web.Response:
        for app_id in _ids(await _body(request), "apps"):
            await desk.app_changed(app_id)
        return web.Response(status=204)

    async def pauses(_request: web.Request) -> web.Response:
        await desk.pauses_changed()
        return web.Response(status=204)

    async def stop(request: web.Request) -> web.Response:
        (run_id,) = _ids(await _body(request), "runs")[:1] or (0,)
        try:
            report = await desk.stop(run_id)
        except (NotFound, Conflict, Unreachable) as error:
            refusal = {"error": type(error).__name__, "message": str(error)}
            return web.json_response(refusal, status=409)
        except GatewayError as error:
            return web.json_response({"error": "StoreError", "message": str(error)}, status=503)
        answer = {"run": report.run_id, "state": int(report.state), "also": list(report.also_stopped)}
        return web.json_response(answer)

    async def beat(request: web.Request) -> web.Response:
        desk.beat(_value(Beat, await _body(request)))
        return web.Response(status=204)

    async def results(request: web.Request) -> web.Response:
        body = await _body(request)
        found = [_value(ExecutorResult, one) for one in body.get("results", ())]
        return web.json_response({"durable": await desk.report(found, str(body.get("client", "")))})

    app = web.Application(middlewares=[proven], client_max_size=MAX_BODY)
    for handler in (look, ended, jobs, apps, pauses, stop, beat, results):
        app.router.add_post(f"/control/{handler.__name__}", handler)
    return app


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise web.HTTPBadRequest(text="the body is no JSON\n") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is no object\n")
    return body


def _value(kind: type[T], fields: Any) -> T:
    """What a node of another version says may have more fields; fewer, where there are defaults."""
    try:
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: value for name, value in fields.items() if name in known})
    except (TypeError, AttributeError) as error:
        raise web.HTTPBadRequest(text=f"{kind.__name__}: {error}\n") from None


def _ids(body: dict[str, Any], name: str) -> list[int]:
    ids = body.get(name)
    if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
        raise web.HTTPBadRequest(text=str(InvalidValue(name, ids, "a list of ids")) + "\n")
    return ids
