"""Proof through the API and the command."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import insert, update

from gateway.store.tables import job_next_fire, run
from tests.unit.api.test_cli import invoke

EVERY_MINUTE = {"kind": "fixed_rate", "expression": "1m"}


@pytest.fixture
async def ran(billing):
    """A job every minute for ten minutes, of whose slots the fourth has no row, and another that never ran."""
    made = await billing.job(schedule=EVERY_MINUTE)
    await billing.job(schedule={"kind": "api"}, name="other")
    begun = billing.clock.ms
    async with billing.db.write() as conn:
        for n in (1, 2, 3, 5, 6, 7, 8, 9, 10):
            at = begun + n * 60_000
            values = {"id": n, "job_id": made["id"], "app_id": 1, "slot_key": at, "root_id": n, "state": 10}
            values |= {"due_ms": at, "created_ms": at, "sent_ms": at + 1500 * (n == 2), "finished_ms": at + 9}
            await conn.execute(insert(run).values(values))
        await conn.execute(update(job_next_fire).values(next_fire_at=begun + 11 * 60_000))
    billing.clock.ms += 10 * 60_000 + 1
    return billing


async def test_per_job_and_in_total(ran):
    answer = await ran.ok("GET", "/api/v1/proof")
    one, other = answer["items"]
    assert (one["expected"], one["fired"], one["late"], one["lateness_max_ms"]) == (10, 9, 1, 1500)
    assert (one["missing"]["count"], len(one["missing"]["first"]), one["right"]) == (1, 1, False)
    assert (other["expected"], other["right"], other["name"]) == (0, True, "other")
    assert (answer["total"]["jobs"], answer["total"]["wrong"], answer["total"]["missing"]) == (2, 1, 1)
    assert answer["to_ms"] == ran.clock.ms
    assert answer["from_ms"] == ran.clock.ms - 86_400_000
    only = await ran.ok("GET", "/api/v1/proof?wrong=true&app=billing")
    assert [item["job_id"] for item in only["items"]] == [one["job_id"]]
    assert only["total"]["jobs"] == 2


async def test_a_run_before_its_slot_is_wrong(ran):
    async with ran.db.write() as conn:
        await conn.execute(update(run).where(run.c.id == 3).values(sent_ms=run.c.slot_key - 1))
    answer = await ran.ok("GET", "/api/v1/proof?job_id=1")
    assert (answer["items"][0]["early"], answer["total"]["early"], answer["total"]["wrong"]) == (1, 1, 1)


async def test_page_by_page(ran):
    first = await ran.ok("GET", "/api/v1/proof?limit=1")
    second = await ran.ok("GET", f"/api/v1/proof?limit=1&cursor={first['next_cursor']}")
    assert [one["items"][0]["name"] for one in (first, second)] == ["close the day", "other"]
    rest = await ran.ok("GET", f"/api/v1/proof?limit=1&cursor={second['next_cursor']}")
    assert (rest["items"], rest["next_cursor"]) == ([], None)


async def test_a_job_with_too_many_slots_does_not_hide_the_others(ran, monkeypatch):
    monkeypatch.setattr("gateway.core.evidence.MOST_SLOTS", 5)
    answer = await ran.ok("GET", "/api/v1/proof")
    assert next(iter(answer["items"][0]["unproven"])).startswith("more than")
    rest = await ran.ok("GET", f"/api/v1/proof?cursor={answer['next_cursor']}")
    assert [one["name"] for one in rest["items"]] == ["other"]
    job_id = answer["items"][0]["job_id"]
    assert (await ran.wrong("GET", f"/api/v1/proof?job_id={job_id}"))[0] == "to"


async def test_bad_input(ran):
    for query, field, expected in (
        ("from=2026-11-21T00:00:00Z&to=2026-11-01T00:00:00Z", "from", "an instant before"),
        ("from=2020-01-01T00:00:00Z", "from", "at most 31 days"),
        ("from=then", "from", "ISO 8601"),
        ("limit=500", "limit", "less than or equal to 200"),
        ("cursor=x1", "cursor", "next_cursor"),
        ("cursor=pzz", "cursor", "next_cursor"),
        ("job=1", "job", "a known field"),
    ):
        found, _, text = await ran.wrong("GET", f"/api/v1/proof?{query}")
        assert found == field
        assert expected in text
    await ran.problem(404, "GET", "/api/v1/proof?job_id=99")
    await ran.problem(404, "GET", "/api/v1/proof?app=nobody")


async def test_command(ran):
    async def call(*args):
        env = {"XXLJOB_GATEWAY_URL": ran.url, "XXLJOB_GATEWAY_TOKEN": ran.token}
        return await asyncio.to_thread(invoke, *args, env=env)

    result = await call("proof")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:5] == ["JOB", "ID", "NAME", "RIGHT", "EXPECTED"]
    assert lines[-1].split()[:5] == ["total", "-", "no", "10", "9"]
    assert (len(lines), result.exit_code) == (4, 1)
    as_json = await call("proof", "--wrong", "--json")
    assert [one["missing"]["count"] for one in json.loads(as_json.stdout)["items"]] == [1]
    assert (await call("proof", "--job", 2)).exit_code == 0
