"""The command line against the API: what it prints, where, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from gateway.core.model import LogPage
from gateway.core.reruns import Rerun
from tests.kit.process import free_port
from tests.unit.api.conftest import a_job

NOBODY = {"XXLJOB_GATEWAY_DATA_DIR": "/nonexistent", "XXLJOB_GATEWAY_TOKEN": "", "XXLJOB_GATEWAY_URL": ""}


def invoke(*args, text=None, env=None):
    return CliRunner().invoke(cli, list(map(str, args)), input=text, env={**NOBODY, **(env or {})})


@pytest.fixture
def run(api):
    """Run a command against the API: its output; the exit code must be 0."""

    async def call(*args, text=None, code=0):
        env = {"XXLJOB_GATEWAY_URL": api.url, "XXLJOB_GATEWAY_TOKEN": api.token}
        result = await asyncio.to_thread(invoke, *args, text=text, env=env)
        assert result.exit_code == code, result.output
        assert not isinstance(result.exception, BaseException) or isinstance(result.exception, SystemExit)
        if code == 0:
            return json.loads(result.stdout) if "--json" in args else result.stdout
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr

    return call


async def test_apps(run):
    await run("apps", "create", "billing", "--title", "结算")
    made = await run("apps", "create", "batch", "--address", "http://h:1/", "--json")
    assert made["address_mode"] == "manual"
    assert (await run("apps", "update", "batch", "--auto", "--title", "t", "--json"))["addresses"] == []
    lines = (await run("apps", "list")).splitlines()
    assert lines[0].split("  ")[0] == "APPNAME"
    assert "MAX RUNNING" in lines[0]
    limited = await run(
        "apps", "update", "batch", "--max-running", "5", "--starts-per-second", "0.5", "--json"
    )
    assert (limited["max_running"], limited["starts_per_second"]) == (5, 0.5)
    lifted = await run("apps", "update", "batch", "--max-running", "none", "--json")
    assert (lifted["max_running"], lifted["starts_per_second"]) == (None, 0.5)
    assert lines[1].startswith("billing  结算   auto")
    old = await run(
        *("apps", "update", "batch", "--address", "http://h:1/", "--dialect", "netcom16", "--int-log-ids"),
        *("--tokenless-from", "10.0.0.7", "--tokenless-from", "10.1.0.0/16", "--json"),
    )
    assert (old["dialect"], old["int_log_ids"]) == ("netcom16", True)
    assert old["tokenless_from"] == ["10.0.0.7/32", "10.1.0.0/16"]
    new = await run(
        *(
            "apps",
            "update",
            "batch",
            "--dialect",
            "none",
            "--tokenless-from",
            "none",
            "--long-log-ids",
            "--json",
        )
    )
    assert (new["dialect"], new["tokenless_from"], new["int_log_ids"]) == (None, [], False)
    assert ["appname", "batch"] in [
        line.split() for line in (await run("apps", "show", "batch")).splitlines()
    ]
    assert await run("apps", "executors", "batch") == "nothing found\n"
    await run("apps", "delete", "batch")
    assert "'batch'" in await run("apps", "show", "batch", code=2)


async def test_jobs(api, run, tmp_path):
    await run("apps", "create", "billing")
    made = await run(
        *("jobs", "create", "--app", "billing", "--name", "close the day", "--cron", "0 0 3 * * ?"),
        *(
            "--timezone",
            "Asia/Shanghai",
            "--handler",
            "closeDay",
            "--timeout",
            "5m",
            "--attempts",
            3,
            "--retry-intervals",
            "10s, 1m",
            "--json",
        ),
    )
    assert (made["timeout_s"], made["schedule"]["dialect"]) == (300, "quartz")
    assert (made["retry"]["max_attempts"], made["retry"]["intervals_s"]) == (3, [10, 60])
    other = await run(
        *("jobs", "create", "--app", "billing", "--name", "after", "--on-demand", "--handler", "h"),
        *("--child", f"{made['id']}:end", "--join", "all", "--shard", "eu=x=1", "--shard", "us", "--json"),
    )
    assert (other["children"], other["join"]) == ([{"job": made["id"], "on": "end"}], "all")
    assert other["shards"] == [{"name": "eu", "params": "x=1"}, {"name": "us", "params": None}]
    assert "--child" in await run("jobs", "update", other["id"], "--child", "after", code=2)
    assert (await run("jobs", "update", other["id"], "--child", "", "--json"))["children"] == []
    held = await run("jobs", "update", other["id"], "--hold-limit-on-lost", "--json")
    assert held["hold_limit_on_lost"] is True
    await run("jobs", "delete", other["id"])
    changed = await run("jobs", "update", made["id"], "--params", "x", "--cron", "0 4 * * *", "--json")
    assert (changed["schedule"]["timezone"], changed["task"]["handler"]) == ("Asia/Shanghai", "closeDay")
    assert "0 4 * * * (Asia/Shanghai)" in await run("jobs", "list", "--app", "billing", "--enabled")
    assert "enabled no" in " ".join((await run("jobs", "disable", made["id"])).split())
    assert "enabled yes" in " ".join((await run("jobs", "enable", made["id"])).split())
    assert (await run("jobs", "preview", made["id"], "--count", 1)).startswith("2026-11-19T04:00:00")
    assert (await run("jobs", "trigger", made["id"])).strip() == str(1 << 32)
    await run("jobs", "trigger", made["id"], "--params", "p", "--address", "http://h/", "--task-id", "t")
    assert api.operations.triggered[-1].wanted.addresses == ("http://h/",)
    assert "as run" in await run("jobs", "trigger", made["id"], "--task-id", "t", code=1)
    await run("jobs", "delete", made["id"])
    assert "job" in await run("jobs", "show", made["id"], code=2)


async def test_each_kind_of_schedule_has_an_option(run):
    await run("apps", "create", "billing")
    new = ("jobs", "create", "--app", "billing", "--name", "n", "--handler", "h")
    for options, shown in (
        (("--every", "40m", "--anchor", "2026-01-01 00:00:00"), "every 40m"),
        (("--interval", "15m", "--offset", "5m"), "every 15m"),
        (("--at", "2026-12-24 18:00:00", "--timezone", "GMT+8"), "2026-12-24 18:00:00 (GMT+8)"),
    ):
        made = await run(*new, *options, "--json")
        assert shown in await run("jobs", "list")
        changed = await run("jobs", "update", made["id"], "--every", "90s", "--json")
        assert (changed["schedule"]["anchor"], changed["schedule"]["offset"]) == (None, None)
    assert "one schedule here" in await run(*new, "--every", "1m", "--at", "5", code=2)


async def test_bounds_have_options(run):
    await run("apps", "create", "billing")
    made = await run(
        *("jobs", "create", "--app", "billing", "--name", "n", "--handler", "h", "--every", "1h", "--json"),
        *("--start", "2030-01-01 00:00:00", "--max-fires", 3, "--jitter", "30s"),
        *("--exclude", "22:00-06:00", "--exclude", "12:00-13:00 MON-FRI"),
    )
    assert (made["window"]["max_fires"], made["jitter_s"]) == (3, 30)
    assert [(one["from"], one["weekdays"]) for one in made["exclusions"]] == [
        ("22:00", None),
        ("12:00", "MON-FRI"),
    ]
    changed = await run(
        "jobs", "update", made["id"], "--end", "2031-01-01T00:00:00Z", "--exclude", "none", "--json"
    )
    assert (changed["window"]["start"], changed["exclusions"]) == (made["window"]["start"], [])
    shown = await run("jobs", "preview", made["id"], "--timezone", "GMT+8", "--from", "2029-06-01T00:00:00Z")
    assert "+08:00" in shown
    assert "22:00-06:00" in await run("jobs", "update", made["id"], "--exclude", "nights", code=2)


async def test_calendars(run, tmp_path):
    await run("apps", "create", "billing")
    file = tmp_path / "workdays.csv"
    file.write_text("date\n2026-11-20\n2026-11-23\n")
    made = await run("calendars", "create", "workdays", file, "--description", "d", "--json")
    assert (made["count"], made["description"]) == (2, "d")
    assert "11-20, 11-23" in await run("calendars", "show", "workdays")
    new = ("jobs", "create", "--app", "billing", "--name", "n", "--handler", "h", "--interval", "1h")
    job = await run(*new, "--calendar", "workdays", "--json")
    assert job["next_fire"].startswith("2026-11-20T00:00:00")
    changed = await run(
        "calendars", "replace", "workdays", "-", "--format", "json", "--json", text='["2026-12-01"]'
    )
    assert (changed["version"], changed["description"]) == (2, "d")
    assert "2026-12-01" in await run("jobs", "preview", job["id"])
    assert "used by the jobs" in await run("calendars", "delete", "workdays", code=1)
    assert "--format" in await run("calendars", "create", "x", "-", text="2026-01-01", code=2)
    file.write_text("2026-02-30")
    assert "line 1: 2026-02-30" in await run("calendars", "replace", "workdays", file, code=2)
    await run("calendars", "create", "holidays", "-", "--format", "json", text='["2026-12-02"]')
    several = ("jobs", "update", job["id"], "--calendar", "workdays", "--calendar", "holidays:exclude")
    both = await run(*several, "--json")
    assert "calendar.name" in await run("jobs", "update", job["id"], "--calendar-mode", "include", code=2)
    assert [one["mode"] for one in both["calendar"]] == ["include", "exclude"]
    assert "NAME:exclude" in await run(*several, "--calendar-mode", "include", code=2)
    one = await run(
        "jobs", "update", job["id"], "--calendar", "workdays", "--calendar-mode", "exclude", "--json"
    )
    assert one["calendar"] == {"name": "workdays", "mode": "exclude"}
    freed = await run("jobs", "update", job["id"], "--calendar", "none", "--json")
    assert freed["calendar"] is None
    await run("calendars", "delete", "workdays")
    yearly = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR"
    replaced = await run(
        "calendars", "replace", "holidays", "-", "--format", "ics", "--last-year", 2029, "--json", text=yearly
    )
    assert replaced["count"] == 4
    await run("calendars", "delete", "holidays")
    assert await run("calendars", "list") == "nothing found\n"


async def test_a_schedule_without_a_job(run):
    options = ("--cron", "0 0 3 * * ?", "--timezone", "GMT+8", "--from", "2026-12-01T00:00:00Z", "--count", 2)
    found = await run("schedules", "preview", *options, "--exclude", "00:00-12:00 WED", "--show-in", "UTC")
    assert found.split() == ["2026-12-02T19:00:00.000+00:00", "2026-12-03T19:00:00.000+00:00"]
    never = await run("schedules", "preview", *options, "--exclude", "00:00-24:00", "--json")
    assert (never["next"], len(never["warnings"])) == ([], 1)
    assert "schedule" in await run("schedules", "preview", code=2)


async def test_jobs_from_files(run, tmp_path):
    await run("apps", "create", "billing")
    one = tmp_path / "job.json"
    one.write_text(json.dumps(a_job()))
    made = await run("jobs", "create", "--file", one, "--name", "other", "--on-demand", "--json")
    assert (made["name"], made["schedule"]["kind"]) == ("other", "api")
    for text in (
        json.dumps([a_job()] * 3),
        "\n".join([json.dumps(a_job())] * 3),
        json.dumps({"jobs": [a_job()] * 3}),
    ):
        assert len((await run("jobs", "batch", "-", text=text)).split()) == 3
    assert "not JSON" in await run("jobs", "batch", "-", text="{nothing", code=2)


async def test_a_trigger_that_waits(api, run):
    await run("apps", "create", "billing")
    made = await api.job()
    from sqlalchemy import insert

    from gateway.core.states import RunState
    from gateway.store.tables import run as table

    async with api.db.write() as conn:
        row = {"job_id": made["id"], "app_id": 1, "due_ms": 1, "created_ms": 1, "root_id": 1 << 32}
        first = {"id": 1 << 32, "slot_key": 1, "state": RunState.RETRYING}
        second = {"id": (1 << 32) + 1, "slot_key": 1, "attempt": 2, "state": RunState.SUCCEEDED}
        await conn.execute(insert(table), [{"attempt": 1, **row, **first}, {**row, **second}])
    found = await run("jobs", "trigger", made["id"], "--wait", "--json")
    assert (found["attempt"], found["state"]) == (2, "succeeded")
    assert "succeeded" in await run("runs", "show", found["id"])
    assert "retrying" in await run("runs", "list", "--job", made["id"], "--state", "retrying")
    assert len(await run("runs", "list", "--json", "--limit", 1)) == 1


async def test_runs(api, run):
    api.operations.logs[5] = LogPage(1, 2, "first\nsecond\n", is_end=True)
    assert await run("runs", "log", 5, "--follow") == "first\nsecond\n"
    assert "also_stopped  6" in await run("runs", "stop", 5)
    assert "run 7" in await run("runs", "log", 7, code=2)


async def test_tokens(run):
    made = (await run("tokens", "create", "ci")).strip()
    assert made.startswith("xg_")
    assert "ci" in await run("tokens", "list")
    token_id = next(one["id"] for one in await run("tokens", "list", "--json") if one["name"] == "ci")
    await run("tokens", "revoke", token_id)
    assert "xg_" not in await run("tokens", "list")


async def test_health(api, run):
    from gateway.core.ports import Health

    assert await run("health") == "ready\n"
    api.operations.present = Health(problems=("the lease is lost",))
    env = {"XXLJOB_GATEWAY_URL": api.url}
    result = await asyncio.to_thread(invoke, "health", env=env)
    assert (result.exit_code, result.stdout) == (1, "not ready\nthe lease is lost\n")


async def test_bad_input_is_one_line_and_exit_code_2(run):
    await run("apps", "create", "billing")
    create = ("jobs", "create", "--app", "billing", "--name", "n", "--handler", "h")
    for args, expected in (
        ((*create, "--cron", "0 0 0 30 2 ?"), "schedule.expression: "),
        ((*create, "--every", "10", "--timeout", "-5"), 'timeout_s: "-5" is not valid: a duration'),
        ((*create, "--cron", "* * * * *", "--every", "5"), "--every: a job has one schedule"),
        (("jobs", "show", "x"), "'x' is not a valid integer"),
        (("jobs", "create", "--nmae", "x"), "No such option"),
        (("runs", "list", "--state", "asleep"), 'state: "asleep" is not valid'),
        (("apps", "create", "has blank"), "appname"),
        (("cron", "61 * * * *"), "EXPRESSION: "),
        (("cron", "* * * * *", "--tz", "Mars/X"), "--tz: 'Mars/X'"),
        (("cron", "* * * * *", "--from", "now"), "--from: 'now'"),
        (("cron",), "EXPRESSION: none given"),
        (("health", "--url", "localhost"), "--url: 'localhost'"),
        (("health", "--url", "http://h:99999"), "--url: "),
    ):
        assert expected in await run(*args, code=2)


async def test_a_wrong_token_says_how_to_give_one(api):
    for token in (("--token", "wrong"), ()):
        result = await asyncio.to_thread(invoke, "jobs", "list", "--url", api.url, *token)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "XXLJOB_GATEWAY_TOKEN" in result.stderr


async def test_the_token_in_the_data_directory_is_used(api, tmp_path):
    (tmp_path / "token").write_text(api.token + "\n")
    env = {"XXLJOB_GATEWAY_DATA_DIR": str(tmp_path), "XXLJOB_GATEWAY_URL": api.url}
    assert (await asyncio.to_thread(invoke, "jobs", "list", env=env)).exit_code == 0


def test_nobody_listens():
    result = invoke("jobs", "list", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "xxljob-gateway serve" in result.stderr


def test_cron_for_people():
    result = invoke(
        "cron", "0 0 12 ? * MON", "--tz", "Europe/Berlin", "--from", "2026-03-25T00:00:00Z", "--count", 2
    )
    assert result.stdout.splitlines() == [
        "quartz, Europe/Berlin",
        "2026-03-30T12:00:00+02:00",
        "2026-04-06T12:00:00+02:00",
    ]
    assert invoke("cron", "0 0 0 1 1 ? 2001").stdout.splitlines()[-1] == "never again"


def test_cron_for_programs():
    lines = '{"expr":"* * * * *","tz":"UTC","start_epoch":0,"count":2}\nnonsense\n'
    answers = [json.loads(line) for line in invoke("cron", "--jsonl", text=lines).stdout.splitlines()]
    assert answers[0] == {"valid": True, "next": [60, 120]}
    assert answers[1]["valid"] is False


def test_the_module_starts_without_the_server():
    code = "import sys, gateway.cli; print([m for m in ('aiohttp', 'sqlalchemy', 'pydantic') if m in sys.modules])"
    root = Path(__file__).resolve().parents[3]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert found.stdout == "[]\n"


def test_a_reader_that_goes_away():
    root = Path(__file__).resolve().parents[3]
    command = (
        f"{sys.executable} -m gateway cron '* * * * * ?' --count 10000 | head -1; exit ${{PIPESTATUS[0]}}"
    )
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=root)
    assert (found.stdout, found.stderr) == ("quartz, UTC\n", "")


async def test_limits_of_submissions(run):
    assert "per_second" in await run("tokens", "limit", 1)
    shown = await run("tokens", "limit", 1, "--per-second", 2.5, "--burst", 7, "--json")
    assert shown == {"per_second": 2.5, "burst": 7}
    await run("tokens", "limit", 1, "--none")
    assert (await run("tokens", "limit", 1, "--json"))["per_second"] is None
    assert "give --per-second" in await run("tokens", "limit", 1, "--burst", 7, code=2)
    assert "namespace" in await run("namespaces", "limit", "other", code=2)


async def test_failures(api, run):
    api.reruns.next_cursor = "more"
    await run("apps", "create", "billing")
    assert "nothing found" in await run("failures", "list", "--app", "billing", "--with-rerun")
    results = await run("failures", "redrive", 5, 7, "--without-children", "--json")
    assert results[0] == {"run_id": 5, "new_run_id": 6, "error": None}
    assert "1 of 1 were not run again" in await run("failures", "redrive", 6, "--whole", code=1)
    assert api.reruns.asked == [
        ("redrive", (5, 7), Rerun(children=False, only_failed=True)),
        ("redrive", (6,), Rerun(only_failed=False)),
    ]
    found = await run("failures", "redrive", "--all", "--app", "billing", "--state", "lost", "--json")
    assert [one["run_id"] for one in found] == [5, 5]  # two pages
    assert api.reruns.asked[-1][-1] == "more"
    assert "RUN_IDS" in await run("failures", "redrive", code=2)
    assert "RUN_IDS" in await run("failures", "redrive", 5, "--all", code=2)
    assert "has ended" in await run("runs", "rerun", 5, "--only-failed", code=1)
    assert api.reruns.asked[-1] == ("rerun", 5, Rerun(only_failed=True))
    assert "failed or was stopped" in await run("runs", "mark-succeeded", 5, "--reason", "r", code=1)


async def test_trigger_urls(run):
    await run("apps", "create", "billing")
    job_id = (
        await run(
            "jobs", "create", "--app", "billing", "--name", "a", "--on-demand", "--handler", "h", "--json"
        )
    )["id"]
    address = (
        await run("jobs", "trigger-urls", "create", job_id, "--method", "GET", "--cidr", "10.0.0.0/8")
    ).strip()
    assert "/t/" in address
    (listed,) = await run("jobs", "trigger-urls", "list", job_id, "--json")
    assert listed["restriction"]["cidrs"] == ["10.0.0.0/8"]
    assert "cidr 10.0.0.0/8" in await run("jobs", "trigger-urls", "list", job_id)
    again = (await run("jobs", "trigger-urls", "rotate", job_id, listed["id"])).strip()
    assert again != address
    changed = await run(
        "jobs", "trigger-urls", "change", job_id, listed["id"], "--domain", "a.example", "--json"
    )
    assert (changed["methods"], changed["restriction"]["kind"]) == (["POST"], "domain")
    both = ("--domain", "a.example", "--cidr", "10.0.0.0/8")
    assert "one restriction" in await run("jobs", "trigger-urls", "create", job_id, *both, code=2)
    assert "10.9.8.7:8081/t/" in await run("jobs", "trigger-urls", "create", job_id, "--private")
    await run("jobs", "trigger-urls", "delete", job_id, listed["id"])
    assert len(await run("jobs", "trigger-urls", "list", job_id, "--json")) == 1


async def test_a_job_with_envs_by_a_template(run):
    await run("apps", "create", "billing")
    fields = ("--app", "billing", "--name", "a", "--on-demand", "--handler", "h", "--template", "sae_job")
    made = await run("jobs", "create", *fields, "--env", "A=1", "--env", "B=x=y", "--json")
    assert made["task"]["envs"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}]
    assert (made["timeout_s"], made["retry"]["max_attempts"]) == (3600, 4)
    assert "NAME=VALUE" in await run("jobs", "create", *fields, "--env", "A", code=2)
