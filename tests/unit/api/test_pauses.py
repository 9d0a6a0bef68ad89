"""Pauses over the API and the command line."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from gateway.cli import cli


@pytest.fixture
async def billing(api):
    await api.app()
    return api


async def test_from_pause_to_resume(billing):
    job = await billing.job()
    path = f"/api/v1/jobs/{job['id']}"
    made = await billing.ok("POST", f"{path}/pause", {"reason": "stock-taking", "for_s": "2h"})
    assert (made["scope"], made["job_id"], made["app"], made["reason"]) == (
        "job",
        job["id"],
        None,
        "stock-taking",
    )
    assert made["author"] != "system"
    assert made["until_ms"] - made["created_ms"] == 7_200_000
    app = await billing.ok("POST", "/api/v1/apps/billing/pause", {"reason": "move"})
    everything = await billing.ok("POST", "/api/v1/pause")
    assert (app["app"], everything["scope"], everything["until"]) == ("billing", "all", None)
    found = (await billing.ok("GET", "/api/v1/pauses"))["items"]
    assert sorted(found, key=str) == sorted([made, app, everything], key=str)
    changed = await billing.ok("POST", f"{path}/pause", {"reason": "longer"})
    assert changed["until"] is None
    assert billing.operations.pauses_changed_times == 4
    for where in (path, "/api/v1/apps/billing", "/api/v1"):
        assert (await billing.call("POST", f"{where}/resume"))[0] == 204
        answer = await billing.problem(404, "POST", f"{where}/resume")
        assert "it is not paused itself" in answer["detail"]
    assert (await billing.ok("GET", "/api/v1/pauses"))["items"] == []
    told = [one["reason"] for one in (await billing.ok("GET", "/api/v1/events"))["items"]]
    assert (told.count("paused"), told.count("resumed")) == (4, 3)


async def test_one_that_is_over_is_not_listed(billing):
    await billing.ok("POST", "/api/v1/pause", {"for_s": 5})
    billing.clock.ms += 5001
    assert (await billing.ok("GET", "/api/v1/pauses"))["items"] == []
    await billing.problem(404, "POST", "/api/v1/resume")


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"until": 1}, "until", "an instant in the future"),
        ({"until": "tomorrow"}, "until", "ISO 8601"),
        ({"for_s": 0}, "for_s", "greater than or equal to 1"),
        ({"for_s": 5, "until": 1_900_000_000_000}, "for_s", "left out: `until`"),
        ({"reason": "x" * 1001}, "reason", "at most 1000 characters"),
        ({"reason": "a\0"}, "reason", "without NUL"),
        ({"why": "x"}, "why", "a known field"),
    ],
)
async def test_bad_input_changes_nothing(billing, body, field, expected):
    found, _, text = await billing.wrong("POST", "/api/v1/pause", body)
    assert found == field
    assert expected in text
    assert (await billing.ok("GET", "/api/v1/pauses"))["items"] == []
    assert billing.operations.pauses_changed_times == 0


async def test_who_is_not_there(billing):
    for path in ("/api/v1/jobs/99", "/api/v1/apps/nobody"):
        await billing.problem(404, "POST", f"{path}/pause", {})
        await billing.problem(404, "POST", f"{path}/resume")


async def test_the_commands(billing):
    job = await billing.job()

    async def run(*args: str) -> str:
        env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}
        result = await asyncio.to_thread(CliRunner().invoke, cli, list(args), env=env)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "stock-taking" in await run("jobs", "pause", str(job["id"]), "--reason", "stock-taking")
    await run("apps", "pause", "billing", "--for", "2h")
    await run("pause", "--until", "2030-01-01T00:00:00Z")
    found = json.loads(await run("pauses", "--json"))
    assert {one["scope"] for one in found} == {"all", "app", "job"}
    await run("jobs", "resume", str(job["id"]))
    await run("apps", "resume", "billing")
    await run("resume")
    assert await run("pauses") == "nothing found\n"
