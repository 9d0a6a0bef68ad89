"""Pauses over the API and the command line."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

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
    assert "close the day  paused" in await run("jobs", "list", "--state", "paused")
    shown = " ".join((await run("jobs", "show", str(job["id"]))).split())
    assert "state paused" in shown
    assert "pause.level app" in shown
    await run("pause", "--until", "2030-01-01T00:00:00Z")
    found = json.loads(await run("pauses", "--json"))
    assert {one["scope"] for one in found} == {"all", "app", "job"}
    await run("jobs", "resume", str(job["id"]))
    await run("apps", "resume", "billing")
    await run("resume")
    assert await run("pauses") == "nothing found\n"


# ------------------------------------------------------------ in the answers for jobs


async def states(billing, **query):
    found = await billing.ok("GET", f"/api/v1/jobs?{urlencode(query)}")
    return {one["id"]: (one["state"], one["pause"] and one["pause"]["level"]) for one in found["items"]}


async def test_a_job_shows_what_pauses_it(billing):
    job = await billing.job()
    path = f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["pause"]) == ("enabled", None)
    made = await billing.ok("POST", f"{path}/pause", {"reason": "stock-taking", "for_s": 60})
    shown = await billing.ok("GET", path)
    assert shown["state"] == "paused"
    assert shown["pause"] == {
        "level": "job",
        **{name: made[name] for name in ("reason", "author", "created", "created_ms", "until", "until_ms")},
    }
    assert (await billing.ok("PATCH", path, {"priority": 6}))["state"] == "paused"
    off = await billing.ok("POST", f"{path}/disable")
    assert (off["state"], off["pause"]["level"]) == ("disabled", "job")
    await billing.ok("POST", f"{path}/enable")
    await billing.ok("POST", "/api/v1/apps/billing/pause")
    assert await states(billing) == {job["id"]: ("paused", "app")}
    await billing.ok("POST", "/api/v1/pause")
    assert await states(billing) == {job["id"]: ("paused", "everything")}
    for where in ("/api/v1/apps/billing", "/api/v1"):
        await billing.call("POST", f"{where}/resume")
    billing.clock.ms += 60_000
    assert await states(billing) == {job["id"]: ("enabled", None)}


async def test_the_list_is_filtered_by_the_word_of_the_answer(billing):
    await billing.app(appname="other")
    never = {"exclusions": [{"from": "00:00", "to": "24:00"}]}
    first, second, off, done = [
        (await billing.job(**how))["id"] for how in ({}, {}, {"enabled": False}, never)
    ]
    elsewhere = (await billing.job(app="other"))["id"]
    for job_id in (first, off, done):
        await billing.ok("POST", f"/api/v1/jobs/{job_id}/pause")
    await billing.ok("POST", "/api/v1/apps/other/pause")
    assert await states(billing, state="paused") == {first: ("paused", "job"), elsewhere: ("paused", "app")}
    assert await states(billing, state="enabled") == {second: ("enabled", None)}
    assert await states(billing, state="disabled") == {off: ("disabled", "job")}
    assert await states(billing, state="done") == {done: ("done", "job")}
    assert await states(billing, state="paused", app="billing") == {first: ("paused", "job")}
    await billing.ok("POST", "/api/v1/pause")
    assert await states(billing, state="enabled") == {}
    assert set(await states(billing, state="paused")) == {first, second, elsewhere}
    field, _, text = await billing.wrong("GET", "/api/v1/jobs?state=stopped")
    assert (field, "'paused'" in text) == ("state", True)
    field, _, text = await billing.wrong("GET", "/api/v1/jobs?state=paused&enabled=false")
    assert (field, "left out" in text) == ("enabled", True)


async def test_a_pause_ends_with_what_it_covers(billing):
    job = await billing.job()
    await billing.ok("POST", f"/api/v1/jobs/{job['id']}/pause")
    await billing.ok("POST", "/api/v1/apps/billing/pause")
    await billing.ok("POST", "/api/v1/pause")
    await billing.call("DELETE", f"/api/v1/jobs/{job['id']}")
    await billing.call("DELETE", "/api/v1/apps/billing")
    assert [one["scope"] for one in (await billing.ok("GET", "/api/v1/pauses"))["items"]] == ["all"]
