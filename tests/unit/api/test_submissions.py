"""Submissions through the API: batches, idempotency keys, names of runs."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from gateway.core.model import TriggerKind
from gateway.core.states import RunState
from gateway.core.submission import Submission
from gateway.store.tables import run, task

PATH = "/api/v1/jobs/1/trigger"
BATCH = f"{PATH}/batch"


async def keyed(api, path, body, key):
    """Status and answer of a call with an idempotency key."""
    headers = {"Authorization": f"Bearer {api.token}", "Idempotency-Key": key}
    async with api.session.post(api.url + path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_what_a_submission_may_say(api):
    at_ms = api.clock.ms + 60_000
    await api.ok("POST", PATH, {"run_at": at_ms, "priority": 15})
    await api.ok("POST", PATH, {"run_at": "2026-11-18T12:06:40+00:00"})
    await api.ok("POST", PATH, {"delay_s": "1500ms", "ttl_s": 90})
    await api.ok("POST", PATH, {"delay_s": 0.25, "priority": 1})
    assert [one.wanted for one in api.operations.triggered] == [
        Submission(run_at_ms=at_ms, priority=15),
        Submission(run_at_ms=at_ms + 3_540_000),
        Submission(delay_ms=1500, ttl_ms=90_000),
        Submission(delay_ms=250, priority=1),
    ]
    assert {one.kind for one in api.operations.triggered} == {TriggerKind.API}


# ---------------------------------------------------------------- batches


async def test_a_batch_has_a_result_for_each(api):
    given = [
        {"params": "a", "task_id": "t"},
        {},
        {"task_id": "t"},
        {"priority": 16, "delay_s": "soon"},
        7,
        {"run_at": 5, "delay_s": 1},
    ]
    answer = await api.ok("POST", BATCH, {"submissions": given})
    assert answer["accepted"] == 2
    taken, plain, again, wrong, number, both = answer["results"]
    first = taken["run_id"]
    assert taken == {"status": 202, "run_id": first, "task_id": "t"}
    assert plain == {"status": 202, "run_id": first + 1}
    assert (again["status"], again["run_id"], again["task_id"]) == (409, first, "t")
    assert "submitted before" in again["detail"]
    assert [error["field"] for error in wrong["errors"]] == [
        "submissions[3].delay_s",
        "submissions[3].priority",
    ]
    assert (number["status"], number["errors"][0]["field"]) == (422, "submissions[4]")
    assert both["errors"][0]["field"] == "submissions[5].delay_s"
    assert len(api.operations.triggered) == 2


async def test_ten_thousand_at_once_and_one_more(api):
    answer = await api.ok("POST", BATCH, {"submissions": [{"params": str(n)} for n in range(10_000)]})
    assert answer["accepted"] == 10_000
    assert [one.wanted.params for one in api.operations.triggered] == [str(n) for n in range(10_000)]
    field, value, expected = await api.wrong("POST", BATCH, {"submissions": [{}] * 10_001})
    assert (field, value, expected) == ("submissions", "10001 items", "at most 10000 items")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "submissions"),
        ({"submissions": []}, "submissions"),
        ({"submissions": {}}, "submissions"),
        ({"submissions": [{}], "mode": "fast"}, "mode"),
        ([], "body"),
    ],
)
async def test_a_batch_that_is_none(api, body, field):
    assert (await api.wrong("POST", BATCH, body))[0] == field
    assert api.operations.triggered == []


async def test_a_batch_for_a_job_that_is_not_there(api):
    api.operations.known_jobs = set()
    await api.problem(404, "POST", BATCH, {"submissions": [{}]})


# ---------------------------------------------------------------- idempotency keys


async def test_a_call_made_again_is_answered_as_the_first(api):
    first = await keyed(api, PATH, {"params": "a", "task_id": "t"}, "k-1")
    assert first == (202, {"run_id": 1 << 32})
    assert await keyed(api, PATH, {"params": "a", "task_id": "t"}, "k-1") == first
    status, refused = await keyed(api, PATH, {"task_id": "t"}, "k-2")
    assert (status, refused["run_id"]) == (409, 1 << 32)
    assert await keyed(api, PATH, {"task_id": "t"}, "k-2") == (status, refused)
    batch = await keyed(api, BATCH, {"submissions": [{}, {"task_id": "t"}]}, "k-3")
    assert [one["status"] for one in batch[1]["results"]] == [202, 409]
    assert await keyed(api, BATCH, {"submissions": [{}, {"task_id": "t"}]}, "k-3") == batch
    assert len(api.operations.triggered) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "ключ"])
async def test_a_key_that_is_none(api, key):
    status, answer = await keyed(api, PATH, {}, key)
    assert status == 422
    assert answer["errors"][0]["field"] == "Idempotency-Key"
    assert api.operations.triggered == []


# ---------------------------------------------------------------- names of runs


async def test_runs_are_found_by_the_name_of_their_submission(billing):
    common = {
        "job_id": 3,
        "app_id": 1,
        "created_ms": 5,
        "trigger_kind": TriggerKind.API,
        "state": RunState.FAILED,
    }
    async with billing.db.write() as conn:
        for run_id, root_id, attempt in ((10, 10, 1), (11, 10, 2), (12, 12, 1)):
            values = {"id": run_id, "slot_key": -root_id, "root_id": root_id, "attempt": attempt, "due_ms": 5}
            await conn.execute(insert(run).values(**common, **values))
        await conn.execute(insert(task).values(namespace_id=1, task_id="close", run_id=10, created_ms=1))
    found = await billing.ok("GET", "/api/v1/runs?task_id=close")
    assert [(one["id"], one["task_id"]) for one in found["items"]] == [(11, "close"), (10, "close")]
    found = await billing.ok("GET", "/api/v1/runs?task_id=run-12")
    assert [(one["id"], one["task_id"]) for one in found["items"]] == [(12, "run-12")]
    assert (await billing.ok("GET", "/api/v1/runs?task_id=other"))["items"] == []
    assert (await billing.ok("GET", "/api/v1/runs?task_id=close&root_id=12"))["items"] == []
    assert (await billing.ok("GET", "/api/v1/runs/11"))["task_id"] == "close"
