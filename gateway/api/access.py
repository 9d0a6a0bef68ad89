"""Handlers: access tokens of apps and namespaces."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiohttp import web

from gateway.api.intake import parsed, path_id, read_body
from gateway.api.models.access import AccessTokenAnswer, AccessTokenBody, AccessTokenList, NewAccessToken
from gateway.api.models.base import MAX_ID
from gateway.api.render import json_answer, nothing, times
from gateway.api.services import SERVICES, Services
from gateway.core.access import AccessToken, Holder, mark_of
from gateway.core.errors import NotFound


async def create_of_app(request: web.Request) -> web.Response:
    return await _create(request, await _app(request))


async def create_of_namespace(request: web.Request) -> web.Response:
    return await _create(request, await _namespace(request))


async def page_of_app(request: web.Request) -> web.Response:
    return await _page(request, await _app(request))


async def page_of_namespace(request: web.Request) -> web.Response:
    return await _page(request, await _namespace(request))


async def remove_of_app(request: web.Request) -> web.Response:
    return await _remove(request, await _app(request))


async def remove_of_namespace(request: web.Request) -> web.Response:
    return await _remove(request, await _namespace(request))


async def _app(request: web.Request) -> Holder:
    return await request.app[SERVICES].access.holder(appname=request.match_info["appname"])


async def _namespace(request: web.Request) -> Holder:
    return await request.app[SERVICES].access.holder(namespace=request.match_info["namespace"])


async def _create(request: web.Request, holder: Holder) -> web.Response:
    services = request.app[SERVICES]
    body = parsed(await read_body(request) or b"{}", AccessTokenBody)
    valid_ms = None if body.old_valid_s is None else body.old_valid_s * 1000
    made = await services.access.create(holder, body.token, valid_ms)
    await services.operations.access_changed()
    (fields,) = _fields(services, holder, [made])
    return json_answer(NewAccessToken(token=made.text, **fields), 201)


async def _page(request: web.Request, holder: Holder) -> web.Response:
    services = request.app[SERVICES]
    found = _fields(services, holder, await services.access.of(holder))
    return json_answer(AccessTokenList(items=[AccessTokenAnswer(**fields) for fields in found]))


async def _remove(request: web.Request, holder: Holder) -> web.Response:
    services = request.app[SERVICES]
    token_id = path_id(request, "token_id")
    if token_id > MAX_ID:
        raise NotFound("access token", token_id)
    await services.access.remove(holder, token_id)
    await services.operations.access_changed()
    return nothing()


def _fields(services: Services, holder: Holder, tokens: list[AccessToken]) -> list[dict[str, Any]]:
    now_ms = services.clock.now_ms()
    came: Counter[str] = Counter()
    if holder.app_id:
        came.update(one.token_mark for one in services.operations.live_executors(holder.app_id))
    own = {mark_of(one.text) for one in tokens if one.text}
    others = sum(count for mark, count in came.items() if mark not in own)
    return [
        {
            "id": one.id,
            "kind": "own" if one.text else "inherited",
            "valid": one.valid_at(now_ms),
            "executors": (came[mark_of(one.text)] if one.text else others) if holder.app_id else None,
            "author": one.author,
            **times(created=one.created_ms, ends=one.ends_ms),
        }
        for one in tokens
    ]
