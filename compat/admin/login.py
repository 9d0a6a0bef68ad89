"""Login, logout and a change of one's own password, as each generation has them; its login pages as plain words."""

from __future__ import annotations

import math

import structlog
from aiohttp import hdrs, web

from compat.admin import cookies, replies
from compat.admin.calls import ATTEMPTS, CALLERS, KNOWN, Answer, Call, address_of, caller_of, refusal
from compat.admin.generations import LOGIN_PAGES, Generation
from compat.admin.parameters import Parameters, read_parameters
from compat.admin.ports import PORTS
from compat.admin.replies import Json, Style
from gateway.core.errors import InvalidValue, Refused
from gateway.core.users import User, require_password

log = structlog.get_logger(__name__)

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>xxljob-gateway</title>
<p>These are the web endpoints of xxl-job-admin for scripts: log in with a POST of userName and password.</p></html>
"""


def login(prefix: str, generation: Generation) -> Answer:
    async def answered(request: web.Request) -> web.StreamResponse:
        style = Style(generation, prefix, request.app[PORTS].zone)
        if request.method != hdrs.METH_POST:
            return _to_page(style)
        try:
            cookies.require_same_site(request)
            return await _log_in(request, style, await read_parameters(request))
        except Exception as error:
            return refusal(request, style, error)

    return answered


async def _log_in(request: web.Request, style: Style, given: Parameters) -> web.Response:
    ports = request.app[PORTS]
    name, password = given.text("userName") or "", given.text("password") or ""
    if not name or not password:
        raise InvalidValue("userName", name, "the name of a user, and password its password")
    now, caller = ports.clock.monotonic(), address_of(request)
    pair = f"{name[:64]} from {caller}"
    of_pairs, of_callers, known = request.app[ATTEMPTS], request.app[CALLERS], request.app[KNOWN]
    wait_s = max(of_pairs.wait_s(pair, now), of_callers.wait_s(caller, now))
    if wait_s and not known.has(name, password):
        raise Refused(f"too many logins have failed: try again in {math.ceil(wait_s)} s")
    of_pairs.failed(pair, now)
    of_callers.failed(caller, now)
    user = await ports.users.with_password(name, password)
    if user is None:
        known.discard(name, password)
        # The name is left out: people type passwords there.
        log.warning("login_failed", remote=caller)
        raise Refused("the user name or the password is wrong")
    known.add(name, password)
    of_pairs.succeeded(pair)
    of_callers.forgive(caller, now)
    await _end_another_s(request, style.generation, user)
    text = await ports.sessions.open(user, style.generation)
    log.info("logged_in", user=user.username, remote=caller)
    response = replies.success(style)
    cookies.give(
        response,
        style.generation,
        text,
        secure=caller_of(request).scheme == "https",
        remember=given.text("ifRemember") in ("on", "true", "1"),
    )
    return response


async def _end_another_s(request: web.Request, generation: Generation, user: User) -> None:
    """Or the caller would go on as somebody else, whose cookie it has under the other name."""
    sessions = request.app[PORTS].sessions
    text = cookies.session_text_beside(request, generation)
    session = await sessions.find(text) if text else None
    if session is not None and session.user.id != user.id:
        await sessions.close(text)


def logout(prefix: str, generation: Generation) -> Answer:
    """Works without a session as well: whoever wants to be logged out is."""

    async def answered(request: web.Request) -> web.StreamResponse:
        style = Style(generation, prefix, request.app[PORTS].zone)
        try:
            cookies.require_same_site(request)
            texts = cookies.session_texts(request)
            for text in texts:
                await request.app[PORTS].sessions.close(text)
            if texts:
                log.info("logged_out", remote=address_of(request))
        except Exception as error:
            return refusal(request, style, error)
        response = replies.success(style)
        cookies.take_back(response, generation)
        return response

    return answered


async def change_password(call: Call) -> Json:
    """One's own. The old one is asked for, also by callers of a time when it was not: a cookie is no password."""
    password, old = call.given.text("password") or "", call.given.text("oldPassword") or ""
    require_password(password)
    users, attempts = call.ports.users, call.ports.own_passwords
    key, now = str(call.user.id), call.ports.clock.monotonic()
    wait_s = attempts.wait_s(key, now)
    if wait_s:
        raise Refused(f"too many old passwords were wrong: try again in {math.ceil(wait_s)} s")
    attempts.failed(key, now)
    if await users.with_password(call.user.username, old) is None:
        raise InvalidValue("oldPassword", "***", "the present password")
    attempts.succeeded(key)
    await users.set_password(call.user, password, keep=call.session)


def _to_page(style: Style) -> web.Response:
    return web.Response(
        status=302, headers={hdrs.LOCATION: style.prefix.rstrip("/") + LOGIN_PAGES[style.generation]}
    )


async def page(request: web.Request) -> web.Response:  # noqa: ARG001 – it is the same for all
    return web.Response(text=_PAGE, content_type="text/html")
