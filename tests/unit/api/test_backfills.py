"""Backfills over the API and the command line."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from gateway.cli import cli

DAY = {"from": "2026-11-10T00:00:00Z", "to": "2026-11-11T00:00:00Z"}
HOURLY = {"kind": "cron", "expression": "0 0 * * * ?", "timezone": "UTC"}


@pytest.fixture
async def hourly(api):
    """The address of the backfills of a job that is due every hour."""
    await api.app()
    job = await api.job(schedule=HOURLY)
    return f"/api/v1/jobs/{job['id']}/backfills"


async def test_from_a_dry_run_to_its_end(api, hourly):
    plan = await api.ok("POST", hourly, DAY | {"dry_run": True})
    assert (plan["total"], plan["first"], plan["last"]) == (
        24,
        "2026-11-10T00:00:00.000+00:00",
        "2026-11-10T23:00:00.000+00:00",
    )
    assert (await api.ok("GET", hourly))["items"] == []
    body = DAY | {
        "overlap": "parallel",
        "per_minute": 30,
        "order": "newest_first",
        "params": "${data_time}",
        "reason": "x",
    }
    status, made = await api.call("POST", hourly, body)
    assert status == 201
    assert (made["state"], made["total"], made["started"], made["max_parallel"], made["runs"]) == (
        "running",
        24,
        0,
        10,
        {},
    )
    assert made["from"] == "2026-11-10T00:00:00.000+00:00"
    assert api.operations.backfills_changed_times == 1
    assert await api.ok("GET", f"/api/v1/backfills/{made['id']}") == made
    assert (await api.ok("GET", hourly))["items"] == [made | {"runs": None}]
    over = await api.ok("POST", f"/api/v1/backfills/{made['id']}/cancel")
    assert (over["state"], bool(over["finished"])) == ("cancelled", True)
    answer = await api.problem(409, "POST", f"/api/v1/backfills/{made['id']}/cancel")
    assert "is cancelled" in answer["detail"]
    single = await api.ok("POST", hourly, DAY)
    assert (single["overlap"], single["max_parallel"], single["per_minute"]) == ("one_after_another", 1, None)


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"from": None}, "from", "ISO 8601"),
        ({"to": "2026-11-10T00:00:00Z"}, "to", "an instant after `from`"),
        ({"to": "2027-01-01T00:00:00Z"}, "to", "not in the future: it is 2026-11-18"),
        ({"from": "2016-01-01T00:00:00Z"}, "to", "at most 10000 slots: this one has them up to 2017-02-20"),
        ({"from": "2026-11-10T00:01:00Z", "to": "2026-11-10T00:59:00Z"}, "from", "a range in which"),
        ({"max_parallel": 3}, "max_parallel", "only the overlap 'parallel' has it"),
        ({"overlap": "parallel", "max_parallel": 0}, "max_parallel", "greater than or equal to 1"),
        ({"overlap": "skip"}, "overlap", "'one_after_another' or 'parallel'"),
        ({"per_minute": 0}, "per_minute", "greater than or equal to 1"),
        ({"order": "any"}, "order", "'oldest_first' or 'newest_first'"),
        ({"params": "\0"}, "params", "without NUL"),
        ({"pace": 1}, "pace", "a known field"),
    ],
)
async def test_bad_input_changes_nothing(api, hourly, change, field, expected):
    found, _, text = await api.wrong("POST", hourly, DAY | change)
    assert found == field
    assert expected in text
    assert (await api.ok("GET", hourly))["items"] == []


async def test_what_has_no_slots_and_what_is_not_there(api, hourly):
    job = await api.job(schedule={"kind": "second_delay", "expression": 5})
    answer = await api.problem(409, "POST", f"/api/v1/jobs/{job['id']}/backfills", DAY)
    assert "no slots of its own" in answer["detail"]
    await api.problem(404, "POST", "/api/v1/jobs/99/backfills", DAY)
    await api.problem(404, "GET", "/api/v1/jobs/99/backfills")
    for number in (99, 1 << 40):
        await api.problem(404, "GET", f"/api/v1/backfills/{number}")
        await api.problem(404, "POST", f"/api/v1/backfills/{number}/cancel")


async def test_the_commands(api, hourly):
    job_id = hourly.split("/")[4]

    async def run(*args: str) -> str:
        env = {"XXLJOB_GATEWAY_URL": api.url, "XXLJOB_GATEWAY_TOKEN": api.token}
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["backfills", *args], env=env)
        assert result.exit_code == 0, result.output
        return result.stdout

    when = ("--from", DAY["from"], "--to", DAY["to"])
    assert "24" in await run("create", job_id, *when, "--dry-run")
    made = json.loads(await run("create", job_id, *when, "--parallel", "4", "--newest-first", "--json"))
    assert (made["max_parallel"], made["order"]) == (4, "newest_first")
    assert "running" in await run("list", job_id)
    assert "cancelled" in await run("cancel", str(made["id"]))
    assert "cancelled" in await run("show", str(made["id"]))
