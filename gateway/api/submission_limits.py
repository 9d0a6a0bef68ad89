"""Handlers: limits of submissions, of a token or of a namespace."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import path_id, read_as
from gateway.api.models.base import MAX_ID
from gateway.api.models.system import LimitAnswer, LimitBody
from gateway.api.render import json_answer, nothing
from gateway.api.services import SERVICES
from gateway.core.errors import NotFound
from gateway.core.quota import Rate, default_burst


async def of_token(request: web.Request) -> web.Response:
    return _answer(await request.app[SERVICES].limits.of_token(_token_id(request)))


async def limit_token(request: web.Request) -> web.Response:
    rate = await _rate(request)
    await request.app[SERVICES].limits.limit_token(_token_id(request), rate)
    return _answer(rate)


async def free_token(request: web.Request) -> web.Response:
    await request.app[SERVICES].limits.limit_token(_token_id(request), None)
    return nothing()


async def of_namespace(request: web.Request) -> web.Response:
    return _answer(await request.app[SERVICES].limits.of_namespace(request.match_info["namespace"]))


async def limit_namespace(request: web.Request) -> web.Response:
    rate = await _rate(request)
    await request.app[SERVICES].limits.limit_namespace(request.match_info["namespace"], rate)
    return _answer(rate)


async def free_namespace(request: web.Request) -> web.Response:
    await request.app[SERVICES].limits.limit_namespace(request.match_info["namespace"], None)
    return nothing()


async def _rate(request: web.Request) -> Rate:
    body = await read_as(request, LimitBody)
    return Rate(body.per_second, body.burst or default_burst(body.per_second))


def _token_id(request: web.Request) -> int:
    token_id = path_id(request, "token_id")
    if token_id > MAX_ID:
        raise NotFound("token", token_id)
    return token_id


def _answer(rate: Rate | None) -> web.Response:
    return json_answer(
        LimitAnswer(per_second=None, burst=None)
        if rate is None
        else LimitAnswer(per_second=rate.per_second, burst=rate.burst)
    )
