"""Simulations through the API and the command."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import func, insert, select

from gateway.core.states import RunState
from gateway.store import tables
from tests.unit.api.conftest import a_job
from tests.unit.api.test_cli import invoke

T0 = 1_795_003_200_000  # a full hour, after now
MINUTE = 60_000


def minutely(**fields):
    cron = {"kind": "cron", "expression": "0 * * * * ?", "timezone": "UTC"}
    return a_job(schedule=cron, **fields)


@pytest.fixture
async def job(billing):
    return await billing.ok("POST", "/api/v1/jobs", minutely())


async def ask(api, **body):
    return await api.ok("POST", "/api/v1/simulate", {"from": T0, "to": T0 + 5 * MINUTE, **body})


async def counts(api):
    async with api.db.read() as conn:
        names = (tables.run, tables.job_version, tables.event)
        return [(await conn.execute(select(func.count()).select_from(one))).scalar_one() for one in names]


async def test_fires_of_what_is_stored_and_nothing_is_touched(billing, job):
    other = await billing.job(name="at three")
    before = await counts(billing)
    found = await ask(billing)
    preview = await billing.ok("GET", f"/api/v1/jobs/{job['id']}/preview?count=5&from={T0 - 1}")
    assert [fire["slot_ms"] for fire in found["fires"]] == [fire["slot_ms"] for fire in preview["next"]]
    first = found["fires"][0]
    assert (first["job_id"], first["job"], first["app"]) == (job["id"], "close the day", "billing")
    assert (first["trigger"], first["state"], first["wait_ms"]) == ("schedule", "succeeded", 0)
    assert (first["start"], first["end_ms"]) == ("2026-11-18T12:00:00.000+00:00", T0 + 1000)
    assert (found["from"], found["to_ms"]) == ("2026-11-18T12:00:00.000+00:00", T0 + 5 * MINUTE)
    assert found["total"]["fires"] == found["total"]["started"] == 5
    assert [one["job_id"] for one in found["jobs"]] == [job["id"]]
    assert other["id"] not in {fire["job_id"] for fire in found["fires"]}
    assert await counts(billing) == before
    assert billing.operations.changed_jobs == [job["id"], other["id"]]


async def test_jobs_to_be_tried_have_the_days_of_their_calendar(billing):
    await billing.ok("POST", "/api/v1/calendars", {"name": "only", "days": ["2026-11-18"]})
    for mode, fires in (("include", 5), ("exclude", 0)):
        draft = minutely(calendar={"name": "only", "mode": mode})
        assert (await ask(billing, jobs=[draft]))["total"]["fires"] == fires


async def test_limits_are_those_stored_or_those_to_be_tried(billing, job):
    await billing.ok("POST", "/api/v1/jobs", minutely(name="urgent", priority=10))
    await billing.ok("PATCH", "/api/v1/apps/billing", {"max_running": 1})
    stored = await ask(billing, duration_s=20, fires=2)
    assert [(fire["job"], fire["wait_ms"]) for fire in stored["fires"]] == [
        ("close the day", 20_000),
        ("urgent", 0),
    ]
    assert stored["fires"][0]["reason"] == "1 of 1 runs of app 'billing' are under way"
    assert stored["more_fires"]
    (app,) = stored["apps"]
    assert (app["max_running"], app["queue_max"], app["queue_max_at_ms"]) == (1, 1, T0)
    assert (app["waited"], app["wait_max_ms"], app["wait_mean_ms"]) == (5, 20_000, 20_000)
    tried = await ask(billing, duration_s=20, limits=[{"app": "billing", "max_running": None}])
    assert (tried["total"]["waited"], tried["more_fires"]) == (0, False)
    assert (await billing.ok("GET", "/api/v1/apps/billing"))["max_running"] == 1


async def test_runs_take_as_long_as_the_last_ones(billing, job):
    rows = [
        {
            "id": n,
            "job_id": job["id"],
            "slot_key": n,
            "state": int(state),
            "sent_ms": sent,
            "finished_ms": end,
        }
        for n, (state, sent, end) in enumerate(
            [(RunState.SUCCEEDED, 1000, 5000), (RunState.FAILED, 1000, 7000), (RunState.SKIPPED, 0, 9)], 1
        )
    ]
    async with billing.db.write() as conn:
        await conn.execute(insert(tables.run), rows)
    found = await ask(billing)
    assert found["jobs"][0]["duration_ms"] == 5000
    assert (await ask(billing, duration_s="2m"))["jobs"][0]["duration_ms"] == 120_000


async def test_jobs_that_are_not_stored(billing, job):
    draft = minutely(overlap="skip", name="new")
    found = await ask(billing, jobs=[draft], duration_s=90)
    assert {fire["job_id"] for fire in found["fires"]} == {-1}
    assert [fire["state"] for fire in found["fires"]] == ["succeeded", "skipped"] * 2 + ["running"]
    assert found["reasons"] == [{"reason": "overlap skip", "count": 2}]
    both = await ask(billing, jobs=[draft], job_ids=[job["id"]])
    assert {fire["job_id"] for fire in both["fires"]} == {-1, job["id"]}
    assert (await ask(billing, app="billing"))["total"]["fires"] == 5


async def test_shards_go_to_executors_that_do_not_drain(billing):
    app = {"address_mode": "manual", "addresses": ["http://a:1/", "http://b:1/", "http://c:1/"]}
    await billing.ok("PATCH", "/api/v1/apps/billing", app)
    await billing.ok("PATCH", "/api/v1/apps/billing/executors", {"address": "http://b:1/", "draining": True})
    await billing.ok("POST", "/api/v1/jobs", minutely(route="SHARDING_BROADCAST"))
    found = await ask(billing, to=T0 + MINUTE)
    assert [fire["shard"] for fire in found["fires"]] == [-1, 0, 1]
    assert (found["total"]["fires"], found["apps"][0]["running_max"]) == (1, 2)


async def test_an_outage(billing, job):
    span = {"from": T0 + 1, "to": T0 + 3 * MINUTE + 1000}
    found = await ask(billing, outages=[span])
    assert [(fire["state"], fire["slots"]) for fire in found["fires"]] == [
        ("succeeded", 1),
        ("skipped", 2),
        ("succeeded", 1),
        ("succeeded", 1),
    ]
    assert "misfire" in found["fires"][1]["reason"]


async def test_a_pause(billing, job):
    await billing.ok("POST", f"/api/v1/jobs/{job['id']}/pause", {"reason": "stock-taking"})
    found = await ask(billing, fires=1)
    assert found["reasons"] == [{"reason": "paused", "count": 5}]
    assert found["fires"][0]["reason"] == "the job is paused by test: stock-taking"


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"to": T0}, "to", "an instant after from"),
        ({"app": "nobody"}, "app", "an app that exists"),
        ({"limits": [{"app": "nobody"}]}, "limits[0].app", "an app that exists"),
        (
            {"limits": [{"app": "billing", "max_running": 0}]},
            "limits[0].max_running",
            "greater than or equal",
        ),
        ({"app": "billing", "job_ids": [1]}, "job_ids", "app chooses already"),
        ({"outages": [{"from": 9, "to": 9}]}, "outages[0].to", "an instant after from"),
        (
            {"outages": [{"from": 1, "to": 9}, {"from": 8, "to": 10}]},
            "outages",
            "none beginning before the last has ended",
        ),
        ({"jobs": [a_job(calendar="none")]}, "jobs[0].calendar.name", "a calendar that exists"),
        ({"jobs": [a_job(app="nobody")]}, "jobs[0].app", "an app that exists"),
        (
            {"jobs": [a_job(schedule={"kind": "cron", "expression": "x"})]},
            "jobs[0].schedule.expression",
            "fields",
        ),
        ({"fires": 5001}, "fires", "less than or equal to 5000"),
        ({"duration_s": -1}, "duration_s", "not negative"),
    ],
)
async def test_bad_input(billing, job, body, field, expected):
    found, _, told = await billing.wrong("POST", "/api/v1/simulate", {"from": T0, "to": T0 + MINUTE, **body})
    assert found == field
    assert expected in told


async def test_unknown_jobs_and_two_at_once(billing, job):
    await billing.problem(404, "POST", "/api/v1/simulate", {"to": T0, "job_ids": [99]})
    body = {"from": T0, "to": T0 + MINUTE}
    answers = await asyncio.gather(*(billing.call("POST", "/api/v1/simulate", body) for _ in range(2)))
    assert sorted(status for status, _ in answers) == [200, 409]
    assert "try again" in next(answer["detail"] for status, answer in answers if status == 409)
    await ask(billing)  # the one that was refused holds nothing up


async def test_the_command(billing, job, tmp_path):
    env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}

    async def run(*args, code=0, **more):
        result = await asyncio.to_thread(invoke, "simulate", *args, env=env, **more)
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    span = ("--from", str(T0), "--to", str(T0 + 3 * MINUTE))
    text = await run(*span, "--duration", "90s", "--max-running", "billing=1", "--fires", "2")
    lines = text.splitlines()
    assert lines[0].split() == [
        "DUE",
        "JOB",
        "ID",
        "JOB",
        "APP",
        "TRIGGER",
        "WAIT",
        "S",
        "STATE",
        "SLOTS",
        "REASON",
    ]
    assert "  30      running  " in lines[2]
    assert "1 of 1 runs of app 'billing' are under way" in lines[2]
    assert "3 fires, 2 started, 1 waited, 1 waiting; longest wait 30 s" in lines
    file = tmp_path / "jobs.json"
    file.write_text(json.dumps([minutely(name="new")]))
    found = json.loads(await run(*span, "--file", str(file), "--json", "--outage", f"{T0 + 1}/{T0 + MINUTE}"))
    assert found["total"]["fires"] == 3
    assert "billing=5" in await run(*span, "--max-running", "5", code=2)
    assert "two instants" in await run(*span, "--outage", "5", code=2)
    assert "--to" in await run("--from", "1", code=2)
