"""Versions of a job through the API and the commands."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from tests.unit.api.conftest import a_job
from tests.unit.api.test_cli import invoke


@pytest.fixture
async def job(billing):
    return await billing.job()


def definition(job):
    """What a version keeps, out of an answer."""
    left_out = ("id", "version", "created", "updated", "next_fire")
    return {name: value for name, value in job.items() if not name.startswith(left_out)}


async def test_each_change_has_its_author_and_what_it_changed(billing, job):
    path = f"/api/v1/jobs/{job['id']}"
    alice = (await billing.ok("POST", "/api/v1/tokens", {"name": "alice"}))["token"]
    billing.clock.ms += 60_000
    status, _ = await billing.call("PATCH", path, {"task": {"params": "y"}, "priority": 9}, token=alice)
    assert status == 200
    await billing.ok("POST", f"{path}/disable")
    items = (await billing.ok("GET", f"{path}/versions"))["items"]
    assert [(one["version"], one["author"], one["changed"]) for one in items] == [
        (3, "test", ["enabled"]),
        (2, "alice", ["task.params", "priority"]),
        (1, "test", []),
    ]
    assert items[1]["created_ms"] == items[2]["created_ms"] + 60_000
    found = await billing.ok("GET", f"{path}/versions/2/diff/1")
    assert found["changes"] == [
        {"field": "task.params", "old": "y", "new": "x=1"},
        {"field": "priority", "old": 9, "new": 5},
    ]


async def test_versions_in_pages(billing, job):
    path = f"/api/v1/jobs/{job['id']}"
    for n in range(4):
        await billing.ok("PATCH", path, {"name": f"n{n}"})
    seen, cursor = [], ""
    while cursor is not None:
        page = await billing.ok("GET", f"{path}/versions?limit=2{cursor and f'&cursor={cursor}'}")
        seen += [(one["version"], one["changed"]) for one in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [(5, ["name"]), (4, ["name"]), (3, ["name"]), (2, ["name"]), (1, [])]


async def test_a_definition_makes_a_copy(billing, job):
    found = await billing.ok("GET", f"/api/v1/jobs/{job['id']}/versions/1")
    assert (found["job_id"], found["version"], found["author"]) == (job["id"], 1, "test")
    copy = await billing.ok("POST", "/api/v1/jobs", found["definition"])
    assert definition(copy) == definition(job)


async def test_going_back_to_any_version_gives_its_definition(billing, job):
    """Random lives of a job: what it answered at each version is what going back to it gives."""
    path = f"/api/v1/jobs/{job['id']}"
    chance = random.Random(5)
    kept = {1: definition(job)}
    for _ in range(12):
        change = chance.choice(
            [
                {"name": f"n{chance.random()}"},
                {"schedule": {"kind": "fixed_rate", "expression": chance.randint(1, 99)}},
                {"task": {"params": f"{chance.random()}"}, "retry": {"max_attempts": chance.randint(1, 5)}},
                {"route": chance.choice(["FIRST", "LAST"]), "timeout_s": chance.randint(0, 9)},
                {"enabled": chance.random() < 0.5},
            ]
        )
        if chance.random() < 0.4:
            number = chance.choice(sorted(kept))
            changed = await billing.ok("POST", f"{path}/rollback", {"version": number})
            assert definition(changed) == kept[number]
        else:
            changed = await billing.ok("PATCH", path, change)
        kept[changed["version"]] = definition(changed)
        assert definition(await billing.ok("GET", path)) == kept[changed["version"]]
        assert billing.operations.changed_jobs[-1] == job["id"]
    assert len(kept) > 6


async def test_going_back_without_letting_it_run(billing, job):
    path = f"/api/v1/jobs/{job['id']}"
    await billing.ok("PATCH", path, {"name": "n", "enabled": False})
    back = await billing.ok("POST", f"{path}/rollback", {"version": 1, "enabled": False})
    assert (back["name"], back["enabled"], back["next_fire"], back["version"]) == (
        job["name"],
        False,
        None,
        3,
    )


async def test_going_back_to_where_it_is_changes_nothing(billing, job):
    path = f"/api/v1/jobs/{job['id']}"
    assert (await billing.ok("POST", f"{path}/rollback", {"version": 1}))["version"] == 1


async def test_a_version_that_cannot_be_in_force(billing):
    """Its only fires are over."""
    job = await billing.job(schedule={"kind": "cron", "expression": "0 0 3 1 1 ? 2027"})
    path = f"/api/v1/jobs/{job['id']}"
    await billing.ok("PATCH", path, {"schedule": {"kind": "api", "expression": None, "timezone": None}})
    billing.clock.ms += 400 * 86_400_000
    field, value, expected = await billing.wrong("POST", f"{path}/rollback", {"version": 1})
    assert (field, value) == ("version", 1)
    assert "fires again" in expected
    assert (await billing.ok("GET", path))["version"] == 2


async def test_bad_input_changes_nothing(billing, job):
    path = f"/api/v1/jobs/{job['id']}"
    for body, field, expected in (
        ({"version": 2}, "version", "a version of job"),
        ({"version": 0}, "version", "greater than or equal to 1"),
        ({"version": "1"}, "version", "integer"),
        ({}, "version", "required"),
        ({"version": 1 << 63}, "version", "less than or equal to"),
        ({"version": 1, "enabled": "no"}, "enabled", "boolean"),
        ({"version": 1, "to": 1}, "to", "a known field"),
    ):
        found, _, text = await billing.wrong("POST", f"{path}/rollback", body)
        assert found == field
        assert expected in text
    for address in ("/versions/7", "/versions/99999999999", "/versions/1/diff/7", "/versions/7/diff/1"):
        await billing.problem(404, "GET", path + address)
    assert (await billing.wrong("GET", f"{path}/versions/one"))[0] == "version"
    assert (await billing.wrong("GET", f"{path}/versions?cursor=r1"))[0] == "cursor"
    for method, address in (("GET", "/versions"), ("GET", "/versions/1"), ("POST", "/rollback")):
        await billing.problem(404, method, f"/api/v1/jobs/404{address}", {"version": 1})
    assert await billing.ok("GET", path) == job


async def test_commands(billing, job):
    async def run(*args, code=0):
        env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}
        result = await asyncio.to_thread(invoke, *args, env=env)
        assert result.exit_code == code, result.output
        return result.stdout

    await billing.ok("PATCH", f"/api/v1/jobs/{job['id']}", {"name": "n", "priority": 8})
    lines = (await run("jobs", "versions", job["id"])).splitlines()
    assert lines[0].split() == ["VERSION", "CREATED", "AUTHOR", "ENABLED", "CHANGED"]
    assert lines[1].endswith("test    yes      name, priority")
    assert "definition.priority" in await run("jobs", "version", job["id"], 1)
    assert "priority  5" in await run("jobs", "diff", job["id"], 1, 2)
    back = json.loads(await run("jobs", "rollback", job["id"], 1, "--disabled", "--json"))
    assert (back["name"], back["enabled"], back["version"]) == (a_job()["name"], False, 3)
    await run("jobs", "rollback", job["id"], 9, code=2)
