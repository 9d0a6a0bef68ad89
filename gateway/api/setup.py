"""Put the API into an application that has other surfaces beside it."""

from __future__ import annotations

import re

import structlog
from aiohttp import web

from gateway.api import system
from gateway.api.metrics import registry_of
from gateway.api.openapi import document, models
from gateway.api.problems import NoRoute, Unauthorized, WrongMethod, problem, problem_of
from gateway.api.routes import ROUTES, Handler, Route
from gateway.api.services import SERVICES, Services
from gateway.core.acting import acting_for
from gateway.core.errors import GatewayError, StoreError

log = structlog.get_logger(__name__)

_BEARER = "Bearer "
_OFTEN = "/api/v1/jobs/{job_id}/trigger"  # the router tries the paths below /jobs one by one, in this order


def setup_api(app: web.Application, services: Services) -> None:
    """Add all routes. Only they answer with problems: what else lives in `app` is left as it is."""
    app[SERVICES] = services
    app[system.REGISTRY] = registry_of(services.operations)
    app[system.DOCUMENT] = system.Document(document, models())
    for route in sorted(ROUTES, key=lambda route: route.path != _OFTEN):
        handler = route.handler if route.open else _authorized(route.handler)
        # A fixed path stands before one with a placeholder in the same place: /jobs/batch before /jobs/{job_id}.
        if route.method == "GET":
            app.router.add_get(route.path, _answering(handler))
        else:
            app.router.add_route(route.method, route.path, _answering(handler))
    app.router.add_get("/", system.root)
    app.router.add_route("*", "/api/v1/{rest:.*}", _answering(_authorized(_no_route)))


def _authorized(handler: Handler) -> Handler:
    async def checked(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not given.startswith(_BEARER):
            raise Unauthorized
        name = await request.app[SERVICES].tokens.name_of(given[len(_BEARER) :].strip())
        if name is None:
            raise Unauthorized("the token is not valid: it is unknown or was revoked")
        with acting_for(name):
            return await handler(request)

    return checked


def _answering(handler: Handler) -> Handler:
    """Errors as problems. Bad input is an answer, not an event; only what we did not expect is logged as one."""

    async def answered(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except StoreError as error:
            log.warning("store_refused", path=request.path, error=str(error))
            return problem_of(error)
        except GatewayError as error:
            return problem_of(error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("request_failed", method=request.method, path=request.path)
            return problem(500, "internal", "Internal error", "something went wrong here; the log says what")

    return answered


async def _no_route(request: web.Request) -> web.Response:
    allowed = sorted({route.method for route in ROUTES if _matches(route, request.path)})
    if allowed:
        raise WrongMethod(request.method, allowed)
    raise NoRoute(f"there is nothing at {request.path}: see /openapi.json")


def _matches(route: Route, path: str) -> bool:
    pattern = "/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in route.path.split("/"))
    return re.fullmatch(pattern, path) is not None
