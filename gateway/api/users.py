"""Handlers: users of the admin web endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from gateway.api.intake import checked, read_as, read_object
from gateway.api.models.users import PasswordBody, UserAnswer, UserBody, UserChange, UserList
from gateway.api.patching import merged
from gateway.api.render import json_answer, nothing, times
from gateway.api.services import SERVICES, Services
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.users import WEAK_PASSWORD, Role, User, require_password, require_username

OLD_COOKIE = (
    "whoever sees this account's old cookie once is this user until the password is changed: it cannot be revoked by a "
    "logout, and it holds the password's unsalted MD5, from which a weak password is found in moments; use the password "
    "nowhere else, and take the switch back when the scripts log in"
)


async def create(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, UserBody)
    require_username(body.username)
    require_password(body.password)
    wanted = User(
        0, body.username, Role[body.role.upper()], await _app_ids(services, body.apps), body.old_cookie
    )
    made = await services.users.create(wanted, body.password)
    return json_answer(await _answer(services, made, _warnings(body)), 201)


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    found = await services.users.all_users()
    return json_answer(UserList(items=[await _answer(services, user) for user in found]))


async def patch(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    change = await read_object(request)
    user = await _named(request)
    present = {"role": user.role.word, "apps": await _appnames(services, user)}
    body = checked(merged(present, change), UserChange)
    changed = replace(user, role=Role[body.role.upper()], app_ids=await _app_ids(services, body.apps))
    return json_answer(await _answer(services, await services.users.update(changed)))


async def set_password(request: web.Request) -> web.Response:
    """Ends all sessions of the user."""
    services = request.app[SERVICES]
    body = await read_as(request, PasswordBody)
    require_password(body.password)
    user = replace(await _named(request), old_cookie=body.old_cookie)
    changed = await services.users.set_password(user, body.password)
    return json_answer(await _answer(services, changed, _warnings(body)))


async def remove(request: web.Request) -> web.Response:
    await request.app[SERVICES].users.remove((await _named(request)).id)
    return nothing()


async def _named(request: web.Request) -> User:
    return await request.app[SERVICES].users.get(request.match_info["username"])


async def _app_ids(services: Services, appnames: Sequence[str]) -> frozenset[int]:
    found: list[int] = []
    for index, appname in enumerate(appnames):
        try:
            found.append((await services.apps.get(appname)).id)
        except NotFound:
            raise InvalidValue(f"apps[{index}]", appname, "the appname of an app that exists") from None
    return frozenset(found)


async def _appnames(services: Services, user: User) -> list[str]:
    return sorted((await services.apps.names(user.app_ids)).values())


def _warnings(body: UserBody | PasswordBody) -> list[str]:
    found = [OLD_COOKIE] if body.old_cookie else []
    if len(body.password) < WEAK_PASSWORD:
        found.append(f"a password of less than {WEAK_PASSWORD} characters is soon guessed")
    return found


async def _answer(services: Services, user: User, warnings: Sequence[str] = ()) -> UserAnswer:
    return UserAnswer(
        username=user.username,
        role="admin" if user.is_admin else "normal",
        apps=await _appnames(services, user),
        old_cookie=user.old_cookie,
        warnings=list(warnings),
        **times(created=user.created_ms, updated=user.updated_ms),
    )
