"""Runs that are run again, marks and failures through the API."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from gateway.core.listing import RunFilter
from gateway.core.reruns import Rerun
from gateway.core.retry import FAILURES
from gateway.core.states import RunState
from gateway.store.runs import RunStore
from gateway.store.tables import run

BASE = 1 << 32


@pytest.fixture
async def failures(billing):
    app_id = (await billing.ok("GET", "/api/v1/apps/billing"))["id"]
    due = billing.clock.ms
    states = [RunState.FAILED, RunState.LOST, RunState.SUCCEEDED, RunState.RETRYING, RunState.TIMED_OUT]
    async with billing.db.write() as conn:
        for n, state in enumerate(states, 1):
            row = {
                "id": BASE + n,
                "root_id": BASE + n,
                "state": state,
                "slot_key": -BASE - n,
                "due_ms": due + n,
            }
            await conn.execute(insert(run).values(app_id=app_id, job_id=3 + n % 2, created_ms=due, **row))
        parent = {
            "id": BASE + 6,
            "root_id": BASE + 6,
            "state": RunState.FAILED,
            "shard": -1,
            "shard_total": 2,
        }
        await conn.execute(
            insert(run).values(app_id=app_id, job_id=9, slot_key=1, due_ms=due, created_ms=due, **parent)
        )
        for n in (7, 8):
            shard = {"id": BASE + n, "root_id": BASE + 6, "shard": n - 7, "shard_total": 2}
            await conn.execute(
                insert(run).values(
                    app_id=app_id, job_id=9, slot_key=1, due_ms=due, state=RunState.FAILED, **shard
                )
            )
        alone = {"id": BASE + 9, "root_id": BASE + 6, "parent_id": BASE + 6, "attempt": 2}
        await conn.execute(
            insert(run).values(
                app_id=app_id, job_id=9, slot_key=1, due_ms=due, state=RunState.FAILED, **alone
            )
        )
    billing.reruns.run = await RunStore(billing.db, billing.clock).get(BASE + 1)
    return billing


async def ids(api, query=""):
    return [one["id"] - BASE for one in (await api.ok("GET", f"/api/v1/failures{query}"))["items"]]


async def test_failures_are_the_last_attempts_and_the_parents(failures):
    assert await ids(failures) == [6, 5, 2, 1]
    assert await ids(failures, "?state=lost,timed_out") == [5, 2]
    assert await ids(failures, f"?job_id=4&from={failures.clock.ms}") == [5, 1]
    assert await ids(failures, "?app=billing&limit=1") == [6]


async def test_those_that_were_run_again_are_dealt_with(failures):
    async with failures.db.write() as conn:
        await conn.execute(run.update().where(run.c.id == BASE + 5).values(rerun_id=BASE + 99))
    assert await ids(failures) == [6, 2, 1]
    assert await ids(failures, "?again=with") == [6, 5, 2, 1]
    assert (await failures.ok("GET", f"/api/v1/runs/{BASE + 5}"))["rerun_id"] == BASE + 99


async def test_a_rerun(failures):
    answer = await failures.call("POST", f"/api/v1/runs/{BASE + 1}/rerun")
    assert answer == (202, {"run_id": BASE + 2})
    body = {"children": False, "only_failed": True}
    assert (await failures.call("POST", f"/api/v1/runs/{BASE + 1}/rerun", body))[0] == 202
    assert failures.reruns.asked == [
        ("rerun", BASE + 1, Rerun()),
        ("rerun", BASE + 1, Rerun(children=False, only_failed=True)),
    ]
    failures.reruns.run = None
    problem = await failures.problem(409, "POST", f"/api/v1/runs/{BASE + 1}/rerun", {})
    assert "has ended" in problem["detail"]


async def test_a_mark(failures):
    found = await failures.ok("POST", f"/api/v1/runs/{BASE + 1}/mark-succeeded", {"reason": "by hand"})
    assert found["id"] == BASE + 1
    assert failures.reruns.asked == [("mark", BASE + 1, "by hand")]


async def test_redrives(failures):
    found = await failures.ok("POST", "/api/v1/failures/redrive", {"ids": [5, 6]})
    assert found == {
        "results": [
            {"run_id": 5, "new_run_id": 6, "error": None},
            {"run_id": 6, "new_run_id": None, "error": "gone"},
        ],
        "again": 1,
        "next_cursor": None,
    }
    failures.reruns.next_cursor = "x"
    body = {"filter": {"app": "billing", "state": "failed"}, "limit": 7, "children": False}
    found = await failures.ok("POST", "/api/v1/failures/redrive", body)
    assert (found["again"], found["next_cursor"]) == (1, "x")
    app_id = (await failures.ok("GET", "/api/v1/apps/billing"))["id"]
    wanted = RunFilter(app_id=app_id, states=frozenset({RunState.FAILED}), no_shards=True, not_rerun=True)
    assert failures.reruns.asked == [
        ("redrive", (5, 6), Rerun(only_failed=True)),
        ("where", wanted, Rerun(children=False, only_failed=True), 7, None),
    ]
    await failures.ok("POST", "/api/v1/failures/redrive", {"filter": {}})
    assert failures.reruns.asked[-1][1] == RunFilter(states=FAILURES, no_shards=True, not_rerun=True)


@pytest.mark.parametrize(
    ("path", "body", "field", "expected"),
    [
        ("/failures/redrive", {}, "ids", "either ids or a filter"),
        ("/failures/redrive", {"ids": [1], "filter": {}}, "ids", "either ids or a filter"),
        ("/failures/redrive", {"ids": []}, "ids", "at least 1 item"),
        ("/failures/redrive", {"ids": [0]}, "ids[0]", "greater than or equal to 1"),
        ("/failures/redrive", {"ids": list(range(1, 10_002))}, "ids", "at most 10000 items"),
        ("/failures/redrive", {"ids": [1], "cursor": "x"}, "cursor", "null with ids"),
        ("/failures/redrive", {"filter": {}, "limit": 10_001}, "limit", "less than or equal to 10000"),
        ("/failures/redrive", {"filter": {"state": "stopped"}}, "filter.state", "failed, lost, timed_out"),
        ("/failures/redrive", {"filter": {"app": "nobody"}}, "filter.app", "an app that exists"),
        ("/failures/redrive", {"filter": {"job": 1}}, "filter.job", "did you mean 'job_id'?"),
        ("/runs/5/rerun", {"only_failed": 1}, "only_failed", "boolean"),
        ("/runs/5/rerun", {"params": "x"}, "params", "a known field: children, only_failed"),
        ("/runs/5/mark-succeeded", {}, "reason", "a value: it is required"),
        ("/runs/5/mark-succeeded", {"reason": ""}, "reason", "at least 1 character"),
    ],
)
async def test_what_is_refused(billing, path, body, field, expected):
    found, _, text = await billing.wrong("POST", f"/api/v1{path}", body)
    assert found == field
    assert expected in text
    assert billing.reruns.asked == []


async def test_a_wrong_filter_of_the_list(billing):
    found, _, text = await billing.wrong("GET", "/api/v1/failures?state=stopped")
    assert (found, text) == ("state", "one or more, by comma, of failed, lost, timed_out")
    await billing.problem(404, "GET", "/api/v1/failures?app=nobody")
