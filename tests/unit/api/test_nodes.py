"""Nodes over the API and on the command line: who there is, draining, and what is refused."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from gateway.cli import cli
from gateway.core.cluster import FREE, Identity
from gateway.core.model import PARTS
from gateway.store.nodes import Nodes
from gateway.store.tables import part, revision

LEASE_MS = 2000
COLUMNS = ["NAME", "STATE", "PARTS", "CONTROL", "ADDRESS", "VERSION", "CLOCK", "OFFSET", "MS", "SEEN"]


@pytest.fixture
async def nodes(api):
    """The store that the handlers use, on a database with the rows that a migration makes."""
    async with api.db.write() as conn:
        await conn.execute(insert(part), [{"id": number} for number in range(PARTS)])
        await conn.execute(insert(revision), [{"name": name, "n": 0} for name in ("app", "executor", "job")])
    return Nodes(api.db, api.clock, LEASE_MS)


@pytest.fixture
async def two(nodes):
    """gw-1 owns all, gw-2 nothing yet."""
    leases = [
        (await nodes.join(Identity(name, name, f"http://10.0.0.{number}:7", "0.1.0"))).lease
        for number, name in enumerate(("gw-1", "gw-2"), 1)
    ]
    await nodes.take(leases[0], dict.fromkeys(range(PARTS), FREE))
    return leases


# ------------------------------------------------------------ API


async def test_the_list(api, two, nodes):
    await nodes.note_clock(two[1], -2500, fit=False)
    answer = await api.ok("GET", "/api/v1/nodes")
    now = api.clock.now_ms()
    first, second = answer["nodes"]
    assert first == {
        "name": "gw-1",
        "state": "live",
        "parts": 128,
        "control_address": "http://10.0.0.1:7",
        "version": "0.1.0",
        "clock_offset_ms": 0,
        "clock_right": True,
        "started": first["started"],
        "started_ms": now,
        "seen": first["seen"],
        "seen_ms": now,
    }
    assert first["seen"].endswith("+00:00")
    assert (second["name"], second["parts"], second["clock_offset_ms"]) == ("gw-2", 0, -2500)
    assert not second["clock_right"]


async def test_an_empty_list(api):
    assert await api.ok("GET", "/api/v1/nodes") == {"nodes": []}


async def test_drain_and_resume(api, two):
    answer = await api.ok("POST", "/api/v1/nodes/gw-1/drain")
    assert (answer["name"], answer["state"], answer["parts"]) == ("gw-1", "draining", 128)
    assert (await api.ok("POST", "/api/v1/nodes/gw-1/drain"))["state"] == "draining"
    states = {one["name"]: one["state"] for one in (await api.ok("GET", "/api/v1/nodes"))["nodes"]}
    assert states == {"gw-1": "draining", "gw-2": "live"}
    assert (await api.ok("POST", "/api/v1/nodes/gw-1/resume"))["state"] == "live"


@pytest.mark.parametrize("what", ["drain", "resume"])
async def test_a_node_that_is_unknown(api, two, what):
    answer = await api.problem(404, "POST", f"/api/v1/nodes/gw-9/{what}")
    assert "'gw-9'" in answer["detail"]


async def test_the_only_node_cannot_be_drained(api, nodes):
    await nodes.join(Identity("gw-1", "gw-1"))
    answer = await api.problem(409, "POST", "/api/v1/nodes/gw-1/drain")
    assert "no other node" in answer["detail"]


async def test_the_last_that_does_not_drain_cannot_be_drained(api, two):
    await api.ok("POST", "/api/v1/nodes/gw-1/drain")
    await api.problem(409, "POST", "/api/v1/nodes/gw-2/drain")
    assert (await api.ok("GET", "/api/v1/nodes"))["nodes"][1]["state"] == "live"


async def test_a_node_that_stopped_cannot_be_drained(api, two, nodes):
    await nodes.leave(two[1], {})
    answer = await api.problem(409, "POST", "/api/v1/nodes/gw-2/drain")
    assert "not running" in answer["detail"]


# ------------------------------------------------------------ commands


@pytest.fixture
def run(api):
    """Run a command against the API: exit code, output, errors."""

    async def call(*args):
        env = {
            "XXLJOB_GATEWAY_URL": api.url,
            "XXLJOB_GATEWAY_TOKEN": api.token,
            "XXLJOB_GATEWAY_DATA_DIR": "/nonexistent",
        }
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["nodes", *args], env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


async def test_the_table(run, two, nodes):
    await nodes.drain("gw-2", draining=True)
    code, text, _ = await run("list")
    assert code == 0
    head, first, second = text.splitlines()
    assert head.split() == COLUMNS
    assert first.split()[:6] == ["gw-1", "live", "128", "http://10.0.0.1:7", "0.1.0", "0"]
    assert second.split()[:6] == ["gw-2", "draining", "0", "http://10.0.0.2:7", "0.1.0", "0"]


async def test_the_table_without_nodes(run):
    assert await run("list") == (0, "nothing found\n", "")


async def test_json(run, two):
    code, text, _ = await run("list", "--json")
    assert code == 0
    assert [one["name"] for one in json.loads(text)] == ["gw-1", "gw-2"]


async def test_drain_waits_until_the_node_owns_nothing(run, two, nodes):
    await nodes.give(two[0], {("gw-2", 1): range(PARTS)})
    code, text, _ = await run("drain", "gw-1")
    assert code == 0
    assert text.splitlines()[1].split()[:3] == ["gw-1", "draining", "0"]
    code, text, _ = await run("resume", "gw-1", "--json")
    assert (code, json.loads(text)["state"]) == (0, "live")


async def test_drain_says_when_it_waits_no_longer(run, two):
    code, text, error = await run("drain", "gw-1", "--wait", "0.1")
    assert code == 1
    assert text.splitlines()[1].split()[:3] == ["gw-1", "draining", "128"]
    assert error == "error: node 'gw-1' still owns 128 parts after 0.1 s\n"
    code, _, error = await run("drain", "gw-1", "--wait", "0")
    assert (code, error) == (0, "")


async def test_what_is_refused_is_said_in_a_line(run, two):
    code, _, error = await run("drain", "gw-9")
    assert code == 2
    assert error.count("\n") == 1
    assert "node 'gw-9' does not exist" in error
    await run("drain", "gw-1", "--wait", "0")
    code, _, error = await run("drain", "gw-2")
    assert code == 1
    assert error.count("\n") == 1
    assert "no other node" in error
