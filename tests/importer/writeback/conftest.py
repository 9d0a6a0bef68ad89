"""Gateways with what an import has made of a source, and accounts that may write a database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from gateway.core.clock import SystemClock
from gateway.store.passwords import Passwords
from importer.apply import apply_plan, read_target
from importer.plan.make import PlanOptions, make_plan
from importer.source.source import open_source
from importer.source.url import parse_source
from tests.kit.operations import StillClock
from tests.unit.api.conftest import an_api

WRITER, PASSWORD = "xxl_writer", "writes"


@dataclass
class Gateway:
    """A gateway, and the plan of the import that has filled it."""

    api: object
    plan: object = None

    async def import_(self, database):
        async with open_source(parse_source(database.url)) as source:
            installation = await source.installation()
        # What the database says does not depend on when it is read, and fire times are told from the test's clock.
        installation = replace(installation, signs=replace(installation.signs, database_now_ms=0))
        target = await read_target(self.api.db, self.api.clock, "old")
        self.plan = make_plan(installation, target, PlanOptions("old"), self.api.clock.now_ms())
        await apply_plan(self.api.db, self.api.clock, self.plan, passwords=Passwords(memory_kib=64))
        return self.plan

    async def run(self, *args, code=0):
        env = {"XXLJOB_GATEWAY_URL": self.api.url, "XXLJOB_GATEWAY_TOKEN": self.api.token}
        result = await asyncio.to_thread(CliRunner().invoke, cli, list(map(str, args)), env=env)
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    async def write_back(self, database, *more, code=0):
        return await self.run("export", "--to-xxljob", writer_url(database), "--yes", *more, code=code)


class Calls:
    """What a gateway holds, read before and told from memory: as a client does that is asked in between."""

    def __init__(self, answers):
        self._answers = answers

    @classmethod
    async def of(cls, api):
        lists = {path: (await api.ok("GET", path))["items"] for path in ("/api/v1/jobs", "/api/v1/apps")}
        return cls({**lists, "/api/v1/calendars": []})

    def items(self, path, *, query, limit):
        return iter(self._answers[path])

    def call(self, method, path, body=None, *, query=None):
        assert path == "/api/v1/schedules/preview"
        return {"schedule": {"timezone": "Asia/Shanghai"}}


def writer_url(database, rights="SELECT, INSERT, UPDATE"):
    server = database.server
    server.execute(f"CREATE USER IF NOT EXISTS '{WRITER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    server.execute(f"GRANT {rights} ON `{database.name}`.* TO '{WRITER}'@'127.0.0.1'")
    return f"mysql://{WRITER}:{PASSWORD}@127.0.0.1:{server.port}/{database.name}"


@pytest.fixture(autouse=True)
def _today(monkeypatch):
    """Commands have the clock of the gateways."""
    monkeypatch.setattr(SystemClock, "now_ms", lambda self: StillClock().now_ms())


@pytest.fixture
async def gateways(tmp_path):
    """`await gateways()`: another empty gateway."""
    open_ = []

    async def make():
        folder = tmp_path / f"gateway-{len(open_)}"
        folder.mkdir()
        context = an_api(folder)
        open_.append(context)
        return Gateway(await context.__aenter__())

    yield make
    for context in open_:
        await context.__aexit__(None, None, None)
