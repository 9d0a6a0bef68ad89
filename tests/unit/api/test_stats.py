"""Counts of days, and removing runs by hand, through the API and the commands."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import insert

from gateway.store.tables import run, run_daily
from tests.unit.api.test_cli import invoke


async def add(api, *rows):
    async with api.db.write() as conn:
        for row in rows:
            now = api.clock.ms
            values = {
                "job_id": 1,
                "app_id": 1,
                "slot_key": -row["id"],
                "root_id": row["id"],
                "due_ms": now - 20,
            }
            values |= {"created_ms": now - 20, "open_part": 55 if row["state"] < 10 else None}
            values["finished_ms"] = now if row["state"] >= 10 else 0
            await conn.execute(insert(run).values(values | row))


@pytest.fixture
async def job(billing):
    return await billing.job()


async def test_each_day_has_an_entry(billing, job):
    sent = {"sent_ms": billing.clock.ms - 10}
    await add(billing, {"id": 1, "state": 10, **sent}, {"id": 2, "state": 11}, {"id": 3, "state": 4})
    answer = await billing.ok("GET", f"/api/v1/stats/daily?job_id={job['id']}")
    assert [one["day"] for one in answer["days"]] == [f"2026-{m}" for m in days_before("2026-11-18")]
    today = answer["days"][-1]
    assert (today["runs"], today["succeeded"], today["failed"], today["sent"], today["late"]) == (
        2,
        1,
        1,
        1,
        0,
    )
    assert (today["lateness_avg_ms"], today["duration_avg_ms"]) == (10.0, 10.0)
    assert today["counted_ms"] == billing.clock.ms
    assert {one["runs"] for one in answer["days"][:-1]} == {0}
    assert answer["days"][0]["lateness_avg_ms"] is answer["days"][0]["counted"] is None


async def test_a_job_of_which_nothing_is_known(billing, job):
    await billing.problem(404, "GET", "/api/v1/stats/daily?job_id=9999")
    days = (await billing.ok("GET", f"/api/v1/stats/daily?job_id={job['id']}&to=2026-11-01"))["days"]
    assert not any(day["runs"] for day in days)
    async with billing.db.write() as conn:
        await conn.execute(insert(run_daily).values(day=20_000, job_id=77, kind=1, succeeded=1))
    assert (await billing.ok("GET", "/api/v1/stats/daily?job_id=77"))[
        "days"
    ]  # deleted, and its counts are kept


def days_before(last):
    from datetime import date, timedelta

    return [(date.fromisoformat(last) - timedelta(days=n)).isoformat()[5:] for n in reversed(range(30))]


async def test_bad_input(billing):
    for query, field, expected in (
        ("from=yesterday", "from", "a day such as"),
        ("from=2026-02-30", "from", "a day such as"),
        ("from=2026-11-02&to=2026-11-01", "from", "not after 2026-11-01"),
        ("from=2020-11-02", "from", "at most 400 days"),
        ("job_id=0", "job_id", "greater than or equal to 1"),
        ("job=1", "job", "a known field"),
    ):
        found, _, text = await billing.wrong("GET", f"/api/v1/stats/daily?{query}")
        assert found == field
        assert expected in text
    await billing.problem(404, "GET", "/api/v1/stats/daily?app=nobody")


async def test_runs_are_removed_by_hand(billing, job):
    await add(
        billing,
        *({"id": n, "state": 11} for n in range(1, 8)),
        {"id": 8, "state": 10},
        {"id": 9, "state": 4},
        {"id": 10, "state": 15, "slot_key": 5},
        {"id": 11, "state": 2, "slot_key": 5, "attempt": 2},
    )
    assert (await billing.call("DELETE", "/api/v1/runs/8"))[0] == 204
    await billing.problem(404, "DELETE", "/api/v1/runs/8")
    assert "running" in (await billing.problem(409, "DELETE", "/api/v1/runs/9"))["detail"]
    await billing.problem(409, "DELETE", "/api/v1/runs/10")
    body = {"job_id": job["id"], "state": "Failed", "limit": 5}
    answer = await billing.ok("POST", "/api/v1/runs/remove", body)
    assert answer["removed"] == 5
    rest = await billing.ok("POST", f"/api/v1/runs/remove?cursor={answer['next_cursor']}", body)
    assert (rest["removed"], rest["next_cursor"]) == (2, None)
    left = (await billing.ok("GET", "/api/v1/runs"))["items"]
    assert [one["id"] for one in left] == [11, 10, 9]
    today = (await billing.ok("GET", f"/api/v1/stats/daily?job_id={job['id']}"))["days"][-1]
    assert (today["failed"], today["succeeded"], today["retrying"]) == (7, 1, 1)


async def test_bad_input_removes_nothing(billing, job):
    await add(billing, {"id": 1, "state": 11})
    for body, field, expected in (
        ({}, "job_id", "at least one of job_id, app and to"),
        ({"state": "failed"}, "job_id", "at least one of"),
        ({"job_id": 1, "state": "running"}, "state", "final states only"),
        ({"job_id": 1, "state": "gone"}, "state", "one of planned"),
        ({"job_id": 1, "limit": 9000}, "limit", "less than or equal to 5000"),
        ({"job_id": 1, "to": "now"}, "to", "ISO 8601"),
        ({"job_id": 1, "force": True}, "force", "a known field"),
    ):
        found, _, text = await billing.wrong("POST", "/api/v1/runs/remove", body)
        assert found == field
        assert expected in text
    assert len((await billing.ok("GET", "/api/v1/runs"))["items"]) == 1


async def test_runs_are_found_by_what_caused_them(billing, job):
    await add(
        billing,
        {"id": 1, "state": 10, "trigger_kind": 1},
        {"id": 2, "state": 10, "trigger_kind": 6, "parent_id": 1},
        {"id": 3, "state": 10, "trigger_kind": 3, "author": "alice"},
    )
    for query, ids in (
        ("trigger=child", [2]),
        ("parent_id=1", [2]),
        ("author=alice", [3]),
        ("trigger=schedule", [1]),
    ):
        assert [one["id"] for one in (await billing.ok("GET", f"/api/v1/runs?{query}"))["items"]] == ids
    assert "schedule, manual" in (await billing.wrong("GET", "/api/v1/runs?trigger=hand"))[2]


async def test_commands(billing, job):
    async def run_command(*args):
        env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}
        result = await asyncio.to_thread(invoke, *args, env=env)
        assert result.exit_code == 0, result.output
        return result.stdout

    await add(billing, *({"id": n, "state": 11} for n in range(1, 5)))
    await run_command("runs", "remove", 1)
    assert await run_command("runs", "remove-all", "--job", job["id"], "--state", "Failed") == "3 removed\n"
    lines = (await run_command("stats", "daily", "--job", job["id"], "--from", "2026-11-17")).splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["DAY", "RUNS", "SUCCEEDED", "FAILED"],
        ["2026-11-17", "0", "0", "0"],
        ["2026-11-18", "4", "0", "4"],
    ]
    assert len(json.loads(await run_command("stats", "daily", "--app", "billing", "--json"))) == 30
    assert await run_command("runs", "list", "--trigger", "api") == "nothing found\n"
