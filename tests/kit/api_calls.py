"""The API of a node on a clock moved by hand: its own handlers, called without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from gateway.api.services import Services
from gateway.api.setup import setup_api
from gateway.flow.quotas import SharedQuotas
from gateway.store.quotas import QuotaRows
from gateway.store.tasks import TaskStore
from gateway.store.tokens import TokenStore
from tests.kit.flow_world import World
from tests.kit.life import Life


class ApiCalls:
    """Calls to the node that `World.pick` chooses, as of a client with a token of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._apps: dict[Life, web.Application] = {}
        self._token = ""

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        life = self._world.pick(self._world.serving())
        return await self._world.do(self._ask(life, method, path, body, headers or {}), by=life)

    async def _ask(
        self, life: Life, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        app = self._apps.get(life)
        if app is None:
            app = self._apps[life] = await self._application(life)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        payload = StreamReader(_Protocol(), 2**16)
        payload.feed_data(data)
        payload.feed_eof()
        given = {"Authorization": f"Bearer {self._token}", "Content-Length": str(len(data)), **headers}
        request = make_mocked_request(method, path, headers=given, app=app, payload=payload)
        answer = await app._handle(request)
        assert isinstance(answer, web.Response)
        text = answer.text
        return answer.status, json.loads(text) if text and "json" in answer.content_type else text

    async def _application(self, life: Life) -> web.Application:
        tokens = TokenStore(life.db, life.clock)
        if not self._token:
            _, self._token = await tokens.create("test")
        app = web.Application()
        ports: dict[str, Any] = {
            "jobs": life.jobs,
            "apps": life.apps,
            "runs": life.runs,
            "tasks": TaskStore(life.db),
            "tokens": tokens,
            "nodes": life.nodes,
            "operations": life.operations,
            "clock": life.clock,
            "quotas": SharedQuotas(life.clock, QuotaRows(life.db, life.clock)),
        }
        unused = {field.name: None for field in fields(Services) if field.name not in ports}
        services = Services(**ports, **unused)
        setup_api(app, services)
        app.freeze()
        return app


class _Protocol:
    """As much of a connection as a body that is there already asks for."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, **how: object) -> None: ...
