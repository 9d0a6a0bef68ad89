"""Many jobs at once: each gets its result, and nothing of bad input is done."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from tests.unit.api.conftest import a_job

BULK = "/api/v1/jobs/bulk"


@pytest.fixture
async def many(api):
    """45 jobs of billing (every third disabled) and one of another app."""
    await api.app()
    await api.app("other")
    drafts = [a_job(name=f"job {n}", enabled=bool(n % 3)) for n in range(45)]
    await api.ok("POST", "/api/v1/jobs/batch", {"jobs": [*drafts, a_job(app="other", name="else")]})
    api.operations.changed_jobs.clear()
    return api


async def jobs_of(api):
    return {one["id"]: one for one in (await api.ok("GET", "/api/v1/jobs?limit=500"))["items"]}


async def test_enable_and_disable_by_filter(many):
    answer = await many.ok("POST", BULK, {"filter": {"app": "billing"}, "action": "disable"})
    assert (answer["changed"], answer["unchanged"], answer["failed"]) == (30, 15, 0)
    assert len(answer["items"]) == 45
    now = await jobs_of(many)
    assert [one["enabled"] for one in now.values()] == [False] * 45 + [True]
    changed = [item["id"] for item in answer["items"] if item["result"] == "changed"]
    assert many.operations.changed_jobs == changed
    assert {now[job_id]["version"] for job_id in changed} == {2}
    again = await many.ok("POST", BULK, {"filter": {"enabled": False}, "action": "enable"})
    assert again["changed"] == 45


async def test_one_that_fails_does_not_keep_the_others(many):
    first, second = list(await jobs_of(many))[:2]
    answer = await many.ok("POST", BULK, {"ids": [999, second, first, first], "action": "delete"})
    assert [(item["id"], item["result"]) for item in answer["items"]] == [
        (first, "changed"),
        (second, "changed"),
        (999, "failed"),
    ]
    assert answer["items"][2]["error"] == "job 999 does not exist"
    assert not {first, second} & set(await jobs_of(many))


async def test_change_is_a_merge_patch_of_each(many):
    body = {
        "filter": {"name": "job 1"},
        "action": "change",
        "change": {"priority": 9, "retry": {"max_attempts": 2}},
    }
    planned = await many.ok("POST", BULK, body | {"dry_run": True})
    assert (planned["dry_run"], planned["changed"]) == (True, 11)
    assert {one["priority"] for one in (await jobs_of(many)).values()} == {5}
    assert many.operations.changed_jobs == []
    done = await many.ok("POST", BULK, body)
    assert done["items"] == planned["items"]
    changed = {item["id"] for item in done["items"]}
    for job_id, one in (await jobs_of(many)).items():
        expected = (9, 2) if job_id in changed else (5, 1)
        assert (one["priority"], one["retry"]["max_attempts"]) == expected
    assert (await many.ok("POST", BULK, body))["unchanged"] == 11


async def test_what_a_job_may_not_become_is_its_own_failure(many):
    await many.job(app="other", name="shell", task={"glue_type": "GLUE_SHELL", "glue_source": "x"})
    body = {"filter": {"app": "other"}, "action": "change", "change": {"task": {"glue_type": "GLUE_SHELL"}}}
    answer = await many.ok("POST", BULK, body)
    assert [item["result"] for item in answer["items"]] == ["failed", "unchanged"]
    assert "glue_source" in answer["items"][0]["error"]


async def test_a_dry_run_changes_nothing(many):
    before = await jobs_of(many)
    for action, changed in (("enable", 15), ("disable", 30), ("delete", 45)):
        answer = await many.ok(
            "POST", BULK, {"filter": {"app": "billing"}, "action": action, "dry_run": True}
        )
        assert answer["changed"] == changed
    assert await jobs_of(many) == before


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"action": "enable"}, "ids", "either ids or a filter"),
        ({"action": "enable", "ids": [1], "filter": {"app": "billing"}}, "ids", "either ids or a filter"),
        ({"action": "enable", "filter": {}}, "filter", "at least one of app, name, enabled"),
        ({"action": "enable", "filter": {"app": "nobody"}}, "filter.app", "an app that exists"),
        ({"action": "pause", "ids": [1]}, "action", "'enable', 'disable', 'delete' or 'change'"),
        ({"action": "change", "ids": [1]}, "change", "the fields to change"),
        ({"action": "enable", "ids": [1], "change": {"priority": 1}}, "change", "only the action 'change'"),
        ({"action": "change", "ids": [1], "change": {"app": "x"}}, "change.app", "it cannot be changed"),
        ({"action": "enable", "ids": [1], "keep_history": True}, "keep_history", "only the action 'delete'"),
        ({"action": "enable", "ids": []}, "ids", "at least 1 item"),
        ({"action": "enable", "ids": [0]}, "ids[0]", "greater than or equal to 1"),
        ({"action": "enable", "ids": [1] * 10_001}, "ids", "at most 10000 items"),
    ],
)
async def test_bad_input_changes_nothing(many, body, field, expected):
    before = await jobs_of(many)
    found, _, text = await many.wrong("POST", BULK, body)
    assert found == field
    assert expected in text
    assert await jobs_of(many) == before


async def test_the_command(many):
    async def run(*args: str, code: int = 0, text: str | None = None) -> str:
        env = {"XXLJOB_GATEWAY_URL": many.url, "XXLJOB_GATEWAY_TOKEN": many.token}
        result = await asyncio.to_thread(
            CliRunner().invoke, cli, ["jobs", "bulk", *args], input=text, env=env
        )
        assert result.exit_code == code, result.output
        return result.stdout if code != 2 else result.stderr

    assert (
        await run("disable", "--app", "billing", "--dry-run")
        == "30 would be changed, 15 unchanged, 0 failed\n"
    )
    answer = json.loads(
        await run("change", "--app", "other", "--change", "-", "--json", text='{"priority": 8}')
    )
    assert (answer["changed"], answer["failed"]) == (1, 0)
    assert "job 999 does not exist" in await run("delete", "999", code=1)
    assert "either ids" in await run("enable", code=2)
