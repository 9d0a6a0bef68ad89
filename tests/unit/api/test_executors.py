"""Executors, what is set for them, and labels of jobs, through the API and the commands."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from gateway.core.model import Executor
from gateway.core.states import RunState
from gateway.store.tables import run
from tests.unit.api.conftest import a_job
from tests.unit.api.test_cli import run as command  # noqa: F401 – a fixture

PATH = "/api/v1/apps/billing/executors"
H = "http://h:9999/"


async def there(api, *addresses) -> None:
    app = await api.ok("GET", "/api/v1/apps/billing")
    api.operations.executors = [
        *(
            Executor(app["id"], address, "rest", "java", api.clock.ms - 5000, api.clock.ms)
            for address in addresses
        ),
        Executor(99, "http://other:9999/", "rest", "java", 1, 1),
    ]


async def test_executors_of_an_app(billing):
    await there(billing, H)
    (found,) = (await billing.ok("GET", PATH))["items"]
    assert found == {
        "address": "http://h:9999/",
        "state": "online",
        "draining": False,
        "draining_since": None,
        "draining_since_ms": None,
        "labels": [],
        "weight": 100,
        "note": "",
        "running": 0,
        "dialect": "rest",
        "releases": "2.2.0 to 3.4.2, and other languages",
        "client": "java",
        "last_beat": "2026-11-18T11:06:40.000+00:00",
        "last_beat_ms": billing.clock.ms,
        "registered": "2026-11-18T11:06:35.000+00:00",
        "registered_ms": billing.clock.ms - 5000,
    }


async def test_a_setting_and_its_way_back(billing):
    await there(billing, H)
    app_id = (await billing.ok("GET", "/api/v1/apps/billing"))["id"]
    told = len(billing.operations.changed_apps)
    changed = await billing.ok(
        "PATCH",
        PATH,
        {"address": "http://H:9999", "labels": ["canary", "canary"], "weight": 0, "note": "new"},
    )
    assert (changed["address"], changed["state"]) == (H, "online")
    assert (changed["labels"], changed["weight"], changed["note"]) == (["canary"], 0, "new")
    assert billing.operations.changed_apps[told:] == [app_id]
    drained = await billing.ok("PATCH", PATH, {"address": H, "draining": True, "weight": None})
    assert (drained["draining"], drained["draining_since_ms"]) == (True, billing.clock.ms)
    assert (drained["labels"], drained["weight"]) == (["canary"], 100)
    assert (await billing.ok("GET", PATH))["items"] == [drained]
    await there(billing)
    (gone,) = (await billing.ok("GET", PATH))["items"]
    assert (gone["state"], gone["client"], gone["labels"]) == ("offline", None, ["canary"])
    plain = await billing.ok("PATCH", PATH, {"address": H, "labels": None, "draining": False, "note": None})
    assert (plain["draining"], plain["draining_since"], plain["labels"]) == (False, None, [])
    assert (await billing.ok("GET", PATH))["items"] == []


async def test_how_much_still_runs_on_a_drained_one(billing):
    await there(billing, H)
    app = await billing.ok("GET", "/api/v1/apps/billing")
    values = {"job_id": 1, "app_id": app["id"], "open_part": 3, "address": "http://h:9999"}
    async with billing.db.write() as conn:
        for number, state in enumerate((RunState.DISPATCHING, RunState.RUNNING, RunState.STOPPING), 1):
            row = {"id": number, "slot_key": -number, "root_id": number, "due_ms": 1, "state": int(state)}
            await conn.execute(insert(run).values(values | row | {"created_ms": 1}))
    assert (await billing.ok("PATCH", PATH, {"address": H, "draining": True}))["running"] == 3


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"address": "h:9999"}, "address", "http://10.0.0.7:9999/"),
        ({"address": "http://h:9999/?a=1"}, "address", "without a query"),
        ({"address": "http://h:70000/"}, "address", "http://10.0.0.7:9999/"),
        ({"address": "http://" + "h" * 250 + "/"}, "address", "at most 255"),
        ({"address": "http://" + "h" * 248}, "address", "at most 255 characters with a slash"),
        ({"weight": -1}, "weight", "greater than or equal to 0"),
        ({"weight": 1001}, "weight", "less than or equal to 1000"),
        ({"weight": "5"}, "weight", "valid integer"),
        ({"weight": 1.5}, "weight", "valid integer"),
        ({"labels": "canary"}, "labels", "valid array"),
        ({"labels": [""]}, "labels[0]", "at least 1"),
        ({"labels": ["x" * 65]}, "labels[0]", "at most 64"),
        ({"labels": ["a,b"]}, "labels[0]", "a letter or digit"),
        ({"labels": [f"l{n}" for n in range(21)]}, "labels", "at most 20"),
        ({"draining": "yes"}, "draining", "valid boolean"),
        ({"note": "x" * 256}, "note", "at most 255"),
        ({"note": "a\0b"}, "note", "NUL"),
        ({"lables": []}, "lables", "did you mean 'labels'?"),
    ],
)
async def test_what_a_setting_may_not_be(billing, change, field, expected):
    found, value, text = await billing.wrong("PATCH", PATH, {"address": H, "draining": True, **change})
    assert found == field
    assert expected in text
    if len(str(change.get(field, "x" * 99))) < 40:
        assert value == change[field]
    assert (await billing.ok("GET", PATH))["items"] == []


async def test_a_setting_that_says_nothing_or_of_nobody(billing):
    field, value, expected = await billing.wrong("PATCH", PATH, {"address": H})
    assert (field, value) == ("address", H)
    assert "draining" in expected
    field, _, _ = await billing.wrong("PATCH", PATH, {"draining": True})
    assert field == "address"
    path = "/api/v1/apps/nobody/executors"
    answer = await billing.problem(404, "PATCH", path, {"address": H, "draining": True})
    assert "'nobody'" in answer["detail"]


# ------------------------------------------------------------ jobs


async def test_a_jobs_label(billing):
    made = await billing.job(label="canary", route="WEIGHTED")
    assert (made["label"], made["label_fallback"], made["route"]) == ("canary", "fail", "WEIGHTED")
    path = f"/api/v1/jobs/{made['id']}"
    changed = await billing.ok("PATCH", path, {"label_fallback": "any"})
    assert (changed["label"], changed["label_fallback"]) == ("canary", "any")
    changed = await billing.ok("PATCH", path, {"description": "as before"})
    assert (changed["label"], changed["label_fallback"]) == ("canary", "any")
    back = await billing.ok("PATCH", path, {"label": None})
    assert (back["label"], back["label_fallback"]) == (None, "fail")
    plain = await billing.job()
    assert (plain["label"], plain["label_fallback"]) == (None, "fail")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"route": "NEAREST"}, "'WEIGHTED'"),
        ({"label": ""}, "at least 1"),
        ({"label": "x" * 65}, "at most 64"),
        ({"label": "has blank"}, "a letter or digit"),
        ({"label_fallback": "wait"}, "'fail' or 'any'"),
    ],
)
async def test_where_a_job_may_not_go(billing, change, expected):
    ((name, given),) = change.items()
    field, value, text = await billing.wrong("POST", "/api/v1/jobs", a_job(**change))
    assert (field, value) == (name, given)
    assert expected in text


async def test_commands(billing, command):  # noqa: F811
    await there(billing, H)
    assert "drain" in await command("apps", "executor-set", "--help")
    made = await command(
        *("apps", "executor-set", "billing", H, "--label", "canary", "--label", "big", "--weight", 5),
        *("--drain", "--note", "disk full", "--json"),
    )
    assert (made["labels"], made["weight"], made["draining"]) == (["canary", "big"], 5, True)
    lines = (await command("apps", "executors", "billing")).splitlines()
    assert lines[0].split()[:4] == ["ADDRESS", "STATE", "DRAINING", "RUNNING"]
    assert lines[1].split()[:7] == [H, "online", "yes", "0", "canary,", "big", "5"]
    back = await command("apps", "executor-set", "billing", H, "--undrain", "--label", "", "--json")
    assert (back["labels"], back["draining"], back["weight"]) == ([], False, 5)
    assert "draining" in await command("apps", "executor-set", "billing", H, code=2)
    job = await command(
        *("jobs", "create", "--app", "billing", "--name", "n", "--on-demand", "--handler", "h"),
        *("--label", "canary", "--label-fallback", "any", "--json"),
    )
    assert (job["label"], job["label_fallback"]) == ("canary", "any")
    job = await command("jobs", "update", job["id"], "--label", "", "--json")
    assert job["label"] is None
