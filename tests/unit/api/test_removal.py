"""Deleting a job: what becomes of its runs."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from gateway.core.errors import Conflict, Unreachable
from gateway.core.ports import StopReport
from gateway.core.states import RunState
from gateway.store.tables import deleted_job, run
from tests.unit.api.test_cli import invoke


@pytest.fixture
async def job(billing):
    return await billing.job()


async def add_run(api, run_id, state, job, address="http://h:1/", due_ms=5):
    from gateway.core.parts import part_of

    values = {
        "id": run_id,
        "job_id": job["id"],
        "app_id": 1,
        "slot_key": due_ms if due_ms > api.clock.ms else -run_id,
        "root_id": run_id,
        "state": int(state),
        "open_part": part_of(job["id"]) if state < RunState.SUCCEEDED else None,
        "due_ms": due_ms,
        "created_ms": 5,
        "address": address,
    }
    async with api.db.write() as conn:
        await conn.execute(insert(run).values(values))


class Stops:
    """What executors say to being told to stop."""

    def __init__(self, api):
        self.asked = []
        self.gone = set()
        self.also = {}
        api.operations.stop = self.stop

    async def stop(self, run_id):
        self.asked.append(run_id)
        if run_id in self.gone:
            raise Unreachable("http://h:1/", "refused")
        if run_id == 99:
            raise Conflict("run 99 is over")
        return StopReport(run_id, RunState.STOPPING, self.also.get(run_id, ()))


async def test_what_waits_is_invalid_and_what_runs_goes_on(billing, job):
    for run_id, state in enumerate((RunState.QUEUED, RunState.RUNNING, RunState.FAILED, RunState.PLANNED), 1):
        await add_run(billing, run_id, state, job)
    await add_run(billing, 7, RunState.PLANNED, job, due_ms=billing.clock.ms + 5000)
    stops = Stops(billing)
    status, answer = await billing.call("DELETE", f"/api/v1/jobs/{job['id']}")
    assert (status, answer) == (204, "")
    found = (await billing.ok("GET", "/api/v1/runs"))["items"]
    assert [(one["id"], one["state"], one["reason"]) for one in reversed(found)] == [
        (1, "invalid", "the job was deleted"),
        (2, "running", None),
        (3, "failed", None),
        (4, "invalid", "the job was deleted"),
    ]
    assert found[0]["finished_ms"] == billing.clock.ms
    assert (stops.asked, billing.operations.changed_jobs[-1]) == ([], job["id"])
    async with billing.db.read() as conn:
        (row,) = (await conn.execute(select(deleted_job))).mappings()
    assert (row["job_id"], row["name"], row["author"], row["keep_history"]) == (
        job["id"],
        job["name"],
        "test",
        0,
    )
    # Its versions can be read until they are removed as well.
    assert (await billing.ok("GET", f"/api/v1/jobs/{job['id']}/versions"))["items"][0]["version"] == 1


async def test_what_runs_is_stopped_if_that_is_wanted(billing, job):
    for run_id, address in ((1, "a"), (2, "a"), (3, "b"), (4, "b"), (99, "c"), (6, "c")):
        await add_run(billing, run_id, RunState.RUNNING, job, address)
    stops = Stops(billing)
    stops.also = {2: (1,)}
    stops.gone = {4}
    answer = await billing.ok("DELETE", f"/api/v1/jobs/{job['id']}?running=stop&keep_history=true")
    assert answer == {"stopping": [1, 2, 6], "still_running": [3, 4]}
    assert stops.asked == [99, 6, 4, 2]  # of an executor that is away, only one


async def test_bad_input_changes_nothing(billing, job):
    for query, field, expected in (
        ("running=kill", "running", "'finish' or 'stop'"),
        ("keep_history=maybe", "keep_history", "boolean"),
        ("force=1", "force", "a known field"),
    ):
        found, _, text = await billing.wrong("DELETE", f"/api/v1/jobs/{job['id']}?{query}")
        assert found == field
        assert expected in text
    assert await billing.ok("GET", f"/api/v1/jobs/{job['id']}") == job
    await billing.problem(404, "DELETE", "/api/v1/jobs/404?running=stop")


async def test_command(billing, job):
    import asyncio

    env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}
    await add_run(billing, 4, RunState.RUNNING, job)
    Stops(billing).gone = {4}
    result = await asyncio.to_thread(invoke, "jobs", "delete", job["id"], "--stop-running", env=env)
    assert result.stdout == "not reached, still running: 4\n"
