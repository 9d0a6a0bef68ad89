"""Access tokens through the API and the commands."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from gateway.core.access import mark_of
from gateway.core.model import Executor
from gateway.store.tables import namespace
from tests.unit.api.test_cli import run

__all__ = ["run"]

APP = "/api/v1/apps/billing/tokens"
SPACE = "/api/v1/namespaces/default/tokens"


@pytest.fixture
async def space(billing):
    async with billing.db.write() as conn:
        await conn.execute(insert(namespace).values(id=1, name="default"))
    return billing


@pytest.mark.parametrize("path", [APP, SPACE])
async def test_a_token_is_shown_once(space, path):
    with capture_logs() as logs:
        made = await space.ok("POST", path, {"token": "default_token"})
        assert made["token"] == "default_token"
        assert (made["kind"], made["valid"], made["author"], made["ends"]) == ("own", True, "test", None)
        listed = await space.ok("GET", path)
        events = await space.ok("GET", "/api/v1/events")
    assert [one["kind"] for one in listed["items"]] == ["own", "inherited"]
    assert "default_token" not in json.dumps([listed, events, logs])
    assert space.operations.access_changed_times == 1


async def test_rotation(space):
    first = await space.ok("POST", APP, {"old_valid_s": 0})
    assert len(first["token"]) == 43
    second = await space.ok("POST", APP, {"old_valid_s": "7 days"})
    newest, old = (await space.ok("GET", APP))["items"]
    assert (newest["id"], newest["ends_ms"]) == (second["id"], None)
    assert (old["id"], old["ends_ms"]) == (first["id"], space.clock.ms + 7 * 86_400_000)
    refused = await space.problem(409, "POST", APP)
    assert f"of which {first['id']} is the older" in refused["detail"]
    await space.call("DELETE", f"{APP}/{first['id']}")
    await space.ok("POST", APP)
    assert [one["kind"] for one in (await space.ok("GET", APP))["items"]] == ["own", "own"]


async def test_how_many_executors_have_come_with_each(space):
    await space.ok("POST", APP, {"token": "new"})
    space.operations.executors = [
        Executor(1, f"http://h:{port}/", "rest", "java", 1, 1, mark_of(text))
        for port, text in enumerate(("new", "new", "before", ""), 1)
    ]
    assert [one["executors"] for one in (await space.ok("GET", APP))["items"]] == [2, 2]
    await space.ok("POST", SPACE)
    assert [one["executors"] for one in (await space.ok("GET", SPACE))["items"]] == [None, None]


@pytest.mark.parametrize("text", ["", "with blank", "x" * 256, "zeile\n", "ü", "nul\0"])
async def test_texts_that_no_header_can_carry(space, text):
    field, _, expected = await space.wrong("POST", APP, {"token": text})
    assert field == "token"
    assert "printable ASCII" in expected
    assert (await space.ok("GET", APP))["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/apps/nobody/tokens"), ("GET", "/api/v1/namespaces/nobody/tokens"), ("DELETE", f"{APP}/77"),
     ("DELETE", f"{APP}/99999999999"), ("DELETE", f"{SPACE}/1")],
)  # fmt: skip
async def test_what_is_not_there(space, method, path):
    await space.problem(404, method, path)


async def test_wrong_bodies(space):
    assert (await space.wrong("POST", APP, {"old_valid_s": -1}))[0] == "old_valid_s"
    assert (await space.wrong("POST", APP, {"tokne": "x"}))[0] == "tokne"


async def test_commands(space, run):
    text = (await run("access-tokens", "create", "--app", "billing", "--old-valid", "1h")).strip()
    made = await run("access-tokens", "create", "--namespace", "default", "--text", "old", "--json")
    assert (len(text), made["token"]) == (43, "old")
    found = await run("access-tokens", "list", "--app", "billing", "--json")
    assert [one["kind"] for one in found] == ["own", "inherited"]
    await run("access-tokens", "remove", found[1]["id"], "--app", "billing")
    table = await run("access-tokens", "list", "--app", "billing")
    assert "inherited" not in table
    assert text not in table
    assert "give --app or --namespace" in await run("access-tokens", "list", code=2)
    assert "give --app or" in await run(
        "access-tokens", "list", "--app", "billing", "--namespace", "default", code=2
    )
