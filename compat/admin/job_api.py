"""The job API of 3.5: JSON instead of forms, an app's access token instead of a login.

A caller speaks for the app that it names, with a token of that app's own: what the token opens is that app's jobs, whose executors
take runs from whoever has it. A token that several apps share would open the jobs of all of them to everybody who sees it
in one, so it is taken only where the setting `job_api_shared_tokens` says so. At the admin it opens all jobs of all apps.
"""

from __future__ import annotations

import json

import structlog
from aiohttp import hdrs, web

from compat import dialects
from compat.admin import jobs, replies
from compat.admin.calls import Answer, Call, Handler, address_of, refusal
from compat.admin.generations import Generation
from compat.admin.parameters import Parameters, read_body
from compat.admin.ports import PORTS, AdminPorts
from compat.admin.replies import Style
from gateway.core.acting import acting_for
from gateway.core.errors import InvalidValue, Refused
from gateway.core.model import TriggerKind
from gateway.core.users import Role, User

log = structlog.get_logger(__name__)

AUTHOR = "app:"
_SHARED = (
    "this call takes a token of the app's own (access-tokens create --app); one that apps share, only with the"
    " setting job_api_shared_tokens"
)
CALLS: dict[str, Handler] = {
    "/api/addJob": jobs.add,
    "/api/updateJob": jobs.update,
    "/api/removeJob": jobs.remove,
    "/api/startJob": jobs.start,
    "/api/stopJob": jobs.stop,
    "/api/triggerJob": jobs.trigger,
}


def endpoint(prefix: str, handler: Handler) -> Answer:
    async def answered(request: web.Request) -> web.StreamResponse:
        style = Style(Generation.G3B, prefix, request.app[PORTS].zone)
        try:
            user = await _app_user(request)  # before the body of a stranger is read
            given = _parameters(await read_body(request))
            call = Call(request.app[PORTS], given, user, style, kind=TriggerKind.API)
            with acting_for(AUTHOR + user.username):
                return replies.success(style, await handler(call))
        except Exception as error:
            return refusal(request, style, error)

    return answered


async def _app_user(request: web.Request) -> User:
    """Who may do with the jobs of one app what it likes. Raises `Refused`, `NotFound`."""
    ports = request.app[PORTS]
    if request.method != hdrs.METH_POST:
        raise Refused(f"this call takes POST, not {request.method}")
    token, appname = (
        request.headers.get(name, "").strip() for name in (dialects.TOKEN_HEADER, dialects.APPNAME_HEADER)
    )
    for name, value in ((dialects.TOKEN_HEADER, token), (dialects.APPNAME_HEADER, appname)):
        if not value:
            raise Refused(f"header {name} is missing or blank")
    peer = address_of(request)
    try:
        _require_token(ports, token, appname, peer)
    except Refused as error:
        log.warning("job_api_refused", remote=peer, path=request.path, why=str(error))
        raise
    app = await ports.apps.get(appname)
    return User(0, appname, Role.NORMAL, frozenset({app.id}))


def _require_token(ports: AdminPorts, token: str, appname: str, peer: str) -> None:
    """Raises `Refused`."""
    if not ports.access.admit(token, appname, peer):
        raise Refused("this gateway has no access token, so that anybody could make this call: set one")
    if not ports.shared_tokens and not ports.access.is_own(token, appname):
        raise Refused(_SHARED)


def _parameters(body: bytes) -> Parameters:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise InvalidValue("body", None, "a JSON object")
    values: dict[str, list[str]] = {}
    for name, value in told.items():
        if isinstance(value, (dict, list, bool)):
            raise InvalidValue(name[:100], None, "a text or a number")
        if value is not None:
            values[name] = [value if isinstance(value, str) else str(value)]
    return Parameters(values)
