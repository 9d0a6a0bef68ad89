"""Users of the admin web endpoints, in the API and as commands."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.core.users import Role
from tests.unit.api.test_cli import invoke

NEW = {"username": "alice", "password": "let-me-in-77", "role": "normal", "apps": ["billing"]}


async def test_a_user_and_what_is_told_of_it(billing):
    made = await billing.ok("POST", "/api/v1/users", NEW)
    assert made["warnings"] == []
    assert (made["username"], made["role"], made["apps"]) == ("alice", "normal", ["billing"])
    listed = await billing.ok("GET", "/api/v1/users")
    assert [one["username"] for one in listed["items"]] == ["alice"]
    assert "let-me-in" not in json.dumps([made, listed])
    user = await billing.services.users.with_password("alice", "let-me-in-77")
    assert user is not None
    assert user.role is Role.NORMAL
    await billing.problem(409, "POST", "/api/v1/users", NEW)


async def test_changes(billing):
    await billing.app("batch")
    await billing.ok("POST", "/api/v1/users", NEW)
    changed = await billing.ok("PATCH", "/api/v1/users/alice", {"apps": ["batch", "billing"]})
    assert (changed["apps"], changed["role"]) == (["batch", "billing"], "normal")
    assert (await billing.ok("PATCH", "/api/v1/users/alice", {"role": "admin"}))["role"] == "admin"
    await billing.ok("PUT", "/api/v1/users/alice/password", {"password": "another-long-one"})
    assert await billing.services.users.with_password("alice", "let-me-in-77") is None
    await billing.ok("DELETE", "/api/v1/users/alice")
    for method, path in (
        ("DELETE", "/api/v1/users/alice"),
        ("PATCH", "/api/v1/users/alice"),
        ("PUT", "/api/v1/users/alice/password"),
    ):
        await billing.problem(404, method, path, {"password": "another-long-one"} if "pass" in path else {})


async def test_an_old_cookie_is_warned_of(billing):
    made = await billing.ok("POST", "/api/v1/users", {**NEW, "old_cookie": True, "password": "123456"})
    assert made["old_cookie"] is True
    assert ["MD5" in one for one in made["warnings"]] == [True, False]
    again = await billing.ok("PUT", "/api/v1/users/alice/password", {"password": "let-me-in-77"})
    assert (again["old_cookie"], again["warnings"]) == (False, [])


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"password": "abc"}, "password", "***"),
        ({"password": "x" * 129}, "password", "***"),
        ({"username": " alice"}, "username", " alice"),
        ({"username": ""}, "username", ""),
        ({"username": "a\nb"}, "username", "a\nb"),
        ({"apps": ["nothing"]}, "apps[0]", "nothing"),
        ({"role": "root"}, "role", "root"),
        ({"hash": "x"}, "hash", "x"),
    ],
)
async def test_bad_input(billing, change, field, value):
    found = await billing.wrong("POST", "/api/v1/users", {**NEW, **change})
    assert found[:2] == (field, value)
    assert (await billing.ok("GET", "/api/v1/users"))["items"] == []


async def test_commands(billing):
    env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}

    async def run(*args, text=None):
        result = await asyncio.to_thread(invoke, *args, text=text, env=env)
        assert result.exit_code == 0, result.output
        return result

    first = await run(*("users", "add", "admin", "--role", "admin"), text="let-me-in-77\nlet-me-in-77\n")
    assert "let-me-in" not in first.output
    made = await run(
        *("users", "add", "bob", "--app", "billing", "--old-cookie", "--password-stdin"), text="short\n"
    )
    assert made.stderr.count("warning: ") == 2
    listed = (await run("users", "list")).stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [
        ["USERNAME", "ROLE"],
        ["admin", "admin"],
        ["bob", "normal"],
    ]
    await run("users", "update", "bob", "--no-apps")
    assert json.loads((await run("users", "list", "--json")).stdout)[1]["apps"] == []
    await run("users", "passwd", "bob", "--password-stdin", text="another-long-one\n")
    assert await billing.services.users.with_password("bob", "another-long-one") is not None
    await run("users", "remove", "bob")
    assert len(json.loads((await run("users", "list", "--json")).stdout)) == 1
