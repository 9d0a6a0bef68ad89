"""Handlers: tokens of the API."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import path_id, read_as
from gateway.api.models.base import MAX_ID
from gateway.api.models.system import NewToken, TokenBody, TokenList
from gateway.api.render import json_answer, nothing, times, token_answer
from gateway.api.services import SERVICES
from gateway.core.errors import NotFound


async def create(request: web.Request) -> web.Response:
    body = await read_as(request, TokenBody)
    token, text = await request.app[SERVICES].tokens.create(body.name)
    return json_answer(
        NewToken(id=token.id, name=token.name, token=text, **times(created=token.created_ms)), 201
    )


async def page(request: web.Request) -> web.Response:
    tokens = await request.app[SERVICES].tokens.all_tokens()
    return json_answer(TokenList(items=[token_answer(token) for token in tokens]))


async def revoke(request: web.Request) -> web.Response:
    token_id = path_id(request, "token_id")
    if token_id > MAX_ID:
        raise NotFound("token", token_id)
    await request.app[SERVICES].tokens.revoke(token_id)
    return nothing()
