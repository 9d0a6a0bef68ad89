"""The API on a real SQLite store, with a scheduler that only remembers what it is asked."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from gateway.api.services import Hooks, Services
from gateway.api.setup import setup_api
from gateway.app.services import services_of
from gateway.store import ids
from gateway.store.access import AccessStore
from gateway.store.apps import AppStore
from gateway.store.backfills import BackfillStore
from gateway.store.engine import Database, database_url, open_database
from gateway.store.events import EventStore
from gateway.store.history import HistoryStore
from gateway.store.jobs import JobStore
from gateway.store.nodes import Nodes
from gateway.store.passwords import Passwords
from gateway.store.pauses import PauseStore
from gateway.store.runs import RunStore
from gateway.store.tokens import TokenStore
from gateway.store.users import UserStore
from tests.kit.blank_database import blank_database
from tests.kit.operations import FakeOperations, FakeQueues, FakeReruns, StillClock


@dataclass
class Api:
    """Calls as a client makes them: `call` returns status and JSON."""

    session: ClientSession
    url: str
    token: str
    db: Database
    clock: StillClock
    operations: FakeOperations
    queues: FakeQueues
    reruns: FakeReruns
    services: Services
    # Middlewares that see each call before it is answered.
    intruders: list[Any] = field(default_factory=list)

    async def call(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, token: Any = ...
    ):
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {self.token if token is ... else token}"
        data = {"data": io.BytesIO(json.dumps(body).encode() if raw is None else raw)}
        if raw is None and body is None:
            data = {}
        async with self.session.request(method, self.url + path, headers=headers, **data) as answer:
            self.headers = answer.headers
            text = await answer.text()
            return answer.status, await answer.json(
                content_type=None
            ) if text and "json" in answer.content_type else text

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.call(method, path, body)
        assert status < 300, answer
        return answer

    async def problem(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The problem that this call must end in."""
        found, answer = await self.call(method, path, body, **more)
        assert (found, answer["status"]) == (status, status), answer
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert answer["type"].startswith("urn:xxljob-gateway:problem:")
        assert answer["title"]
        assert answer["detail"]
        return answer

    async def wrong(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[str, Any, str]:
        """The one field that this call must be refused for: name, value, what would be right."""
        answer = await self.problem(422, method, path, body, **more)
        (error,) = answer["errors"]
        return error["field"], error["value"], error["expected"]

    async def app(self, appname: str = "billing") -> Any:
        return await self.ok("POST", "/api/v1/apps", {"appname": appname, "title": "Billing"})

    async def job(self, **fields: Any) -> Any:
        return await self.ok("POST", "/api/v1/jobs", a_job(**fields))


def a_job(**fields: Any) -> dict[str, Any]:
    return {
        "app": "billing",
        "name": "close the day",
        "schedule": {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "Asia/Shanghai"},
        "task": {"kind": "xxl", "handler": "closeDay", "params": "x=1", "glue_type": "BEAN"},
        **fields,
    }


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with an_api(tmp_path) as one:
        yield one


@asynccontextmanager
async def an_api(path: Path) -> AsyncIterator[Api]:
    """On a database of its own in that folder."""
    clock, operations = StillClock(), FakeOperations()
    db = open_database(database_url(blank_database(path)))
    tokens = TokenStore(db, clock)
    _, token = await tokens.create("test")
    queues, reruns, run_ids = FakeQueues(), FakeReruns(), ids.run_ids(db, clock)
    services = services_of(
        db,
        clock,
        run_ids=run_ids,
        jobs=JobStore(db, clock, ids.job_ids(db, clock), run_ids),
        apps=AppStore(db, clock, ids.app_ids(db, clock)),
        runs=RunStore(db, clock),
        tokens=tokens,
        access=AccessStore(db, clock),
        nodes=Nodes(db, clock, 2000),
        events=EventStore(db, clock),
        history=HistoryStore(db, clock),
        pauses=PauseStore(db, clock),
        backfills=BackfillStore(db, clock),
        users=UserStore(db, clock, Passwords(memory_kib=64)),
        operations=operations,
        queues=queues,
        reruns=reruns,
        retention_days=30,
        hooks=Hooks(private_url="http://10.9.8.7:8081"),
    )
    intruders: list[Any] = []

    @web.middleware
    async def intruded(request: web.Request, handler: Any) -> web.StreamResponse:
        return await (intruders[0](request, handler) if intruders else handler(request))

    app = web.Application(middlewares=[intruded])
    setup_api(app, services)
    async with TestServer(app) as server, ClientSession() as session:
        base = str(server.make_url("")).rstrip("/")
        yield Api(session, base, token, db, clock, operations, queues, reruns, services, intruders)
    await db.close()


@pytest.fixture
async def billing(api: Api) -> Api:
    """With the app `billing`."""
    await api.app()
    return api
