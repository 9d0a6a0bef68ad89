"""Explanations through the API and the command; what they say is tested with the scheduler."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest
from sqlalchemy import insert

from gateway.core.model import TriggerKind
from gateway.core.states import RunState
from gateway.store import tables
from tests.unit.api.test_cli import invoke

SLOT = 1_795_114_800_000  # 2026-11-20T03:00:00+08:00


@pytest.fixture
async def job(billing):
    return await billing.job()


def path(job, at=None):
    return f"/api/v1/jobs/{job['id']}/explain" + ("" if at is None else f"?at={quote(str(at))}")


async def test_a_slot_ahead_however_the_instant_is_written(billing):
    await billing.ok("PATCH", "/api/v1/apps/billing", {"max_running": 5})
    job = await billing.job()
    instants = (SLOT, "2026-11-20 03:00:00", "2026-11-20T03:00:00+08:00", "2026-11-19T19:00:00Z")
    answers = [await billing.ok("GET", path(job, at)) for at in instants]
    raw = await billing.ok("GET", f"/api/v1/jobs/{job['id']}/explain?at=2026-11-20T03:00:00+08:00")
    assert all(answer == answers[0] for answer in [*answers, raw])
    found = answers[0]
    assert (found["job_id"], found["at_ms"], found["slot_ms"]) == (job["id"], SLOT, SLOT)
    assert (found["verdict"], found["run_id"]) == ("will_run", None)
    assert found["answer"].startswith("It will run at 2026-11-20T03:00:00+08:00, as far as is known now.")
    facts = {fact["kind"]: fact for fact in found["facts"]}
    assert facts["version"]["author"] == "test"
    assert facts["version"]["created_ms"] == job["created_ms"]
    assert facts["schedule"]["expression"] == "0 0 3 * * ?"
    assert (
        facts["schedule"]["text"] == "cron '0 0 3 * * ?' (Asia/Shanghai) matches: 2026-11-20T03:00:00+08:00."
    )
    assert (facts["app_limit"]["running"], facts["app_limit"]["max_running"]) == (0, 5)


async def test_now_and_a_slot_that_has_a_row(billing, job):
    billing.clock.ms = SLOT + 60_000
    row = {"job_id": job["id"], "slot_key": SLOT, "due_ms": SLOT, "root_id": 7, "job_version": 1}
    row |= {
        "state": int(RunState.FAILED),
        "trigger_kind": int(TriggerKind.SCHEDULE),
        "address": "http://h:1/",
    }
    row |= {"claimed_ms": SLOT - 100, "sent_ms": SLOT + 4000, "finished_ms": SLOT + 5000, "result_code": 500}
    async with billing.db.write() as conn:
        await conn.execute(insert(tables.run).values(id=7, message="disk full", **row))
    found = await billing.ok("GET", path(job, SLOT))
    assert (found["verdict"], found["run_id"]) == ("failed", 7)
    assert found["answer"] == (
        "Run 7 started 4.0 s late (it was claimed in time and sent late) at http://h:1/ and failed "
        "(code 500: disk full) after 1.0 s."
    )
    now = await billing.ok("GET", path(job))
    assert (now["at_ms"], now["verdict"], now["slot"]) == (SLOT + 60_000, "no_slot", None)
    assert "the slot before is 2026-11-20T03:00:00+08:00" in now["answer"]


async def test_bad_input(billing, job):
    assert (await billing.wrong("GET", path(job, "soon")))[0] == "at"
    assert "of the next 100 years" in (await billing.wrong("GET", path(job, 253_402_300_799_999)))[2]
    assert (await billing.wrong("GET", path(job) + "?when=5"))[0] == "when"
    await billing.problem(404, "GET", "/api/v1/jobs/99/explain")
    await billing.problem(404, "GET", f"/api/v1/jobs/{1 << 40}/explain")


async def test_the_command(billing, job):
    env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}

    async def run(*args):
        result = await asyncio.to_thread(invoke, "jobs", "explain", job["id"], *args, env=env)
        assert result.exit_code == 0, result.output
        return result.stdout

    lines = (await run("--at", "2026-11-20 03:00:00")).splitlines()
    assert lines[0].startswith("It will run at 2026-11-20T03:00:00+08:00")
    assert "  schedule: cron '0 0 3 * * ?' (Asia/Shanghai) matches: 2026-11-20T03:00:00+08:00." in lines
    assert json.loads(await run("--at", str(SLOT), "--json"))["verdict"] == "will_run"


KINDS = [
    {"kind": "cron", "expression": "0 30 1,2 * * ?", "timezone": "America/New_York"},
    {"kind": "cron", "expression": "0 0 0 29 2 ? 2028", "timezone": "Asia/Shanghai"},
    {
        "kind": "calendar",
        "expression": {"dayOfWeek": "MON-FRI", "hour": 9},
        "timezone": "Australia/Lord_Howe",
    },
    {"kind": "fixed_rate", "expression": "1s"},
    {"kind": "interval", "expression": "36000 days", "offset": "1h"},
    {"kind": "one_time", "expression": "2027-01-01 00:00:00", "timezone": "UTC+14"},
    {"kind": "second_delay", "expression": 5},
    {"kind": "api"},
    [{"kind": "interval", "expression": 60}, {"kind": "cron", "expression": "0 0 * * *", "timezone": "UTC"}],
]
INSTANTS = (
    "1",
    "2026-03-08 02:30:00",
    "2026-11-01 01:30:00",
    "2027-03-14T02:30:00-05:00",
    "2027-11-07T01:30:00-05:00",
    "2027-04-04 02:15:00",
    "2027-01-01T00:00:00+14:00",
    "2028-02-29T00:00:00+08:00",
    "2126-11-01T00:00:00Z",
)


@pytest.mark.parametrize("schedule", KINDS, ids=lambda one: one["kind"] if isinstance(one, dict) else "list")
async def test_every_instant_has_an_answer(billing, schedule):
    more = {} if schedule == KINDS[6] else {"jitter_s": 3, "exclusions": [{"from": "03:00", "to": "04:00"}]}
    job = await billing.job(schedule=schedule, **more)
    now = billing.clock.ms
    verdicts = set()
    for at in (*INSTANTS, *(str(now + later) for later in (-1, 0, 1, 999, 60_000, 10**9))):
        found = await billing.ok("GET", path(job, at))
        assert found["answer"].endswith(".")
        assert found["facts"] or found["verdict"] == "no_job"
        verdicts.add(found["verdict"])
    assert verdicts <= {"no_job", "no_slot", "will_run", "not_planned_yet"}
