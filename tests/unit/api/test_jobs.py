"""Jobs and schedules through the API."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from gateway.core.contact import Contact
from gateway.core.submission import Submission
from gateway.store.tables import job
from tests.unit.api.conftest import a_job


async def test_a_job_from_creation_to_deletion(billing):
    made = await billing.job(timeout_s="2m", priority=7, retry={"max_attempts": 3}, max_concurrency=None)
    assert made["schedule"] == {
        "kind": "cron",
        "expression": "0 0 3 * * ?",
        "timezone": "Asia/Shanghai",
        "anchor": None,
        "anchor_ms": None,
        "offset": None,
        "misfire": "skip",
        "rule": None,
        "dialect": "quartz",
    }
    assert (made["app"], made["timeout_s"], made["misfire_after_s"], made["version"]) == (
        "billing",
        120,
        60,
        1,
    )
    assert made["next_fire"] == "2026-11-18T19:00:00.000+00:00"
    assert await billing.ok("GET", f"/api/v1/jobs/{made['id']}") == made
    assert (await billing.ok("GET", "/api/v1/jobs"))["items"] == [made]
    off = await billing.ok("POST", f"/api/v1/jobs/{made['id']}/disable")
    assert (off["enabled"], off["next_fire"], off["next_fire_ms"]) == (False, None, None)
    on = await billing.ok("POST", f"/api/v1/jobs/{made['id']}/enable", {})
    assert on["next_fire_ms"] == made["next_fire_ms"]
    assert (await billing.call("DELETE", f"/api/v1/jobs/{made['id']}"))[0] == 204
    await billing.problem(404, "GET", f"/api/v1/jobs/{made['id']}")
    assert billing.operations.changed_jobs == [made["id"]] * 4


async def test_how_long_its_runs_are_kept(billing):
    made = await billing.job(retention_days=7)
    path = f"/api/v1/jobs/{made['id']}"
    assert (await billing.ok("GET", path))["retention_days"] == 7
    assert (await billing.ok("PATCH", path, {"retention_days": None}))["retention_days"] is None


async def test_the_number_of_fields_tells_the_dialect(billing):
    for expression, dialect in (
        ("*/5 * * * *", "unix"),
        ("0 0 3 * * ?", "quartz"),
        ("0 0 3 * * ? 2030", "quartz"),
    ):
        made = await billing.job(schedule={"kind": "cron", "expression": expression})
        assert (made["schedule"]["dialect"], made["schedule"]["timezone"]) == (dialect, "UTC")


async def test_a_union_of_schedules(billing):
    both = [{"kind": "cron", "expression": "0 9 * * 1-5"}, {"kind": "fixed_rate", "expression": "6h"}]
    made = await billing.job(schedule=both)
    assert [one["dialect"] for one in made["schedule"]] == ["unix", None]
    assert made["next_fire_ms"] == billing.clock.ms + 6 * 3_600_000


def waits(job):
    return {
        name: value
        for name, value in job["retry"].items()
        if value not in (None, 0, ["failed", "lost", "timed_out"])
    }


async def test_waits_between_attempts(billing):
    made = await billing.job(retry={"intervals_s": ["500ms", 10, "1m"], "jitter": 0.5, "on": ["lost"]})
    assert waits(made) == {"max_attempts": 4, "intervals_s": [0.5, 10, 60], "jitter": 0.5, "on": ["lost"]}
    path = f"/api/v1/jobs/{made['id']}"
    assert await billing.ok("PATCH", path, {"retry": {"max_attempts": 4}}) == made
    changed = await billing.ok("PATCH", path, {"retry": {"intervals_s": None, "maximum_interval_s": "5m"}})
    assert waits(changed) == {
        "max_attempts": 4,
        "initial_interval_s": 30,
        "backoff_coefficient": 1,
        "maximum_interval_s": 300,
        "jitter": 0.5,
        "on": ["lost"],
    }
    assert waits(await billing.ok("PATCH", path, {"retry": None})) == {"max_attempts": 1}
    assert waits(await billing.job(retry={"max_attempts": 3, "initial_interval_s": 0})) == {"max_attempts": 3}


async def test_one_time_is_told_until_it_is_over(billing):
    made = await billing.job(
        schedule={"kind": "one_time", "expression": "2026-12-24 18:00:00", "timezone": "GMT+8"}
    )
    assert (made["state"], made["next_fire"]) == ("enabled", "2026-12-24T10:00:00.000+00:00")
    billing.clock.ms = made["next_fire_ms"] + 1
    path = f"/api/v1/jobs/{made['id']}"
    off = await billing.ok("POST", f"{path}/disable")
    assert (off["enabled"], off["state"]) == (False, "disabled")
    field, value, expected = await billing.wrong("POST", f"{path}/enable")
    assert (field, value) == ("schedule.expression", "2026-12-24T10:00:00.000+00:00")
    assert "in the future" in expected
    again = {"schedule": {"expression": "2026-12-25 18:00:00"}, "enabled": True}
    assert (await billing.ok("PATCH", path, again))["next_fire"] == "2026-12-25T10:00:00.000+00:00"
    off = {"kind": "one_time", "expression": 5}
    assert (await billing.job(schedule=off, enabled=False))["state"] == "disabled"


async def test_intervals_calendar_objects_and_anchors(billing):
    every = [
        {"kind": "interval", "expression": "1h", "offset": "7m"},
        {"kind": "calendar", "expression": {"dayOfWeek": "MON-FRI", "hour": [9, "12-15"], "comment": "x"}},
        {"kind": "fixed_rate", "expression": "40m", "anchor": "2026-11-18T12:00:00+00:00"},
    ]
    made = await billing.job(schedule=every)
    assert made["schedule"][0]["offset"] == "7m"
    assert (made["schedule"][1]["timezone"], made["schedule"][1]["dialect"]) == ("UTC", None)
    assert made["schedule"][2]["anchor"] == "2026-11-18T12:00:00.000+00:00"
    assert made["next_fire"] == "2026-11-18T11:07:00.000+00:00"
    path = f"/api/v1/jobs/{made['id']}"
    assert (await billing.ok("PATCH", path, {"schedule": made["schedule"]}))["version"] == 1
    found = await billing.ok("GET", f"{path}/preview?count=4")
    assert [one["time"][11:16] for one in found["next"]] == ["11:07", "12:00", "12:07", "12:40"]


async def test_a_fixed_rate_keeps_its_phase_while_others_come_and_go(billing):
    rate = {"kind": "fixed_rate", "expression": "10m"}
    made = await billing.job(schedule=rate)
    billing.clock.ms += 240_000
    path = f"/api/v1/jobs/{made['id']}"
    both = [rate, {"kind": "cron", "expression": "0 0 3 * * ?"}]
    assert (await billing.ok("PATCH", path, {"schedule": both}))["next_fire_ms"] == made["next_fire_ms"]
    moved = await billing.ok("PATCH", path, {"schedule": {"kind": "fixed_rate", "expression": "11m"}})
    assert moved["next_fire_ms"] == billing.clock.ms + 660_000


async def test_deadlines_and_grace(billing):
    made = await billing.job(deadline_s="10m", on_deadline="kill", lost_after_s="1h", hold_limit_on_lost=True)
    assert made["hold_limit_on_lost"] is True
    assert (made["deadline_s"], made["on_deadline"], made["lost_after_s"]) == (600, "kill", 3600)
    path = f"/api/v1/jobs/{made['id']}"
    assert await billing.ok("PATCH", path, {"deadline_s": 600, "lost_after_s": 3600}) == made
    changed = await billing.ok("PATCH", path, {"deadline_s": None, "lost_after_s": None})
    assert (changed["deadline_s"], changed["on_deadline"], changed["lost_after_s"]) == (None, "kill", 60)
    assert (await billing.ok("PATCH", path, {"hold_limit_on_lost": False}))["hold_limit_on_lost"] is False


async def test_named_shards(billing):
    shards = [{"name": "eu", "params": "x"}, {"name": "us", "params": None}]
    made = await billing.job(shards=[shards[0], {"name": "us"}])
    assert made["shards"] == shards
    path = f"/api/v1/jobs/{made['id']}"
    assert await billing.ok("PATCH", path, {"shards": shards}) == made
    field, value, expected = await billing.wrong("PATCH", path, {"route": "SHARDING_BROADCAST"})
    assert (field, value) == ("route", "SHARDING_BROADCAST")
    assert "another route" in expected
    assert (await billing.ok("PATCH", path, {"shards": None}))["shards"] == []


async def test_children(billing):
    one, two = [(await billing.job())["id"] for _ in range(2)]
    children = [{"job": two, "on": "failure"}, {"job": one}]
    made = await billing.job(children=children, join="all")
    assert (made["children"], made["join"]) == (
        [{"job": two, "on": "failure"}, {"job": one, "on": "success"}],
        "all",
    )
    path = f"/api/v1/jobs/{made['id']}"
    assert await billing.ok("PATCH", path, {"children": made["children"], "join": made["join"]}) == made
    changed = await billing.ok("PATCH", path, {"children": None, "join": None})
    assert (changed["children"], changed["join"]) == ([], "any")
    await billing.ok("PATCH", f"/api/v1/jobs/{one}", {"children": [{"job": two}]})
    field, value, expected = await billing.wrong(
        "PATCH", f"/api/v1/jobs/{two}", {"children": [{"job": made["id"]}, {"job": one}]}
    )
    assert (field, value) == ("children[1].job", one)
    assert f"a cycle of jobs, {two} → {one} → {two}" in expected
    assert (await billing.ok("GET", f"/api/v1/jobs/{two}"))["version"] == 1


BOUNDS = {
    "window": {"start": "2026-12-01 00:00:00", "end": "2027-01-01T00:00:00+08:00", "max_fires": 4},
    "exclusions": [
        {"from": "02:00", "to": "04:00", "weekdays": "SAT,SUN", "comment": "backup"},
        {"from": "2026-12-03 00:00:00", "to": "2026-12-05 00:00:00"},
    ],
    "jitter_s": "1m30s",
    "data_offset_s": "-1h",
}


async def test_bounds_of_a_schedule(billing):
    made = await billing.job(**BOUNDS)
    assert made["window"] == {
        "start": "2026-11-30T16:00:00.000+00:00",
        "start_ms": 1_796_054_400_000,
        "end": "2026-12-31T16:00:00.000+00:00",
        "end_ms": 1_798_732_800_000,
        "max_fires": 4,
    }
    assert [(one["from"], one["to"], one["weekdays"]) for one in made["exclusions"]] == [
        ("02:00", "04:00", "SAT,SUN"),
        ("2026-12-02T16:00:00.000+00:00", "2026-12-04T16:00:00.000+00:00", None),
    ]
    assert (made["jitter_s"], made["fired"], made["warnings"]) == (90, 0, [])
    path = f"/api/v1/jobs/{made['id']}"
    assert made["data_offset_s"] == -3600
    same = {name: made[name] for name in ("window", "exclusions", "jitter_s", "data_offset_s", "schedule")}
    assert await billing.ok("PATCH", path, same) == made
    found = await billing.ok("GET", f"{path}/preview?timezone=Asia/Shanghai&count=9")
    # The 5th and the 6th are a weekend, the 3rd and the 4th are excluded by name.
    assert [one["slot"][:16] for one in found["next"]] == [f"2026-12-{day:02}T03:00" for day in (1, 2, 7, 8)]
    assert all(0 <= one["time_ms"] - one["slot_ms"] <= 90_000 for one in found["next"])
    assert found["next"][0]["data_time"] == "2026-12-01T02:00:00.000+08:00"
    later = await billing.ok("GET", f"{path}/preview?from=2026-12-02T00:00:00Z")
    assert [one["slot"][8:10] for one in later["next"]] == ["07", "08"]
    less = {"window": {"max_fires": None, "end": None}, "exclusions": None, "jitter_s": None}
    changed = await billing.ok("PATCH", path, less)
    assert (changed["window"]["start"], changed["window"]["end"]) == (made["window"]["start"], None)
    assert (changed["exclusions"], changed["jitter_s"], changed["fired"]) == ([], 0, None)
    assert (await billing.ok("PATCH", path, {"window": None}))["window"] is None


async def test_a_kind_without_a_clock_gets_one_with_exclusions_and_keeps_its_phase(billing):
    made = await billing.job(schedule={"kind": "fixed_rate", "expression": "1h"})
    billing.clock.ms += 600_000
    path = f"/api/v1/jobs/{made['id']}"
    changed = await billing.ok("PATCH", path, {"exclusions": [{"from": "12:00", "to": "13:00"}]})
    assert changed["schedule"]["timezone"] == "UTC"
    assert changed["next_fire_ms"] == made["next_fire_ms"] + 3_600_000  # 12:06 is excluded
    again = await billing.ok("PATCH", path, {"exclusions": []})
    assert again["next_fire_ms"] == made["next_fire_ms"]


async def test_another_kind_keeps_nothing_of_the_old_one(billing):
    made = await billing.job(
        schedule={"kind": "interval", "expression": "15m", "offset": "5m", "timezone": "Asia/Tokyo"}
    )
    path = f"/api/v1/jobs/{made['id']}"
    changed = await billing.ok("PATCH", path, {"schedule": {"kind": "cron", "expression": "0 3 * * *"}})
    assert (changed["schedule"]["timezone"], changed["schedule"]["offset"]) == ("Asia/Tokyo", None)
    assert (await billing.ok("PATCH", path, {"schedule": {"kind": "api"}}))["schedule"]["expression"] is None
    assert (await billing.wrong("PATCH", path, {"schedule": {"kind": "fixed_rate"}}))[
        0
    ] == "schedule.expression"


async def test_another_way_to_wait_takes_the_place_of_the_old_one(billing):
    made = await billing.job(retry={"max_attempts": 4, "initial_interval_s": 5, "backoff_coefficient": 2})
    path = f"/api/v1/jobs/{made['id']}"
    listed = await billing.ok("PATCH", path, {"retry": {"intervals_s": [5, "1m"]}})
    assert waits(listed) == {"max_attempts": 4, "intervals_s": [5, 60]}
    grown = await billing.ok("PATCH", path, {"retry": {"initial_interval_s": 10}})
    assert waits(grown)["initial_interval_s"] == 10
    both = {"retry": {"intervals_s": [1], "initial_interval_s": 10}}
    assert (await billing.wrong("PATCH", path, both))[:2] == ("retry.initial_interval_s", 10)


async def test_a_number_of_places_alone_means_skip_in_a_change_as_well(billing):
    path = f"/api/v1/jobs/{(await billing.job())['id']}"
    changed = await billing.ok("PATCH", path, {"max_concurrency": 2})
    assert (changed["overlap"], changed["max_concurrency"]) == ("skip", 2)
    queue = await billing.ok("PATCH", path, {"overlap": "queue"})
    assert (queue["overlap"], queue["max_concurrency"]) == ("queue", 2)
    assert (await billing.ok("PATCH", path, {"max_concurrency": 3}))["overlap"] == "queue"


async def test_excluded_for_ever(billing):
    ever = [{"from": "2026-11-01 00:00:00", "to": "9999-12-31 23:59:59"}]
    made = await billing.job(schedule={"kind": "interval", "expression": "15m"}, exclusions=ever)
    assert (made["state"], made["next_fire"]) == ("done", None)
    late = {"start": "9999-12-31 23:59:59"}
    assert (await billing.job(window=late, name="late"))["state"] == "done"
    assert len((await billing.ok("GET", "/api/v1/jobs"))["items"]) == 2


async def test_a_schedule_that_its_bounds_leave_nothing_of_is_taken_with_a_warning(billing):
    whole = [{"from": "00:00", "to": "24:00"}]
    made = await billing.job(exclusions=whole)
    assert (made["state"], made["next_fire"]) == ("done", None)
    assert "never fires" in made["warnings"][0]
    found = await billing.ok("GET", f"/api/v1/jobs/{made['id']}/preview")
    assert (found["next"], found["warnings"]) == ([], made["warnings"])
    body = {"schedule": {"kind": "interval", "expression": 60}, "exclusions": whole}
    assert "never fires" in (await billing.ok("POST", "/api/v1/schedules/preview", body))["warnings"][0]


async def test_nothing_is_due_after_what_a_calendar_can_show(billing):
    """Beyond it no answer could show an instant, and a list with one such job would be lost to all."""
    every, last_ms = 3_155_760_000, 253_402_300_799_000
    late = {"kind": "interval", "expression": every, "offset": every - 1}
    made = await billing.job(schedule=late, window={"start": "9990-01-01 00:00:00"})
    assert (made["state"], made["next_fire"]) == ("done", None)
    once = {"kind": "one_time", "expression": "9999-12-28 12:00:00"}
    eve = await billing.job(schedule=once, jitter_s=86_400, data_offset_s=3_000_000)
    shown = await billing.ok("GET", f"/api/v1/jobs/{eve['id']}/preview?timezone=Asia/Shanghai")
    assert shown["next"][0]["data_time"].startswith("9999-12-31T")
    assert len((await billing.ok("GET", "/api/v1/jobs"))["items"]) == 2
    body = {"schedule": {"kind": "interval", "expression": "15m"}, "from": last_ms}
    found = await billing.ok("POST", "/api/v1/schedules/preview", body)
    assert (found["next"], len(found["warnings"])) == ([], 1)


async def test_a_preview_says_why_it_is_empty(billing):
    body = {"schedule": {"kind": "one_time", "expression": "2020-01-01 00:00:00"}}
    found = await billing.ok("POST", "/api/v1/schedules/preview", body)
    assert (found["next"], found["warnings"]) == (
        [],
        ["Its schedule has no instant after now: it never fires."],
    )


async def test_xxl_style_chooses_the_misfire_threshold(billing):
    assert (await billing.job(xxl_style=True))["misfire_after_s"] == 5
    assert (await billing.job(xxl_style=True, misfire_after_s=7))["misfire_after_s"] == 7


async def test_a_partial_update_leaves_the_rest(billing):
    made = await billing.job(retry={"max_attempts": 3}, description="d", misfire_after_s=9)
    path = f"/api/v1/jobs/{made['id']}"
    change = {"task": {"params": "y"}, "schedule": {"expression": "0 0 4 * * ?"}, "description": None}
    changed = await billing.ok("PATCH", path, change)
    assert changed["task"] == {**made["task"], "params": "y"}
    assert changed["schedule"] == {**made["schedule"], "expression": "0 0 4 * * ?"}
    assert (changed["description"], changed["retry"], changed["misfire_after_s"]) == ("", made["retry"], 9)
    assert changed["version"] == 2
    assert changed["next_fire"] == "2026-11-18T20:00:00.000+00:00"
    assert (await billing.ok("PATCH", path, {}))["version"] == 2
    answer = await billing.problem(409, "PATCH", path, {"name": "n", "version": 1})
    assert "version 2, not 1" in answer["detail"]
    assert (await billing.ok("PATCH", path, {"name": "n", "version": 2}))["name"] == "n"


async def test_what_a_get_answers_a_patch_takes(billing):
    made = await billing.job()
    change = {
        name: made[name] for name in ("schedule", "task", "retry", "route", "overlap", "max_concurrency")
    }
    assert (await billing.ok("PATCH", f"/api/v1/jobs/{made['id']}", change))["version"] == 1


async def test_a_source_gets_a_new_time_only_when_it_changes(billing):
    glue = {"glue_type": "GLUE_SHELL", "glue_source": "echo 1"}
    made = await billing.job(task=glue)
    path = f"/api/v1/jobs/{made['id']}"

    async def updated_ms():
        import json

        async with billing.db.read() as conn:
            return json.loads((await conn.execute(select(job.c.definition))).scalar())["task"][
                "glue_updated_ms"
            ]

    first = await updated_ms()
    billing.clock.ms += 1000
    await billing.ok("PATCH", path, {"name": "n"})
    assert await updated_ms() == first
    await billing.ok("PATCH", path, {"task": {"glue_source": "echo 2"}})
    assert await updated_ms() == first + 1000


WRONG = [
    ({"app": "nobody"}, "app", "an app that exists"),
    ({"name": ""}, "name", "at least 1"),
    ({"name": None}, "name", "string"),
    ({"schedule": {"kind": "cron", "expression": "0 0 0 30 2 ?"}}, "schedule.expression", "fires again"),
    ({"schedule": {"kind": "cron", "expression": "0 0 0 1 1 ? 2001"}}, "schedule.expression", "fires again"),
    ({"schedule": {"kind": "cron", "expression": "* *"}}, "schedule.expression", "it has 2 fields"),
    ({"schedule": {"kind": "cron", "expression": "0 61 * * * ?"}}, "schedule.expression", ""),
    (
        {"schedule": {"kind": "cron", "expression": "0 3 * * *", "timezone": "Mars/X"}},
        "schedule.timezone",
        "IANA",
    ),
    (
        {"schedule": {"kind": "cron", "expression": "0 3 * * *", "dialect": "quartz"}},
        "schedule.dialect",
        "5 fields",
    ),
    ({"schedule": {"kind": "fixed_rate", "expression": 0}}, "schedule.expression", "at least 1 s"),
    ({"schedule": {"kind": "second_delay", "expression": 0}}, "schedule.expression", "1 s to 7 days"),
    ({"schedule": {"kind": "second_delay", "expression": "8 days"}}, "schedule.expression", "1 s to 7 days"),
    (
        {"schedule": {"kind": "second_delay", "expression": 61, "rule": "schedulerx"}},
        "schedule.expression",
        "1 to 60 whole seconds",
    ),
    (
        {"schedule": {"kind": "second_delay", "expression": 5, "rule": "xxl"}},
        "schedule.rule",
        "'schedulerx'",
    ),
    (
        {"schedule": {"kind": "fixed_rate", "expression": 5, "rule": "schedulerx"}},
        "schedule.rule",
        "only the kind 'second_delay' has it",
    ),
    (
        {"schedule": [{"kind": "second_delay", "expression": 5}, {"kind": "fixed_rate", "expression": 5}]},
        "schedule[0].kind",
        "this one stands alone",
    ),
    ({"schedule": {"kind": "one_time"}}, "schedule.expression", "an instant"),
    (
        {"schedule": {"kind": "one_time", "expression": "2026-11-18 11:06:39", "timezone": "UTC"}},
        "schedule.expression",
        "an instant in the future: it is 2026-11-18T11:06:40.000+00:00 now",
    ),
    ({"schedule": {"kind": "cron", "expression": "0 3 * * *", "anchor": 1}}, "schedule.anchor", "fixed_rate"),
    (
        {"schedule": {"kind": "fixed_rate", "expression": 60, "anchor": 1, "anchor_ms": 2}},
        "schedule.anchor_ms",
        "the same instant",
    ),
    ({"schedule": {"kind": "interval", "expression": 60, "offset": 60}}, "schedule.offset", "less than"),
    ({"window": {"start": 2_000_000_000_000, "end": 2_000_000_000_000}}, "window.end", "after window.start"),
    ({"window": {"end": "2026-11-18 08:00:00"}}, "window.end", "in the future"),
    ({"window": {"start": "soon"}}, "window.start", "an instant"),
    ({"window": {"max_fires": 0}}, "window.max_fires", "greater than or equal to 1"),
    ({"window": {"till": 5}}, "window.till", "a known field: start, end, max_fires"),
    ({"exclusions": [{"from": "22:00", "to": "22:00"}]}, "exclusions[0].to", "a whole day"),
    ({"exclusions": [{"from": "22:00"}]}, "exclusions[0].to", "a value"),
    ({"exclusions": [{"from": 5, "to": 4}]}, "exclusions[0].to", "an instant after from"),
    ({"exclusions": [{"from": "1:00", "to": "2:00"}]}, "exclusions[0].from", "an instant"),
    ({"jitter_s": "25h"}, "jitter_s", "at most one day"),
    ({"jitter_s": -1}, "jitter_s", "not negative"),
    ({"data_offset_s": "-soon"}, "data_offset_s", "a duration"),
    ({"data_offset_s": "1500ms"}, "data_offset_s", "whole seconds"),
    (
        {"schedule": {"kind": "calendar", "expression": {"hour": 25}}},
        "schedule.expression.hour",
        "values from 0 to 23",
    ),
    ({"schedule": {"kind": "sometimes"}}, "schedule.kind", "'one_time', 'api' or 'none'"),
    ({"schedule": {"kind": "api", "misfire": "fire_some"}}, "schedule.misfire", "'fire_once' or 'fire_all'"),
    ({"misfire_window_s": 0}, "misfire_window_s", "greater than or equal to 1"),
    ({"misfire_window_s": "31 days"}, "misfire_window_s", "less than or equal to 2592000"),
    ({"misfire_max": 0}, "misfire_max", "greater than or equal to 1"),
    ({"misfire_max": 1001}, "misfire_max", "less than or equal to 1000"),
    ({"schedule": {"kind": "api", "cron": "x"}}, "schedule.cron", "a known field: kind, expression"),
    ({"schedule": [{"kind": "api"}, {"kind": "one_time"}]}, "schedule[1].expression", "an instant"),
    ({"schedule": []}, "schedule", "at least 1 item"),
    ({"schedule": "0 3 * * *"}, "schedule", "a JSON object"),
    ({"task": {"params": "x"}}, "task.handler", "BEAN needs one"),
    ({"task": {"handler": "h", "glue_type": "GLUE_SHELL"}}, "task.glue_source", "GLUE_SHELL needs it"),
    ({"task": {"handler": "h", "kind": "http"}}, "task.kind", "'xxl'"),
    ({"task": {"handler": "h", "param": "x"}}, "task.param", "did you mean 'params'?"),
    ({"route": "NEAREST"}, "route", "'FIRST'"),
    ({"block_strategy": "QUEUE"}, "block_strategy", "SERIAL_EXECUTION"),
    ({"schedule": {"kind": "fixed_rate", "expression": True}}, "schedule.expression", "or a valid integer"),
    ({"alert": {"mail": "a@b"}}, "alert", "not supported yet"),
    ({"overlap": "wait"}, "overlap", "'allow', 'skip', 'queue' or 'replace'"),
    ({"overlap": "allow", "max_concurrency": 1}, "max_concurrency", "null with overlap 'allow'"),
    ({"overlap": "skip", "max_concurrency": 0}, "max_concurrency", "greater than or equal to 1"),
    ({"overlap": "skip", "queue_limit": 5}, "queue_limit", "null unless overlap is 'queue'"),
    ({"overlap": "queue", "queue_limit": 0}, "queue_limit", "greater than or equal to 1"),
    ({"priority": 16}, "priority", "less than or equal to 15"),
    ({"ttl_s": -1}, "ttl_s", "not negative"),
    ({"deadline_s": -5}, "deadline_s", "not negative"),
    ({"deadline_s": "31 days"}, "deadline_s", "less than or equal to 2592000"),
    ({"deadline_s": "1500ms"}, "deadline_s", "whole seconds"),
    ({"on_deadline": "stop"}, "on_deadline", "'alert' or 'kill'"),
    ({"lost_after_s": 29}, "lost_after_s", "greater than or equal to 30"),
    ({"hold_limit_on_lost": "perhaps"}, "hold_limit_on_lost", "boolean"),
    ({"timeout_s": -1}, "timeout_s", "not negative"),
    ({"timeout_s": "soon"}, "timeout_s", "a duration"),
    ({"timeout_s": "1500ms"}, "timeout_s", "whole seconds"),
    ({"timeout_s": 3_000_000_000}, "timeout_s", "32 bits"),
    ({"timeout_s": float("nan")}, "timeout_s", "a duration"),
    ({"name": "a\0b"}, "name", "without NUL"),
    ({"name": ""}, "name", "at least 1 character"),
    ({"description": "\0"}, "description", "without NUL"),
    ({"task": {"handler": "h", "params": "\0"}}, "task.params", "without NUL"),
    ({"task": {"handler": "a\0b"}}, "task.handler", "without NUL"),
    ({"task": {"glue_type": "GLUE_SHELL", "glue_source": "a\0b"}}, "task.glue_source", "without NUL"),
    ({"retention_days": 0}, "retention_days", "greater than or equal to 1"),
    ({"retention_days": 4000}, "retention_days", "less than or equal to 3650"),
    ({"misfire_after_s": -5}, "misfire_after_s", "not negative"),
    ({"retry": {"max_attempts": 0}}, "retry.max_attempts", "greater than or equal to 1"),
    (
        {"retry": {"max_attempts": 2, "initial_interval_s": 5, "intervals_s": [1]}},
        "retry.initial_interval_s",
        "intervals_s gives all waits",
    ),
    (
        {"retry": {"max_attempts": 99, "initial_interval_s": "1h", "backoff_coefficient": 2}},
        "retry.maximum_interval_s",
        "a maximum: without one, attempt 12 of 99 would wait for more than 30 days",
    ),
    ({"retry": {"maximum_interval_s": 1, "initial_interval_s": "2s"}}, "retry.maximum_interval_s", "is 2 s"),
    ({"retry": {"intervals_s": [1, "31 days"]}}, "retry.intervals_s[1]", "at most 30 days"),
    ({"retry": {"intervals_s": []}}, "retry.intervals_s", "at least 1 item"),
    ({"retry": {"intervals_s": ["soon"]}}, "retry.intervals_s[0]", "a duration"),
    ({"retry": {"initial_interval_s": -1}}, "retry.initial_interval_s", "not negative"),
    ({"retry": {"backoff_coefficient": 0.5}}, "retry.backoff_coefficient", "greater than or equal to 1"),
    ({"retry": {"jitter": 2}}, "retry.jitter", "less than or equal to 1"),
    ({"retry": {"on": ["stopped"]}}, "retry.on[0]", "'failed', 'timed_out' or 'lost'"),
    ({"retry": {"on": []}}, "retry.on", "at least 1 item"),
    ({"retry": {"max_attempts": "2"}}, "retry.max_attempts", "integer"),
    ({"shards": [{"name": "a"}, {"name": "a", "params": "x"}]}, "shards", "'a' is there twice"),
    ({"shards": [{"name": ""}]}, "shards[0].name", "at least 1 character"),
    ({"shards": [{"name": "a", "params": 5}]}, "shards[0].params", "string"),
    ({"shards": [{"name": str(n)} for n in range(1001)]}, "shards", "at most 1000 items"),
    ({"children": [{"job": 77}]}, "children[0].job", "the id of a job that exists"),
    ({"children": [{"job": 0}]}, "children[0].job", "greater than or equal to 1"),
    ({"children": [{"job": "1"}]}, "children[0].job", "integer"),
    ({"children": [{"job": 1, "on": "stop"}]}, "children[0].on", "'success', 'failure' or 'end'"),
    ({"children": [{"job": 1}, {"job": 1, "on": "failure"}]}, "children", "1 is there twice"),
    ({"children": [{"job": n} for n in range(1, 102)]}, "children", "at most 100 items"),
    ({"join": "some"}, "join", "'any' or 'all'"),
    ({"guarantee": "exactly_once"}, "guarantee", "'at_most_once' or 'at_least_once'"),
    ({"priority": 0}, "priority", "greater than or equal to 1"),
    ({"enabled": "yes"}, "enabled", "boolean"),
    ({"shedule": {}}, "shedule", "did you mean 'schedule'?"),
]


@pytest.mark.parametrize(("change", "field", "expected"), WRONG)
async def test_what_a_job_may_not_be(billing, change, field, expected):
    found, _, text = await billing.wrong("POST", "/api/v1/jobs", a_job(**change))
    assert found == field
    assert expected in text
    assert (await billing.ok("GET", "/api/v1/jobs"))["items"] == []


@pytest.mark.parametrize(
    ("change", "field", "expected"), [one for one in WRONG if None not in one[0].values()]
)
async def test_what_a_job_may_not_become(billing, change, field, expected):
    made = await billing.job(schedule={"kind": "api"}, task={"glue_type": "BEAN", "handler": "h"})
    if field == "task.handler" and not change["task"].get("handler"):
        change = {"task": {"handler": None}}
    found, _, text = await billing.wrong("PATCH", f"/api/v1/jobs/{made['id']}", change)
    assert found == field
    assert (expected in text) or field == "app"
    assert await billing.ok("GET", f"/api/v1/jobs/{made['id']}") == made


async def test_all_wrong_fields_are_named_at_once(billing):
    answer = await billing.problem(422, "POST", "/api/v1/jobs", {"app": "billing", "timeout_s": -1})
    assert [one["field"] for one in answer["errors"]] == ["name", "schedule", "task", "timeout_s"]
    assert answer["errors"][0]["expected"] == "a value: it is required"
    assert "3 more" in answer["detail"]


async def test_an_unknown_job(billing):
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/disable"),
        ("GET", "/preview"),
    ):
        for job_id in (404, 99_999_999_999):
            answer = await billing.problem(
                404, method, f"/api/v1/jobs/{job_id}{path}", {} if method == "PATCH" else None
            )
            assert str(job_id) in answer["detail"]
    field, value, expected = await billing.wrong("GET", "/api/v1/jobs/abc")
    assert (field, value, expected) == ("job_id", "abc", "a whole number")


async def test_a_job_cannot_move_to_another_app(billing):
    await billing.app("other")
    made = await billing.job()
    field, value, expected = await billing.wrong("PATCH", f"/api/v1/jobs/{made['id']}", {"app": "other"})
    assert (field, value) == ("app", "other")
    assert "cannot move" in expected


async def test_jobs_filtered_and_in_pages(billing):
    ids = [(await billing.job(name=f"night {n}", enabled=n > 0))["id"] for n in range(3)]
    first = await billing.ok("GET", "/api/v1/jobs?limit=2&app=billing&name=NIGHT")
    rest = await billing.ok("GET", f"/api/v1/jobs?limit=2&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["items"] + rest["items"]] == ids
    assert rest["next_cursor"] is None
    assert [one["id"] for one in (await billing.ok("GET", "/api/v1/jobs?enabled=false"))["items"]] == ids[:1]


# ---------------------------------------------------------------- batch


async def test_a_batch(billing):
    jobs = [a_job(name=f"n{n}", schedule={"kind": "fixed_rate", "expression": 10}) for n in range(250)]
    answer = await billing.ok("POST", "/api/v1/jobs/batch", {"jobs": jobs})
    assert len(set(answer["ids"])) == 250
    assert billing.operations.changed_jobs == answer["ids"]
    assert (await billing.ok("GET", f"/api/v1/jobs/{answer['ids'][249]}"))["name"] == "n249"


async def test_ids_of_a_batch(billing):
    bodies = [a_job(), a_job(), a_job()]
    made = await billing.ok("POST", "/api/v1/jobs/batch", {"jobs": bodies, "ids": [70, None, 9]})
    assert (made["ids"][0], made["ids"][2]) == (70, 9)
    assert made["ids"][1] > 70
    for ids, expected in (
        ([1], ("ids", [1], "a list of 3, one for each job")),
        ([1, 2, 1], ("ids[2]", 1, "each id once")),
        ([1, True, 3], ("ids[1]", True, "a number from 1 to 1073741824, or null")),
        ([1, 2, 1 << 31], ("ids[2]", 1 << 31, "a number from 1 to 1073741824, or null")),
    ):
        assert await billing.wrong("POST", "/api/v1/jobs/batch", {"jobs": bodies, "ids": ids}) == expected


async def test_a_batch_that_is_sent_twice_is_made_once(billing):
    batch = {"jobs": [a_job(name="new"), a_job()], "ids": [7, None], "known": []}
    made = await billing.ok("POST", "/api/v1/jobs/batch", batch)
    answer = await billing.problem(409, "POST", "/api/v1/jobs/batch", batch)
    assert answer["detail"] == "there is a job 'new' of this app already, job 7"
    more = {"jobs": [a_job(name="new"), a_job(name="newer")], "known": made["ids"]}
    assert len((await billing.ok("POST", "/api/v1/jobs/batch", more))["ids"]) == 2
    assert (await billing.problem(409, "POST", "/api/v1/jobs/batch", more))["status"] == 409
    for known, expected in (
        (7, ("known", 7, "a list of at most 10000 ids, or null")),
        ([1] * 10_001, ("known", "10001 items", "a list of at most 10000 ids, or null")),
        ([7, "8"], ("known[1]", "8", "the id of a job")),
    ):
        body = {"jobs": [a_job(name="newest")], "known": known}
        assert await billing.wrong("POST", "/api/v1/jobs/batch", body) == expected
    assert len((await billing.ok("GET", "/api/v1/jobs"))["items"]) == 4


async def test_a_batch_is_refused_as_a_whole(billing):
    for bad, field in (
        ({"timeout_s": -1}, "jobs[1].timeout_s"),
        ({"app": "nobody"}, "jobs[1].app"),
        ({"schedule": {"kind": "cron", "expression": "0 0 0 30 2 ?"}}, "jobs[1].schedule.expression"),
        ({"task": {"handler": "h", "glue": 1}}, "jobs[1].task.glue"),
    ):
        found, _, _ = await billing.wrong("POST", "/api/v1/jobs/batch", {"jobs": [a_job(), a_job(**bad)]})
        assert found == field
    assert (await billing.ok("GET", "/api/v1/jobs"))["items"] == []


async def test_a_batch_of_ten_thousand_and_one(billing):
    field, value, expected = await billing.wrong("POST", "/api/v1/jobs/batch", {"jobs": [{}] * 10_001})
    assert (field, value, expected) == ("jobs", "10001 items", "at most 10000 items")


async def test_a_batch_that_is_none(billing):
    for body in ({}, {"jobs": []}, {"jobs": {}}, {"jobs": [a_job()], "mode": 1}):
        await billing.wrong("POST", "/api/v1/jobs/batch", body)
    assert (await billing.wrong("POST", "/api/v1/jobs/batch", {"jobs": [5]}))[0] == "jobs[0]"


# ---------------------------------------------------------------- trigger


async def test_a_trigger_answers_with_the_run_id(billing):
    path = f"/api/v1/jobs/{(await billing.job())['id']}/trigger"
    assert await billing.call("POST", path) == (202, {"run_id": 1 << 32})
    assert await billing.call("POST", path, {}) == (202, {"run_id": (1 << 32) + 1})
    body = {"params": "p", "task_id": "t1", "addresses": ["http://h:1/"], "run_at": None}
    assert (await billing.call("POST", path, body))[0] == 202
    plain, _, full = billing.operations.triggered
    assert plain.wanted == Submission()
    assert full.wanted == Submission("p", ("http://h:1/",), "t1")


async def test_a_task_id_runs_once(billing):
    path = f"/api/v1/jobs/{(await billing.job())['id']}/trigger"
    first = await billing.ok("POST", path, {"task_id": "t1"})
    answer = await billing.problem(409, "POST", path, {"task_id": "t1"})
    assert answer["run_id"] == first["run_id"]


async def test_an_unknown_job_is_not_triggered(billing):
    billing.operations.known_jobs = set()
    assert "7" in (await billing.problem(404, "POST", "/api/v1/jobs/7/trigger"))["detail"]


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"run_at": "tomorrow"}, "run_at", "ISO 8601"),
        ({"run_at": 1, "delay_s": 5}, "delay_s", "run_at says when"),
        ({"delay_s": -1}, "delay_s", "not negative"),
        ({"delay_s": "367 days"}, "delay_s", "at most 366 days"),
        ({"ttl_s": 0}, "ttl_s", "more than 0"),
        ({"ttl_s": "400 days"}, "ttl_s", "at most 366 days"),
        ({"priority": 0}, "priority", "greater than or equal to 1"),
        ({"priority": 16}, "priority", "less than or equal to 15"),
        ({"priority": "high"}, "priority", "integer"),
        ({"task_id": "a\n"}, "task_id", "without control characters"),
        ({"task_id": "a "}, "task_id", "without blanks at its ends"),
        ({"task_id": "run-7"}, "task_id", "another name"),
        ({"task_id": "x" * 129}, "task_id", "at most 128"),
        ({"addresses": ["10.0.0.1:9999"]}, "addresses[0]", "http://"),
        ({"addresses": ["http://h:1/?x=1"]}, "addresses[0]", "without a query"),
        ({"addresses": []}, "addresses", "at least 1"),
        ({"task_id": ""}, "task_id", "at least 1"),
        ({"params": {"a": 1}}, "params", "string"),
        ({"param": "x"}, "param", "did you mean 'params'?"),
        ([], "body", "a JSON object"),
    ],
)
async def test_what_a_trigger_may_not_be(billing, body, field, expected):
    found, _, text = await billing.wrong("POST", "/api/v1/jobs/1/trigger", body)
    assert found == field
    assert expected in text
    assert billing.operations.triggered == []


# ---------------------------------------------------------------- preview


async def test_the_preview_of_a_job(billing):
    made = await billing.job()
    found = await billing.ok("GET", f"/api/v1/jobs/{made['id']}/preview?count=2")
    assert found["timezone"] == "Asia/Shanghai"
    assert [one["time"] for one in found["next"]] == [
        "2026-11-19T03:00:00.000+08:00",
        "2026-11-20T03:00:00.000+08:00",
    ]
    assert found["next"][0]["time_ms"] == made["next_fire_ms"]


async def test_the_preview_of_a_schedule(api):
    body = {
        "schedule": {"kind": "cron", "expression": "0 0 0 1 1 ? 2030-2031", "timezone": "Europe/Berlin"},
        "from": "2030-06-01T00:00:00+02:00",
        "count": 5,
    }
    found = await api.ok("POST", "/api/v1/schedules/preview", body)
    assert [one["time"] for one in found["next"]] == ["2031-01-01T00:00:00.000+01:00"]
    assert found["schedule"]["dialect"] == "quartz"
    assert (await api.ok("POST", "/api/v1/schedules/preview", {"schedule": {"kind": "api"}}))["next"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": "2030-06-01T00:00:00"}, "from"),
        ({"from": "tomorrow"}, "from"),
        ({"from": -1}, "from"),
        ({"count": 1001}, "count"),
        ({"timezone": "Mars"}, "timezone"),
        ({"jitter_s": "2 days"}, "jitter_s"),
        ({"exclusions": [{"from": "06:00", "to": 5}]}, "exclusions[0].to"),
        ({"schedule": {"kind": "cron", "expression": "nonsense"}}, "schedule.expression"),
    ],
)
async def test_what_cannot_be_previewed(api, change, field):
    body = {"schedule": {"kind": "cron", "expression": "0 3 * * *"}, **change}
    assert (await api.wrong("POST", "/api/v1/schedules/preview", body))[0] == field


async def test_a_preview_count_out_of_range(billing):
    made = await billing.job()
    field, value, expected = await billing.wrong("GET", f"/api/v1/jobs/{made['id']}/preview?count=0")
    assert (field, value) == ("count", "0")
    assert "greater than or equal to 1" in expected


# ---------------------------------------------------------------- templates


async def test_the_defaults_of_a_schedulerx_job(billing):
    made = await billing.job(template="schedulerx")
    assert (made["overlap"], made["max_concurrency"], made["priority"], made["enabled"]) == (
        "skip",
        1,
        5,
        True,
    )
    assert (made["deadline_s"], made["on_deadline"], made["timeout_s"]) == (7200, "alert", 0)
    assert (made["retry"]["max_attempts"], made["retry"]["initial_interval_s"]) == (1, None)
    own = {"retry": {"max_attempts": 3}, "deadline_s": None, "overlap": "queue", "max_concurrency": 2}
    made = await billing.job(template="schedulerx", **own)
    assert (made["retry"]["max_attempts"], made["retry"]["initial_interval_s"]) == (3, 30)
    assert (made["overlap"], made["max_concurrency"], made["deadline_s"]) == ("queue", 2, None)
    delay = {"kind": "second_delay", "expression": 61}
    body = a_job(template="schedulerx", schedule=delay)
    assert (await billing.wrong("POST", "/api/v1/jobs", body))[0] == "schedule.expression"


async def test_the_defaults_of_an_sae_job(billing):
    made = await billing.job(template="sae_job")
    assert (made["timeout_s"], made["retry"]["max_attempts"], made["overlap"]) == (3600, 4, "allow")
    own = await billing.job(template="sae_job", timeout_s=0, retry={"max_attempts": 11}, overlap="replace")
    assert (own["timeout_s"], own["retry"]["max_attempts"], own["overlap"]) == (0, 11, "replace")
    listed = await billing.job(template="sae_job", retry={"intervals_s": [5]}, overlap="skip")
    assert listed["retry"]["max_attempts"] == 2
    changed = await billing.ok("PATCH", f"/api/v1/jobs/{made['id']}", {"timeout_s": 700_000})
    assert (changed["timeout_s"], changed["retry"]["max_attempts"]) == (700_000, 4)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timeout_s": 604_801}, "timeout_s"),
        ({"retry": {"max_attempts": 12}}, "retry.max_attempts"),
        ({"template": "sae"}, "template"),
        ({"overlap": "queue"}, "overlap"),
    ],
)
async def test_what_an_sae_job_may_not_be(billing, change, field):
    assert (await billing.wrong("POST", "/api/v1/jobs", a_job(**({"template": "sae_job"} | change))))[
        0
    ] == field


async def test_a_change_keeps_what_only_other_surfaces_say(billing):
    made = await billing.job()
    job = await billing.services.jobs.get(made["id"])
    await billing.services.jobs.update(replace(job, contact=Contact("alice", "a@example.com")))
    await billing.ok("PATCH", f"/api/v1/jobs/{made['id']}", {"name": "other"})
    assert (await billing.services.jobs.get(made["id"])).contact == Contact("alice", "a@example.com")
