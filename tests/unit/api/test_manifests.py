"""`export` and `apply` against the API: what comes out goes in again, and a plan says what it does."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli import cli
from gateway.core.clock import SystemClock
from tests.kit.operations import StillClock
from tests.unit.api.conftest import a_job, an_api

SCRIPT = 'package x\n\n\tclass Y {\n  // 每天 \n\tString a = "b: #c";\n}\n'
EVERYTHING = {
    "description": "每天结算",
    "schedule": [
        {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "Asia/Shanghai", "misfire": "fire_all"},
        {"kind": "interval", "expression": "1h", "offset": "5m", "misfire": "fire_all"},
    ],
    "task": {
        "glue_type": "GLUE_GROOVY",
        "glue_source": SCRIPT,
        "params": "on",
        "envs": [{"name": "A", "value": "22:00"}],
    },
    "window": {"start": "2027-01-01 00:00:00", "end": "2028-01-01 00:00:00", "max_fires": 1000},
    "exclusions": [
        {"from": "22:00", "to": "06:00", "weekdays": "SAT,SUN", "comment": "维护"},
        {"from": "2027-02-05 00:00:00", "to": "2027-02-12 00:00:00"},
    ],
    "jitter_s": 1.5,
    "calendar": [{"name": "cn", "mode": "exclude"}, "work"],
    "data_offset_s": -86400,
    "route": "FAILOVER",
    "label": "gpu",
    "label_fallback": "any",
    "block_strategy": "COVER_EARLY",
    "overlap": "queue",
    "max_concurrency": 3,
    "queue_limit": 7,
    "ttl_s": 600,
    "priority": 12,
    "timeout_s": 60,
    "deadline_s": 900,
    "on_deadline": "kill",
    "lost_after_s": 120,
    "hold_limit_on_lost": True,
    "retry": {"max_attempts": 3, "intervals_s": [10, 0.5], "jitter": 0.25, "on": ["failed", "lost"]},
    "shards": [{"name": "eu", "params": "1"}, {"name": "us"}],
    "join": "all",
    "guarantee": "at_least_once",
    "misfire_after_s": 5,
    "misfire_window_s": 3600,
    "misfire_max": 7,
    "retention_days": 9,
    "contact": {"author": "王", "alarm_email": "a@b.c,d@e.f", "remark": "first"},
    "enabled": False,
}


def invoke(api, *args, text=None):
    env = {
        "XXLJOB_GATEWAY_URL": api.url,
        "XXLJOB_GATEWAY_TOKEN": api.token,
        "XXLJOB_GATEWAY_DATA_DIR": "/nonexistent",
    }
    return CliRunner().invoke(cli, list(map(str, args)), input=text, env=env)


async def run(api, *args, text=None, code=0):
    result = await asyncio.to_thread(invoke, api, *args, text=text)
    assert result.exit_code == code, result.output
    assert not isinstance(result.exception, BaseException) or isinstance(result.exception, SystemExit)
    return result.stderr if code else result.stdout


async def apply(api, path, *more, code=0):
    return await run(api, "apply", path, "--yes", *more, code=code)


@pytest.fixture(autouse=True)
def _today(monkeypatch):
    """Commands have the clock of the API: what these documents ask for lies ahead of it, whatever the day is."""
    monkeypatch.setattr(SystemClock, "now_ms", lambda self: StillClock().now_ms())


@pytest.fixture
async def other(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    async with an_api(folder) as one:
        yield one


@pytest.fixture
async def full(api):
    """A gateway with one of each kind."""
    await api.ok("POST", "/api/v1/calendars", {"name": "cn", "days": ["2027-01-01", "2028-02-29"]})
    await api.ok("POST", "/api/v1/calendars", {"name": "work", "days": ["2027-01-04"], "description": "上班"})
    await api.app()
    app = {
        "appname": "batch",
        "address_mode": "manual",
        "addresses": ["http://h:1/"],
        "max_running": 5,
        "starts_per_second": 0.5,
        "int_log_ids": True,
        "dialect": "netcom16",
        "tokenless_from": ["10.0.0.0/8"],
    }
    await api.ok("POST", "/api/v1/apps", app)
    plain = await api.job(name="plain")
    once = {"kind": "one_time", "expression": "2027-06-01 00:00:00", "timezone": "Asia/Shanghai"}
    child = await api.job(app="batch", name="儿子", schedule=once)
    await api.job(
        name="everything",
        **EVERYTHING,
        children=[{"job": plain["id"]}, {"job": child["id"], "on": "end"}],
    )
    grown = {"max_attempts": 4, "initial_interval_s": 2, "backoff_coefficient": 2.5, "maximum_interval_s": 60}
    await api.job(name="grown", schedule={"kind": "second_delay", "expression": 30}, retry=grown)
    fixed = {"kind": "fixed_rate", "expression": "90s", "anchor": "2026-01-01T00:00:00+08:00"}
    await api.job(name="rate", schedule=fixed, calendar="cn")
    by_fields = {"kind": "calendar", "expression": {"hour": 3, "minute": 0}, "timezone": "UTC"}
    await api.job(name="fields", schedule=by_fields, overlap="skip")
    await api.job(name="plain", description="another of that name")
    return api


async def shapes(api):
    """All that people have set, by app and name, with children by name: what must survive."""
    jobs = (await api.ok("GET", "/api/v1/jobs?limit=500"))["items"]
    names = {one["id"]: (one["app"], one["name"]) for one in jobs}
    facts = {"id", "version", "created", "created_ms", "updated", "updated_ms", "next_fire", "next_fire_ms"}
    facts |= {"glue_updated", "glue_updated_ms", "fired"}
    found = []
    for one in jobs:
        children = [(names[child["job"]], child["on"]) for child in one["children"]]
        found.append({k: v for k, v in one.items() if k not in facts} | {"children": children})
    apps = sorted((await api.ok("GET", "/api/v1/apps"))["items"], key=lambda one: one["appname"])
    calendars = [await api.ok("GET", f"/api/v1/calendars/{name}") for name in ("cn", "work")]
    for one in (*apps, *calendars):
        for fact in ("id", "version", "created", "created_ms", "updated", "updated_ms"):
            one.pop(fact, None)
    return sorted(found, key=lambda one: (one["app"], one["name"], one["description"])), apps, calendars


# ------------------------------------------------------------ round trips


async def test_an_empty_gateway_becomes_the_same(full, other, tmp_path):
    file = tmp_path / "all.yaml"
    await run(full, "export", "--output", file)
    text = file.read_text()
    assert await run(full, "export") == text
    assert yaml.safe_load(text)["format"] == 1
    said = await apply(other, file)
    assert "Plan: 11 to create, 0 to change, 0 to remove, 0 unchanged." in said
    assert await shapes(other) == await shapes(full)
    # The second time there is nothing to do, on either side.
    for api in (full, other):
        assert await run(api, "apply", file) == "Plan: 0 to create, 0 to change, 0 to remove, 11 unchanged.\n"
    # Ids are kept where they are free.
    assert await run(other, "export") == text


async def test_what_is_over_comes_back_disabled(billing, other, tmp_path, monkeypatch):
    """A gateway that has run for long is full of such jobs: none of them may keep the others from coming back."""
    hour = 3_600_000
    soon = billing.clock.now_ms() + hour
    once = {"kind": "one_time", "expression": soon, "timezone": "UTC"}
    year = {"kind": "cron", "expression": "0 0 3 * * ? 2026", "timezone": "UTC"}
    both = [once, {**once, "expression": soon + hour}]
    await billing.job(name="once", schedule=once, description="done")
    await billing.job(name="both", schedule=both)
    await billing.job(name="window", window={"end": soon})
    await billing.job(name="year", schedule=year)
    await billing.job(name="goes on")
    billing.clock.ms = other.clock.ms = later = soon + 400 * 24 * hour
    monkeypatch.setattr(SystemClock, "now_ms", lambda self: later)
    file = tmp_path / "a.yaml"
    await run(billing, "export", "--output", file)
    text = file.read_text()
    assert "enabled" not in text
    assert "6 unchanged" in await run(billing, "apply", file)
    said = await apply(other, file)
    assert said.count("note: its schedule or window is over, so it is disabled: it has no slot left") == 4
    enabled = (await other.ok("GET", "/api/v1/jobs?enabled=true"))["items"]
    assert [one["name"] for one in enabled] == ["goes on"]
    # The same documents ask for nothing more, and what comes out differs in that alone.
    assert "6 unchanged" in await run(other, "apply", file)
    assert (await run(other, "export")).replace("    enabled: false\n", "") == text
    # A change of such a job goes through on either side, and one of its end as well.
    file.write_text(text.replace("description: done", "description: gone"))
    assert "enabled" not in await apply(billing, file)
    assert "note" in await apply(other, file)
    file.write_text(text.replace(str(soon), str(soon + 1), 1))
    assert "enabled: true -> false" in await apply(billing, file)
    file.write_text(text.replace("0 0 3 * * ? 2026", "0 0 3 30 2 ?"))
    assert "an expression that fires again" in await apply(other, file, code=2)


async def test_ids_that_are_not_free_are_told_of(full, other, tmp_path):
    """Of a job that is there, and of one that is gone, while its history is kept."""
    file = tmp_path / "all.yaml"
    await run(full, "export", "--output", file)
    await other.app()
    gone = await other.job(name="gone")
    await other.job(name="theirs")
    await other.ok("DELETE", f"/api/v1/jobs/{gone['id']}?keep_history=true")
    said = await apply(other, file)
    others = re.findall(r"created job (\d+) (\S+) \(it is (\d+) in its document\)", said)
    assert [one[1:] for one in others] == [("billing/plain", "1"), ("batch/儿子", "2")]
    assert min(int(one[0]) for one in others) > 7
    mine = [one for one in (await shapes(other))[0] if one["name"] != "theirs"]
    assert mine == (await shapes(full))[0]
    assert (await run(other, "apply", file)).startswith("Plan: 0 to create, 0 to change")
    assert documents_without_ids(await run(other, "export", "--app", "batch")) == documents_without_ids(
        await run(full, "export", "--app", "batch")
    )


def documents_without_ids(text):
    found = yaml.safe_load(text)
    for job in found["jobs"]:
        del job["id"]
        for child in job.get("children", ()):
            del child["job"]
    found["jobs"].sort(key=lambda one: (one["app"], one["name"], one.get("description", "")))
    return found


async def test_text_is_readable_and_has_no_secrets(full):
    await run(full, "access-tokens", "create", "--app", "billing", "--text", "S3cretS3cretS3cret")
    job = (await full.ok("GET", "/api/v1/jobs?name=rate"))["items"][0]
    url = await run(full, "jobs", "trigger-urls", "create", job["id"])
    text = await run(full, "export")
    assert "      glue_source: |\n" in text
    assert "        // 每天 \n        \tString a" in text
    assert "    title: Billing\n" in text
    assert "S3cret" not in text
    assert url.strip().rpartition("/")[2] not in text
    assert "next_fire" not in text
    plain = next(one for one in yaml.safe_load(text)["jobs"] if one["name"] == "grown")
    assert set(plain) == {"id", "app", "name", "schedule", "task", "retry"}
    assert plain["schedule"] == {"kind": "second_delay", "expression": 30}


async def test_a_folder_has_a_file_an_app(full, other, tmp_path):
    folder = tmp_path / "gitops"
    await run(full, "export", "--output", f"{folder}/")
    files = sorted(str(one.relative_to(folder)) for one in folder.rglob("*.yaml"))
    assert files == ["apps/batch.yaml", "apps/billing.yaml", "calendars.yaml"]
    assert "nothing" not in await apply(other, folder)
    assert await shapes(other) == await shapes(full)
    stray = folder / "apps" / "old.yaml"
    stray.write_text("format: 1\n")
    result = await asyncio.to_thread(invoke, full, "export", "--output", folder)
    assert "note: apps/old.yaml is there as well" in result.stderr


async def test_one_app_with_the_calendars_it_uses(full):
    found = yaml.safe_load(await run(full, "export", "--app", "billing"))
    assert [one["appname"] for one in found["apps"]] == ["billing"]
    assert {one["app"] for one in found["jobs"]} == {"billing"}
    assert [one["name"] for one in found["calendars"]] == ["cn", "work"]
    found = yaml.safe_load(await run(full, "export", "--app", "batch"))
    assert "calendars" not in found
    assert "'nobody'" in await run(full, "export", "--app", "nobody", code=2)


async def test_json_is_the_same_documents(full):
    found = json.loads(await run(full, "export", "--json"))
    text = yaml.safe_load(await run(full, "export"))
    assert found == json.loads(json.dumps(text))


# ------------------------------------------------------------ plans


async def test_a_change_is_told_by_field_and_fire_times(billing, tmp_path):
    made = await billing.job()
    file = tmp_path / "a.yaml"
    await run(billing, "export", "--output", file)
    file.write_text(file.read_text().replace("0 0 3 * * ?", "0 0 4 * * ?"))
    said = await run(billing, "apply", file, "--dry-run")
    assert f"~ job {made['id']} billing/close the day: change\n" in said
    assert 'schedule.expression: "0 0 3 * * ?" -> "0 0 4 * * ?"' in said
    assert "fires, next 30 days: 30 before, 30 after" in said
    gone = [line for line in said.splitlines() if line.startswith("      - ")]
    come = [line for line in said.splitlines() if line.startswith("      + ")]
    assert len(gone) == len(come) == 3
    assert all(line.endswith("T03:00:00+08:00") for line in gone)
    assert all(line.endswith("T04:00:00+08:00") for line in come)
    assert (await billing.ok("GET", f"/api/v1/jobs/{made['id']}"))["version"] == 1
    said = await apply(billing, file)
    assert f"changed job {made['id']}" in said
    changed = await billing.ok("GET", f"/api/v1/jobs/{made['id']}")
    assert (changed["version"], changed["schedule"]["expression"]) == (2, "0 0 4 * * ?")


async def test_a_plan_says_where_it_cannot_know_the_fire_times(billing, tmp_path):
    note = "note: without an `anchor` it counts from when it is applied"
    rate = {"kind": "fixed_rate", "expression": "1h"}
    await billing.job(name="a", schedule=rate)
    file = tmp_path / "a.yaml"

    async def planned(**fields):
        file.write_text(yaml.safe_dump({"format": 1, "jobs": [a_job(**fields)]}))
        return await run(billing, "apply", file, "--dry-run")

    for name, schedule, open_ in (
        ("new", rate, True),
        ("a", {**rate, "expression": "2h"}, True),
        ("new", {**rate, "anchor": "2026-01-01T00:00:00Z"}, False),
        ("new", {"kind": "interval", "expression": "1h"}, False),
    ):
        assert (note in await planned(name=name, schedule=schedule)) == open_
    assert note not in await planned(name="a", schedule=rate, description="its phase stays")
    assert note not in await planned(name="new", schedule=rate, enabled=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (EVERYTHING, {}),
        ({}, EVERYTHING),
        (
            {"schedule": {"kind": "calendar", "expression": {"hour": 3, "minute": 5}, "timezone": "UTC"}},
            {"schedule": {"kind": "calendar", "expression": {"hour": 4}, "timezone": "UTC"}},
        ),
        ({"retry": {"intervals_s": [1, 2]}}, {"retry": {"max_attempts": 3, "initial_interval_s": 5}}),
        ({"retry": {"max_attempts": 1, "intervals_s": [5]}}, {"retry": {"max_attempts": 2}}),
        ({"overlap": "queue", "max_concurrency": 2, "queue_limit": 5}, {"overlap": "allow"}),
        ({"overlap": "allow"}, {"max_concurrency": 2}),
        ({"label": "gpu", "label_fallback": "any"}, {"label": "cpu"}),
        ({"calendar": "cn"}, {"calendar": ["cn", {"name": "work", "mode": "exclude"}]}),
    ],
)
async def test_a_document_is_all_of_a_job(full, other, tmp_path, before, after):
    """Whatever a job was before, it becomes what its document says: what is left out is back at its default."""
    was = await full.job(name="x", **before)
    wanted = tmp_path / "x.yaml"
    wanted.write_text(yaml.safe_dump({"format": 1, "jobs": [a_job(name="x", **after)]}))
    await apply(full, wanted)
    found = await full.ok("GET", f"/api/v1/jobs/{was['id']}")
    oracle = await full.job(name="oracle", **after)
    own = ("id", "name", "version", "next_fire", "created", "updated", "glue_updated")
    own += tuple(f"{name}_ms" for name in own)
    assert {k: v for k, v in found.items() if k not in own} == {
        k: v for k, v in oracle.items() if k not in own
    }
    assert "0 to change" in await run(full, "apply", wanted)


async def test_a_calendar_changes_the_fire_times_of_jobs_that_stay(full, tmp_path):
    start = "2026-11-19T00:00:00Z"  # some days before the clock of the test
    await full.ok(
        "PUT",
        "/api/v1/calendars/work",
        {"days": [f"20{y}-{m:02}-05" for y in range(26, 99) for m in range(1, 13)]},
    )
    job = await full.job(name="monthly", calendar="work", window={"start": start})
    file = tmp_path / "c.yaml"
    days = {y: [f"{m:02}-06" for m in range(1, 13)] for y in range(2026, 2099)}
    file.write_text(
        yaml.safe_dump({"format": 1, "calendars": [{"name": "work", "days": days, "description": "上班"}]})
    )
    said = await run(full, "apply", file, "--dry-run")
    assert "~ calendar work: change" in said
    assert f"~ job {job['id']} billing/monthly: as it is, but its calendar changes its fire times" in said
    assert "-06T03:00:00+08:00" in said
    await apply(full, file)
    assert (await full.ok("GET", "/api/v1/calendars/work"))["days"]["2026"][0] == "2026-01-06"


async def test_apps_are_changed_and_what_the_gateway_sets_stays(full, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("format: 1\napps:\n- appname: batch\n  title: t\n")
    said = await apply(full, file)
    assert 'address_mode: "manual" -> "auto"' in said
    found = await full.ok("GET", "/api/v1/apps/batch")
    assert (found["addresses"], found["max_running"], found["title"]) == ([], None, "t")
    assert found["int_log_ids"] is True
    assert "0 to change" in await run(full, "apply", file)
    file.write_text("format: 1\napps:\n- appname: batch\n  title: t\n  int_log_ids: false\n")
    await apply(full, file)
    assert (await full.ok("GET", "/api/v1/apps/batch"))["int_log_ids"] is False


async def test_children_that_start_each_other_come_whole(billing, tmp_path):
    """New jobs name each other before they have ids; a chain is turned round without a cycle between."""
    file = tmp_path / "a.yaml"

    def chain(*names):
        jobs = [a_job(name=name) for name in names]
        for one, following in zip(jobs, names[1:], strict=False):
            one["children"] = [{"name": following}]
        return yaml.safe_dump({"format": 1, "jobs": jobs})

    file.write_text(chain("a", "b", "c"))
    said = await apply(billing, file)
    assert said.count("linked job") == 2
    jobs = {one["name"]: one for one in (await billing.ok("GET", "/api/v1/jobs"))["items"]}
    assert [child["job"] for child in jobs["a"]["children"]] == [jobs["b"]["id"]]
    assert all(one["enabled"] for one in jobs.values())
    file.write_text(chain("c", "b", "a"))
    await apply(billing, file)
    jobs = {one["name"]: one for one in (await billing.ok("GET", "/api/v1/jobs"))["items"]}
    assert [child["job"] for child in jobs["b"]["children"]] == [jobs["a"]["id"]]
    assert jobs["a"]["children"] == []
    assert "0 to change" in await run(billing, "apply", file)


async def test_a_rename_is_asked_for(billing, tmp_path):
    made = await billing.job(name="old")
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"format": 1, "jobs": [{"id": made["id"], **a_job(name="new")}]}))
    said = await run(billing, "apply", file, "--dry-run")
    assert "1 to create" in said
    assert "with --rename it is changed instead" in said
    said = await apply(billing, file, "--rename")
    assert 'name: "old" -> "new"' in said
    assert (await billing.ok("GET", f"/api/v1/jobs/{made['id']}"))["name"] == "new"


async def test_what_no_document_names_goes_only_when_asked(full, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"format": 1, "apps": [{"appname": "billing", "title": "Billing"}]}))
    assert "0 to remove" in await run(full, "apply", file)
    said = await run(full, "apply", file, "--prune", "--dry-run")
    assert "6 to remove" in said
    assert "batch" not in said
    assert "fires, next 30 days: 30 before, 0 after" in said
    await apply(full, file, "--prune-all")
    assert (await full.ok("GET", "/api/v1/jobs"))["items"] == []
    assert [one["appname"] for one in (await full.ok("GET", "/api/v1/apps"))["items"]] == ["billing"]
    assert (await full.ok("GET", "/api/v1/calendars"))["items"] == []


# ------------------------------------------------------------ what goes wrong


async def test_all_that_is_wrong_is_told_and_nothing_is_done(full, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        """format: 1
apps:
- appname: new
  max_runing: 3
jobs:
- app: new
  name: a
  schedule: {kind: cron, expression: 0 0 25 * * ?}
  task: {handler: h}
- app: nobody
  name: b
  schedule: {kind: none}
  task: {handler: h}
  calendar: none-such
  children: [{name: c}]
- id: 5
  app: billing
  name: plain
  schedule: {kind: none}
  task: {handler: h}
"""
    )
    said = await run(full, "apply", file, "--yes", code=2)
    for expected in (
        f"{file}, line 3, apps[0] (new): max_runing: 3 is not valid: a known field; did you mean 'max_running'?",
        f'{file}, line 6, jobs[0] (a): schedule.expression: "0 0 25 * * ?" is not valid: ',
        f'{file}, line 10, jobs[1] (b): app: "nobody" is not valid: an app that is there',
        'jobs[1] (b): calendar: "none-such" is not valid: a calendar that is there',
        'jobs[1] (b): children[0]: {"name": "c"} is not valid: one job',
        "nothing was changed",
    ):
        assert expected in said, said
    assert "Traceback" not in said
    assert len((await full.ok("GET", "/api/v1/apps"))["items"]) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format: 2\n", "format: 2 is not valid: 1"),
        ("jobs: []\n", "format: null is not valid: 1"),
        ("format: 1\njob: []\n", "job: [] is not valid: a section: calendars, apps, jobs"),
        ("format: 1\njobs: {}\n", "jobs: {} is not valid: a list"),
        ("format: 1\n", "nothing is in there"),
        ("- 1\n", "a document that begins with `format: 1`"),
        ("format: 1\nformat: 1\n", "'format' stands twice, in line 1 and in line 2"),
        ("format: 1\njobs: [\n", "line 3, column 1: this is not YAML"),
        ("format: 1\njobs:\n- name: 5\n  app: a\n", "name: 5 is not valid: text"),
        ("format: 1\napps:\n- appname: a\n- appname: a\n", 'appname: "a" is not valid: each once'),
        (
            (
                "format: 1\njobs:\n- {app: billing, name: a, schedule: {kind: none}, task: {handler: h}, children: [{name: b}]}\n"
                "- {app: billing, name: b, schedule: {kind: none}, task: {handler: h}, children: [{name: a}]}\n"
            ),
            "a → b → a",
        ),
        (
            "format: 1\njobs:\n- {app: billing, name: twin, schedule: {kind: none}, task: {handler: h}}\n",
            "the id of one of the jobs of that app and name: 1, 2",
        ),
    ],
)
async def test_bad_documents(billing, tmp_path, text, expected):
    await billing.job(name="twin")
    await billing.job(name="twin")
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert expected in await run(billing, "apply", file, "--yes", code=2)


async def test_files_that_are_none(billing, tmp_path, monkeypatch):
    assert "no such file" in await run(billing, "apply", tmp_path / "x", code=2)
    (tmp_path / "empty").mkdir()
    assert "ends with .yaml" in await run(billing, "apply", tmp_path / "empty", code=2)
    latin = tmp_path / "l.yaml"
    latin.write_bytes("# é".encode("latin-1"))
    assert "UTF-8" in await run(billing, "apply", latin, code=2)
    assert "cannot be written" in await run(billing, "export", "--output", tmp_path / "no" / "x.yaml", code=2)
    monkeypatch.chdir(tmp_path)  # where it would write
    assert "'' is not valid: a file" in await run(billing, "export", "--output", "", code=2)


async def test_without_a_terminal_it_needs_a_yes(billing, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"format": 1, "jobs": [a_job()]}))
    assert "give --yes" in await run(billing, "apply", file, code=2)
    assert (await billing.ok("GET", "/api/v1/jobs"))["items"] == []
    result = await asyncio.to_thread(invoke, billing, "apply", "-", "--yes", "--json", text=file.read_text())
    assert (result.exit_code, json.loads(result.stdout)["create"]) == (0, 1)


async def test_what_somebody_changed_meanwhile_is_left_alone(billing, tmp_path):
    first, second = await billing.job(name="a"), await billing.job(name="b")
    file = tmp_path / "a.yaml"
    jobs = [a_job(name=name, priority=9) for name in ("a", "b")]
    file.write_text(yaml.safe_dump({"format": 1, "jobs": jobs}))
    changed = []

    async def intrude(request, handler):
        # The first change of `apply` is somebody else's chance.
        if request.method == "PATCH" and not changed:
            changed.append(request.path)
            answer = await handler(request)
            await change_behind(billing, second["id"])
            return answer
        return await handler(request)

    billing.intruders.append(intrude)
    said = await apply(billing, file, code=1)
    assert f"job {second['id']} is at version 2, not 1" in said
    assert "Done so far: 1" in said
    assert (await billing.ok("GET", f"/api/v1/jobs/{first['id']}"))["priority"] == 9
    assert (await billing.ok("GET", f"/api/v1/jobs/{second['id']}"))["priority"] == 3
    await apply(billing, file)
    assert (await billing.ok("GET", f"/api/v1/jobs/{second['id']}"))["priority"] == 9


async def test_what_somebody_made_meanwhile_is_not_made_again(billing, tmp_path):
    file = tmp_path / "a.yaml"
    jobs = [a_job(name=name) for name in ("a", "b")]
    file.write_text(yaml.safe_dump({"format": 1, "jobs": jobs}))
    made = []

    async def intrude(request, handler):
        # The same jobs come from somebody else, after the plan was made and before they are sent.
        if request.path.endswith("/jobs/batch") and not made:
            made.append(True)
            made.append(await billing.job(name="b"))
        return await handler(request)

    billing.intruders.append(intrude)
    said = await apply(billing, file, code=1)
    assert f"stopped: there is a job 'b' of this app already, job {made[1]['id']}. Done so far: 0" in said
    assert [one["name"] for one in (await billing.ok("GET", "/api/v1/jobs"))["items"]] == ["b"]
    assert "Plan: 1 to create, 0 to change, 0 to remove, 1 unchanged." in await apply(billing, file)


async def test_as_many_jobs_of_one_name_as_documents_have(billing, tmp_path):
    """Beside one that was there, and in more than one lot."""
    await billing.job()
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"format": 1, "jobs": [a_job() for _ in range(203)]}))
    assert "Plan: 202 to create, 0 to change, 0 to remove, 1 unchanged." in await apply(billing, file)
    assert "203 unchanged" in await apply(billing, file)
    assert len((await billing.ok("GET", "/api/v1/jobs?limit=500"))["items"]) == 203


async def change_behind(api, job_id):
    from dataclasses import replace

    job = await api.services.jobs.get(job_id)
    await api.services.jobs.update(replace(job, priority=3))
