"""Runs through the API."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, update

from gateway.core.errors import Conflict, Unreachable
from gateway.core.model import LogPage, TriggerKind
from gateway.core.states import RunState
from gateway.store.tables import run

BASE = 1 << 32


@pytest.fixture
async def runs(billing):
    app_id = (await billing.ok("GET", "/api/v1/apps/billing"))["id"]
    due = billing.clock.ms
    common = {"app_id": app_id, "job_id": 3, "created_ms": due - 500}
    rows = [
        {
            "id": BASE + 1,
            "state": RunState.SUCCEEDED,
            "slot_key": due,
            "due_ms": due,
            "root_id": BASE + 1,
            "claimed_ms": due - 100,
            "sent_ms": due + 3,
            "answered_ms": due + 9,
            "finished_ms": due + 50,
            "result_code": 200,
            "message": "done",
            "address": "http://h:1/",
            "job_version": 2,
        },
        {
            "id": BASE + 2,
            "state": RunState.SKIPPED,
            "slot_key": due + 1000,
            "due_ms": due + 1000,
            "last_slot_ms": due + 9000,
            "slot_count": 9,
            "reason": "misfire",
            "root_id": BASE + 2,
        },
        {
            "id": BASE + 3,
            "state": RunState.QUEUED,
            "open_part": 0,
            "slot_key": -BASE - 3,
            "due_ms": due,
            "trigger_kind": TriggerKind.API,
            "params": "p",
            "root_id": BASE + 3,
        },
        {"id": BASE + 4, "state": RunState.LOST, "slot_key": due + 10_000, "due_ms": due + 10_000},
    ]
    async with billing.db.write() as conn:
        for row in rows:
            await conn.execute(insert(run).values({**common, **row}))
    return billing


async def ids(api, query):
    return [one["id"] - BASE for one in (await api.ok("GET", f"/api/v1/runs{query}"))["items"]]


async def test_what_became_of_a_stop(runs):
    async with runs.db.write() as conn:
        asked = {"state": RunState.STOPPING, "stop_asked_ms": runs.clock.ms - 5000, "shard_name": "eu"}
        await conn.execute(update(run).where(run.c.id == BASE + 3).values(asked))
    found = await runs.ok("GET", f"/api/v1/runs/{BASE + 3}")
    assert found["kill"] == {
        "state": "asked",
        "asked": "2026-11-18T11:06:35.000+00:00",
        "asked_ms": runs.clock.ms - 5000,
    }
    assert found["shard_name"] == "eu"
    runs.clock.ms += 26_000
    (listed,) = (await runs.ok("GET", "/api/v1/runs?state=stopping"))["items"]
    assert listed["kill"]["state"] == "ignored"


async def test_a_run_that_succeeded(runs):
    found = await runs.ok("GET", f"/api/v1/runs/{BASE + 1}")
    due = runs.clock.ms
    assert found == {
        "id": BASE + 1,
        "job_id": 3,
        "app": "billing",
        "state": "succeeded",
        "status": "Succeeded",
        "attempt": 1,
        "shard": 0,
        "shard_total": 1,
        "root_id": BASE + 1,
        "trigger": "schedule",
        "priority": 5,
        "task_id": None,
        "slot": "2026-11-18T11:06:40.000+00:00",
        "slot_ms": due,
        "due": "2026-11-18T11:06:40.000+00:00",
        "due_ms": due,
        "created": "2026-11-18T11:06:39.500+00:00",
        "created_ms": due - 500,
        "expires": None,
        "expires_ms": None,
        "claimed": "2026-11-18T11:06:39.900+00:00",
        "claimed_ms": due - 100,
        "sent": "2026-11-18T11:06:40.003+00:00",
        "sent_ms": due + 3,
        "answered": "2026-11-18T11:06:40.009+00:00",
        "answered_ms": due + 9,
        "finished": "2026-11-18T11:06:40.050+00:00",
        "finished_ms": due + 50,
        "lateness_ms": 3,
        "result_code": 200,
        "message": "done",
        "reason": None,
        "address": "http://h:1/",
        "addresses": None,
        "params": None,
        "job_version": 2,
        "slots": None,
        "kill": None,
        "data_time": None,
        "data_time_ms": None,
        "rerun_id": None,
        "shards": None,
        "parent_id": None,
        "shard_name": None,
    }


async def test_skipped_slots_that_share_a_row(runs):
    found = await runs.ok("GET", f"/api/v1/runs/{BASE + 2}")
    assert found["status"] == "Expired"
    assert (found["slots"]["count"], found["slots"]["last_ms"]) == (9, runs.clock.ms + 9000)
    assert found["slots"]["first_ms"] == found["slot_ms"]


async def test_a_triggered_run_has_no_slot(runs):
    found = await runs.ok("GET", f"/api/v1/runs/{BASE + 3}")
    assert (found["slot"], found["slot_ms"], found["trigger"], found["params"]) == (None, None, "api", "p")
    assert (found["sent"], found["sent_ms"], found["lateness_ms"], found["result_code"]) == (None,) * 4


async def test_runs_filtered(runs):
    due = runs.clock.ms
    for query, expected in (
        ("", [4, 3, 2, 1]),
        ("?job_id=3&limit=500", [4, 3, 2, 1]),
        ("?job_id=4", []),
        ("?app=billing", [4, 3, 2, 1]),
        ("?state=succeeded", [1]),
        ("?state=succeeded,skipped", [2, 1]),
        ("?state=Failed", [4]),
        ("?state=failed", []),
        ("?state=queued,running", [3]),
        ("?state=Enqueued,Succeeded", [3, 1]),
        (f"?from={due + 1}&to={due + 10_000}", [2]),
        ("?from=2026-11-18T11:06:41%2B00:00", [4, 2]),
        ("?from=2026-11-18T19:06:41+08:00", [4, 2]),
        (f"?root_id={BASE + 2}", [2]),
    ):
        assert await ids(runs, query) == expected, query


async def test_runs_in_pages(runs):
    first = await runs.ok("GET", "/api/v1/runs?limit=3")
    assert await ids(runs, f"?limit=3&cursor={first['next_cursor']}") == [1]


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("limit=0", "limit", "greater than or equal to 1"),
        ("limit=501", "limit", "less than or equal to 500"),
        ("limit=x", "limit", "integer"),
        ("cursor=zzz", "cursor", "next_cursor"),
        ("state=sleeping", "state", "planned, queued"),
        ("from=yesterday", "from", "ISO 8601"),
        ("to=2026-01-01", "to", "ISO 8601"),
        ("job_id=0", "job_id", "greater than or equal to 1"),
        (f"root_id={1 << 63}", "root_id", "less than or equal to"),
        (f"parent_id={1 << 63}", "parent_id", "less than or equal to"),
        ("job=3", "job", "did you mean 'job_id'?"),
        ("limit=5&limit=6", "limit", "once"),
    ],
)
async def test_queries_that_are_refused(api, query, field, expected):
    found, _, text = await api.wrong("GET", f"/api/v1/runs?{query}")
    assert found == field
    assert expected in text


async def test_an_unknown_run(api):
    api.operations.fails = None
    for path in ("", "/log"):
        for run_id in (5, 999_999_999_999_999_999):
            assert str(run_id) in (await api.problem(404, "GET", f"/api/v1/runs/{run_id}{path}"))["detail"]
    assert (await api.wrong("GET", "/api/v1/runs/-1"))[0] == "run_id"


async def test_the_log_of_a_run(api):
    api.operations.logs[5] = LogPage(1, 3, "a\nb\nc\n", is_end=True)
    assert await api.ok("GET", "/api/v1/runs/5/log?from_line=1") == {
        "run_id": 5,
        "from_line": 1,
        "to_line": 3,
        "content": "a\nb\nc\n",
        "is_end": True,
    }
    assert (await api.wrong("GET", "/api/v1/runs/5/log?from_line=0"))[0] == "from_line"


async def test_a_stop_tells_what_goes_with_it(api):
    assert await api.ok("POST", "/api/v1/runs/5/stop", {}) == {
        "run_id": 5,
        "state": "stopping",
        "status": "Stopping",
        "also_stopped": [6],
    }
    api.operations.fails = Conflict("run 5 is over")
    assert (await api.problem(409, "POST", "/api/v1/runs/5/stop"))["detail"] == "run 5 is over"
    api.operations.fails = Unreachable("http://h:1/", "connection refused")
    assert "http://h:1/" in (await api.problem(502, "POST", "/api/v1/runs/5/stop"))["detail"]
