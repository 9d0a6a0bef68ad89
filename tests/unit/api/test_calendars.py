"""Calendars through the API and the commands."""

from __future__ import annotations

import pytest

from tests.unit.api.conftest import a_job

CSV = "date\n2026-11-20\n2026-11-23\n2027-01-04\n"


async def a_calendar(api, name="workdays", days=("2026-11-20", "2026-11-23")):
    return await api.ok("POST", "/api/v1/calendars", {"name": name, "description": "d", "days": list(days)})


async def test_a_calendar_from_creation_to_deletion(api):
    made = await a_calendar(api, "工作日")
    assert (made["version"], made["count"], made["years"]) == (1, 2, [2026])
    assert made["days"] == {"2026": ["2026-11-20", "2026-11-23"]}
    path = "/api/v1/calendars/工作日"
    assert await api.ok("GET", path) == made
    assert await api.ok("PUT", path, {"description": "d", "days": made["days"]}) == made
    changed = await api.ok("PUT", path, {"file": CSV, "format": "csv"})
    assert (changed["version"], changed["description"], changed["years"]) == (2, "", [2026, 2027])
    await a_calendar(api, "b")
    first = await api.ok("GET", "/api/v1/calendars?limit=1")
    rest = await api.ok("GET", f"/api/v1/calendars?cursor={first['next_cursor']}")
    assert [(one["name"], one["days"]) for one in first["items"] + rest["items"]] == [
        ("b", None),
        ("工作日", None),
    ]
    assert (await api.call("DELETE", path))[0] == 204
    await api.problem(404, "GET", path)
    await api.problem(404, "DELETE", path)
    await api.problem(404, "PUT", path, {"days": []})
    assert (
        "already"
        in (await api.problem(409, "POST", "/api/v1/calendars", {"name": "b", "days": []}))["detail"]
    )


async def test_a_file_is_taken_as_it_is(api):
    await a_calendar(api)
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "text/csv"}
    url = api.url + "/api/v1/calendars/workdays"
    async with api.session.put(url, headers=headers, data=CSV.encode()) as answer:
        found = await answer.json()
    assert (answer.status, found["count"], found["description"]) == (200, 3, "d")
    for raw, value in ((b"2026-01-01\n2026-01-99\n", "line 2: 2026-01-99"), (b"2026-01-01\n\xff", "line 2")):
        async with api.session.put(url, headers=headers, data=raw) as answer:
            (error,) = (await answer.json(content_type=None))["errors"]
        assert (answer.status, error["field"], error["value"]) == (422, "file", value)
    assert (await api.ok("GET", "/api/v1/calendars/workdays"))["count"] == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"days": None}, "days"),
        ({"days": ["2026-02-30"]}, "days[0]"),
        ({"days": {"2026": {"2": [30]}}}, "days.2026.2[0]"),
        ({"file": "x", "format": "csv"}, "file"),
        ({"days": None, "file": "x"}, "format"),
        ({"days": None, "file": "x", "format": "xls"}, "format"),
        ({"days": None, "file": "2026-01-01\nx", "format": "csv"}, "file"),
    ],
)
async def test_what_a_calendar_may_not_be(api, change, field):
    body = {"name": "workdays", "days": [], **change}
    assert (await api.wrong("POST", "/api/v1/calendars", body))[0] == field
    assert (await api.ok("GET", "/api/v1/calendars"))["items"] == []


async def test_a_job_on_listed_days_only(billing):
    await a_calendar(billing)
    made = await billing.job(calendar="workdays")
    assert made["calendar"] == {"name": "workdays", "mode": "include"}
    assert made["next_fire"] == "2026-11-19T19:00:00.000+00:00"  # the 20th, 03:00 in Shanghai
    assert made["warnings"] == ["Calendar 'workdays' lists no day of 2027: nothing fires in that year."]
    path = f"/api/v1/jobs/{made['id']}"
    assert await billing.ok("PATCH", path, {"calendar": made["calendar"]}) == made
    found = await billing.ok("GET", f"{path}/preview")
    assert [one["time"][:10] for one in found["next"]] == ["2026-11-20", "2026-11-23"]
    changed = await billing.ok("PATCH", path, {"calendar": {"mode": "exclude"}})
    assert (changed["next_fire"], changed["warnings"]) == ("2026-11-18T19:00:00.000+00:00", [])
    body = {"schedule": made["schedule"], "calendar": "workdays"}
    found = await billing.ok("POST", "/api/v1/schedules/preview", body)
    assert [one["time"][:10] for one in found["next"]] == ["2026-11-20", "2026-11-23"]
    assert (await billing.ok("PATCH", path, {"calendar": None}))["calendar"] is None


async def test_a_change_of_the_calendar_moves_its_jobs(billing):
    await a_calendar(billing)
    made = await billing.job(calendar="workdays")
    other = await billing.job()
    billing.operations.changed_jobs.clear()
    path = "/api/v1/calendars/workdays"
    await billing.ok("PUT", path, {"description": "only words", "days": ["2026-11-20", "2026-11-23"]})
    assert billing.operations.changed_jobs == []
    await billing.ok("PUT", path, {"days": ["2026-11-25"]})
    assert billing.operations.changed_jobs == [made["id"]]
    now = await billing.ok("GET", f"/api/v1/jobs/{made['id']}")
    assert (now["next_fire"], now["version"]) == ("2026-11-24T19:00:00.000+00:00", 1)
    assert await billing.ok("GET", f"/api/v1/jobs/{other['id']}") == other
    await billing.ok("PUT", path, {"days": ["2020-01-01"]})
    over = await billing.ok("GET", f"/api/v1/jobs/{made['id']}")
    assert (over["state"], over["next_fire"]) == ("done", None)
    assert "never fires" in over["warnings"][0]
    assert "2026" in over["warnings"][1]


async def test_a_calendar_in_use_stays(billing):
    await a_calendar(billing)
    made = await billing.job(calendar="workdays")
    answer = await billing.problem(409, "DELETE", "/api/v1/calendars/workdays")
    assert f"jobs {made['id']} 'close the day'" in answer["detail"]
    await billing.call("DELETE", f"/api/v1/jobs/{made['id']}")
    assert (await billing.call("DELETE", "/api/v1/calendars/workdays"))[0] == 204


async def test_a_job_needs_a_calendar_that_exists(billing):
    expected = ("calendar.name", "holidays", "the name of a calendar that exists")
    assert await billing.wrong("POST", "/api/v1/jobs", a_job(calendar="holidays")) == expected
    jobs = {"jobs": [a_job(), a_job(calendar="holidays")]}
    assert (await billing.wrong("POST", "/api/v1/jobs/batch", jobs))[0] == "jobs[1].calendar.name"
    made = await billing.job()
    path = f"/api/v1/jobs/{made['id']}"
    assert await billing.wrong("PATCH", path, {"calendar": "holidays"}) == expected
    body = {"schedule": made["schedule"], "calendar": "holidays"}
    assert await billing.wrong("POST", "/api/v1/schedules/preview", body) == expected
    assert (await billing.wrong("PATCH", path, {"calendar": {"name": "x", "mode": "some"}}))[
        0
    ] == "calendar.mode"
    chained = a_job(schedule={"kind": "second_delay", "expression": 5}, calendar="x")
    assert (await billing.wrong("POST", "/api/v1/jobs", chained))[0] == "calendar.name"


async def test_one_of_that_name_before_is_forgotten(billing):
    await a_calendar(billing)
    made = await billing.job(calendar="workdays")
    await billing.call("DELETE", f"/api/v1/jobs/{made['id']}")
    await billing.call("DELETE", "/api/v1/calendars/workdays")
    billing.clock.ms += 1
    await a_calendar(billing, days=["2026-12-01"])
    assert (await billing.job(calendar="workdays"))["next_fire"] == "2026-11-30T19:00:00.000+00:00"


async def test_what_bounds_a_second_delay(billing):
    """Its next slot is told as it will be, and warnings as for other kinds."""
    await a_calendar(billing, days=["2026-12-01"])
    schedule = {"kind": "second_delay", "expression": 30, "timezone": "UTC"}
    night = [{"from": "00:00", "to": "06:00"}]
    job = await billing.job(schedule=schedule, calendar="workdays", exclusions=night, jitter_s=9)
    assert (job["next_fire"], job["state"]) == ("2026-12-01T06:00:00.000+00:00", "enabled")
    path = f"/api/v1/jobs/{job['id']}"
    preview = await billing.ok("GET", f"{path}/preview")
    (fire,) = preview["next"]
    assert fire["slot"] == "2026-12-01T06:00:00.000+00:00"
    assert 0 <= fire["time_ms"] - fire["slot_ms"] <= 9000
    assert ["2027" in warning for warning in preview["warnings"]] == [True]
    body = {"schedule": schedule, "window": {"start": "2026-12-24 10:00:00"}, "exclusions": night}
    (fire,) = (await billing.ok("POST", "/api/v1/schedules/preview", body))["next"]
    assert fire["slot"] == "2026-12-24T10:00:00.000+00:00"
    over = await billing.ok("PATCH", path, {"window": {"start": "2026-12-02 00:00:00"}})
    assert (over["next_fire"], over["state"]) == (None, "done")
    assert "never fires" in over["warnings"][0]
    assert await billing.wrong("PATCH", path, {"jitter_s": "25h"}) == ("jitter_s", 90000, "at most one day")


async def test_several_calendars(billing):
    """All of them must leave a day; one alone is told as before."""
    await a_calendar(billing, days=["2026-11-30", "2026-12-01", "2026-12-02"])
    await a_calendar(billing, name="holidays", days=["2026-12-01"])
    noon = {"kind": "cron", "expression": "0 0 12 * * ?", "timezone": "UTC"}
    uses = ["workdays", {"name": "holidays", "mode": "exclude"}]
    told = [{"name": "workdays", "mode": "include"}, {"name": "holidays", "mode": "exclude"}]
    body = {"schedule": noon, "calendar": uses, "count": 5}
    preview = await billing.ok("POST", "/api/v1/schedules/preview", body)
    assert [fire["slot"][:10] for fire in preview["next"]] == ["2026-11-30", "2026-12-02"]
    job = await billing.job(schedule=noon, calendar=uses)
    path = f"/api/v1/jobs/{job['id']}"
    assert (job["calendar"], job["next_fire"][:10]) == (told, "2026-11-30")
    same = await billing.ok("PATCH", path, {"calendar": job["calendar"]})
    assert same["version"] == job["version"]
    one = await billing.ok("PATCH", path, {"calendar": ["holidays"]})
    assert (one["calendar"], one["next_fire"][:10]) == ({"name": "holidays", "mode": "include"}, "2026-12-01")
    for calendar, field, expected in (
        (["workdays", "x"], "calendar[1].name", "the name of a calendar that exists"),
        (["workdays", "workdays"], "calendar[1].name", "each calendar once"),
        ([], "calendar", "at least 1 item"),
        ([{"name": "workdays", "mode": "some"}], "calendar[0].mode", "'include' or 'exclude'"),
        (["workdays"] * 11, "calendar", "at most 10 items"),
    ):
        assert (await billing.wrong("PATCH", path, {"calendar": calendar}))[::2] == (field, expected)


async def test_repeating_events_are_read_up_to_a_last_year(api):
    file = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20251225\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR"
    body = {"name": "xmas", "file": file, "format": "ics"}
    assert (await api.ok("POST", "/api/v1/calendars", body))["years"] == list(range(2025, 2037))
    path = "/api/v1/calendars/xmas"
    last = {"file": file, "format": "ics", "last_year": 2027}
    assert (await api.ok("PUT", path, last))["years"] == [2025, 2026, 2027]
    assert await api.wrong("PUT", path, {**last, "file": file.replace("YEARLY", "SECONDLY")}) == (
        "file",
        "line 4: RRULE:FREQ=SECONDLY",
        "FREQ=YEARLY, MONTHLY, WEEKLY or DAILY: a calendar lists days",
    )
    for wrong, field in (({"last_year": 9999}, "last_year"), ({"format": "csv"}, "last_year")):
        assert (await api.wrong("PUT", path, last | wrong))[0] == field
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "text/calendar"}
    async with api.session.put(api.url + path, headers=headers, data=file.encode()) as answer:
        assert (await answer.json())["count"] == 12
