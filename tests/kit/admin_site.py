"""The admin web endpoints on a real SQLite store, with a scheduler that only remembers what it is asked."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer
from sqlalchemy import insert
from yarl import URL

from compat.admin.ports import AdminPorts
from compat.admin.routes import setup_admin_routes
from gateway.core.access import AccessTokens
from gateway.core.model import FIRST_LONG_ID, AddressMode, App, Job, Task, TriggerKind
from gateway.core.registry import Registry
from gateway.core.states import OPEN, RunState
from gateway.core.trigger_url import Network
from gateway.core.users import Role, User
from gateway.core.zones import resolve_zone
from gateway.flow.quotas import SharedQuotas
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.daily import DailyStore
from gateway.store.engine import Database, database_url, open_database
from gateway.store.history import HistoryStore
from gateway.store.jobs import JobStore
from gateway.store.passwords import Passwords
from gateway.store.positions import PositionStore
from gateway.store.quotas import QuotaRows
from gateway.store.runs import RunStore
from gateway.store.sessions import SessionStore
from gateway.store.tables import run
from gateway.store.users import UserStore
from tests.kit.blank_database import blank_database
from tests.kit.operations import FakeOperations, StillClock

Pairs = Mapping[str, Any] | Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Reply:
    """What a client sees of an answer."""

    status: int
    headers: Mapping[str, str]
    set_cookies: tuple[str, ...]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class AdminSite:
    """`ask` sends a form, as most clients do; `cookie` is sent as it is."""

    session: ClientSession
    url: str
    db: Database
    clock: StillClock
    operations: FakeOperations
    ports: AdminPorts
    cookie: str = ""
    last_run: int = FIRST_LONG_ID

    async def ask(
        self,
        path: str,
        form: Pairs | None = None,
        *,
        query: Pairs | str | None = None,
        method: str = "POST",
        cookie: str | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | io.BytesIO | None = None,
    ) -> Reply:
        given = dict(headers or {})
        sent = self.cookie if cookie is None else cookie
        if sent:
            given["Cookie"] = sent
        target = self.url + path
        if isinstance(query, str):
            target += "?" + query
        elif query:
            target = str(URL(target).with_query(_strings(query)))
        data = raw if raw is not None else _strings(form) if form is not None else None
        async with self.session.request(
            method, URL(target, encoded=True), data=data, headers=given, allow_redirects=False
        ) as answer:
            text = await answer.text()
            return Reply(answer.status, answer.headers, tuple(answer.headers.getall("Set-Cookie", ())), text)

    async def user(self, username: str = "admin", password: str = "let-me-in-7", **fields: Any) -> User:
        user = User(0, username, fields.pop("role", Role.ADMIN), **fields)
        return await self.ports.users.create(user, password)

    async def login(
        self,
        path: str = "/xxl-job-admin/login",
        username: str = "admin",
        password: str = "let-me-in-7",
        **more: str,
    ) -> str:
        """The cookie, as `name=value`; also sent with what follows."""
        reply = await self.ask(path, {"userName": username, "password": password, **more}, cookie="")
        assert reply.json["code"] == 200, reply.text
        (given,) = reply.set_cookies
        self.cookie = given.partition(";")[0]
        return self.cookie

    async def app(self, appname: str = "billing", title: str = "Billing", **fields: Any) -> App:
        made = App(0, 1, appname, title, AddressMode.AUTO, (), 0, 0)
        return await self.ports.apps.create(replace(made, **fields))

    async def job(self, app: App, handler: str = "closeDay", **fields: Any) -> Job:
        made = Job(
            id=0,
            namespace_id=1,
            app_id=app.id,
            part=0,
            version=1,
            name="close the day",
            enabled=False,
            schedule={"kind": "none"},
            task=Task(handler, "x=1"),
            max_attempts=3,
        )
        (stored,) = await self.ports.jobs.create([replace(made, **fields)])
        return stored

    async def run(self, job: Job, state: RunState = RunState.SUCCEEDED, **values: Any) -> int:
        """A row as the stages leave one; the id, larger than those before."""
        self.last_run += 1
        is_open = state in OPEN
        row = {
            "id": self.last_run,
            "job_id": job.id,
            "app_id": job.app_id,
            "part": job.part,
            "slot_key": -self.last_run,
            "root_id": self.last_run,
            "trigger_kind": int(TriggerKind.MANUAL),
            "state": int(state),
            "open_part": job.part if is_open else None,
            "due_ms": self.clock.ms,
            "created_ms": self.clock.ms,
            "finished_ms": 0 if is_open else self.clock.ms + 2000,
            **values,
        }
        async with self.db.write() as conn:
            await conn.execute(insert(run).values(row))
        return self.last_run


def _strings(pairs: Pairs) -> list[tuple[str, str]]:
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return [(name, str(value)) for name, value in items]


async def _front(request: web.Request) -> web.StreamResponse:
    return web.Response(text="the front of the gateway")


@contextlib.asynccontextmanager
async def admin_site(
    directory: Path,
    access_tokens: tuple[str, ...] = ("secret",),
    trusted: tuple[Network, ...] = (),
    *,
    shared_tokens: bool = False,
) -> AsyncIterator[AdminSite]:
    clock, operations = StillClock(), FakeOperations()
    db = open_database(database_url(blank_database(directory)))
    ports = AdminPorts(
        users=UserStore(db, clock, Passwords(memory_kib=64)),
        sessions=SessionStore(db, clock),
        access=AccessTokens(access_tokens, Registry(), clock.now_ms),
        jobs=JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock)),
        apps=AppStore(db, clock, ids.app_ids(db, clock)),
        runs=RunStore(db, clock),
        remover=HistoryStore(db, clock),
        daily=DailyStore(db, clock),
        operations=operations,
        positions=PositionStore(db, clock),
        quotas=SharedQuotas(clock, QuotaRows(db, clock)),
        clock=clock,
        zone=resolve_zone("Asia/Shanghai"),
        trusted=trusted,
        shared_tokens=shared_tokens,
    )
    app = web.Application()
    setup_admin_routes(app, ports, _front)
    async with TestServer(app) as server, ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield AdminSite(session, str(server.make_url("")).rstrip("/"), db, clock, operations, ports)
    await db.close()
