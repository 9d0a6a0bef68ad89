"""Handlers: probes, metrics, the OpenAPI document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from functools import cached_property

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from gateway.api.models.base import JsonObject
from gateway.api.models.system import Alive, Ready
from gateway.api.render import JSON, json_answer
from gateway.api.services import SERVICES

REGISTRY = web.AppKey("metrics_registry", CollectorRegistry)


class Document:
    """The OpenAPI document, made when somebody first asks for it: nobody who starts a node should wait for it."""

    def __init__(self, make: Callable[[], JsonObject], models: Collection[type[BaseModel]]) -> None:
        self._make = make
        self.models = models

    @cached_property
    def text(self) -> bytes:
        return json.dumps(self._make()).encode()


DOCUMENT = web.AppKey("openapi_document", Document)


async def root(_request: web.Request) -> web.Response:
    return web.Response(
        text="xxljob-gateway: the API is described at /openapi.json, its health is at /readyz\n"
    )


async def healthz(_request: web.Request) -> web.Response:
    return json_answer(Alive(status="ok"))


async def readyz(request: web.Request) -> web.Response:
    problems = list(request.app[SERVICES].operations.health().problems)
    if problems:
        return json_answer(Ready(status="not ready", problems=problems), 503)
    return json_answer(Ready(status="ready", problems=[]))


async def metrics(request: web.Request) -> web.Response:
    body = generate_latest(request.app[REGISTRY])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def openapi(request: web.Request) -> web.Response:
    document = request.app[DOCUMENT]
    for model in document.models:
        # Not in the thread: another call must not meet a model that is half built.
        model.model_rebuild()
        await request.app[SERVICES].clock.sleep(0)
    # In a thread, since runs are due meanwhile.
    text = await asyncio.to_thread(lambda: document.text)
    return web.Response(body=text, content_type=JSON)
