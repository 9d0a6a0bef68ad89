"""On whose clock jobs are read: given, found, or assumed, and always said."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from importer.plan.zones import known_zone
from importer.source.values import QuartzState, SourceJob
from tests.kit.source_rows import NOW_MS, installation, job, plan, told

E1 = {"first": (1, 9, 2), "last": (2, 0, 1)}


def fired_in(job_id: int, zone: str | None, state: str = "WAITING") -> SourceJob:
    quartz = QuartzState(state, "0 0 2 * * ?", zone)
    return job(
        job_id, schedule_type=None, schedule_conf=None, cron="0 0 2 * * ?", trigger_status=None, quartz=quartz
    )


def test_assumed() -> None:
    made = plan(installation(job()))
    assert (made.timezone, made.timezone_from) == ("Asia/Shanghai", "assumed")
    assert "--timezone" in told(made, "installation", "timezone")[0].why


def test_given() -> None:
    made = plan(installation(job()), timezone="America/New_York")
    assert (made.timezone, made.timezone_from, made.findings) == ("America/New_York", "given", ())
    assert made.jobs[0].job.schedule["timezone"] == "America/New_York"  # type: ignore[call-overload]


def test_found_in_the_triggers() -> None:
    made = plan(
        installation(fired_in(1, "Asia/Tokyo"), fired_in(2, "Asia/Tokyo"), **E1, timezones=("Asia/Tokyo",))
    )
    assert (made.timezone, made.timezone_from) == ("Asia/Tokyo", "found in Quartz's tables")


def test_several_found_each_job_keeps_its_own() -> None:
    jobs = (fired_in(1, "Asia/Tokyo"), fired_in(2, "UTC"), fired_in(3, "Asia/Tokyo"))
    made = plan(installation(*jobs, **E1))
    assert made.timezone == "Asia/Tokyo"
    assert [one.job.schedule["timezone"] for one in made.jobs] == ["Asia/Tokyo", "UTC", "Asia/Tokyo"]  # type: ignore[call-overload]
    assert "several time zones" in told(made, "installation", "TIME_ZONE_ID")[0].why


def test_given_counts_before_what_was_found() -> None:
    made = plan(installation(fired_in(1, "Asia/Tokyo"), **E1), timezone="Asia/Shanghai")
    assert made.jobs[0].job.schedule["timezone"] == "Asia/Shanghai"  # type: ignore[call-overload]
    assert told(made, "installation", "TIME_ZONE_ID")[0].value == "Asia/Tokyo"


def test_a_name_that_nobody_knows() -> None:
    made = plan(installation(fired_in(1, "Mars/Olympus"), **E1))
    assert (made.timezone, made.timezone_from) == ("Asia/Shanghai", "assumed")
    assert told(made, "installation", "TIME_ZONE_ID")[0].value == "Mars/Olympus"


@pytest.mark.parametrize(
    ("java", "iana"),
    [
        ("PRC", "Asia/Shanghai"),
        ("CTT", "Asia/Shanghai"),
        ("JST", "Asia/Tokyo"),
        ("IST", "Asia/Kolkata"),
        ("GMT+08:00", "Etc/GMT-8"),
        ("GMT-5", "Etc/GMT+5"),
        ("UTC", "UTC"),
        ("PST", "America/Los_Angeles"),
        ("EST", "Etc/GMT+5"),
        ("CST", "America/Chicago"),
        ("Etc/GMT+3", "Etc/GMT+3"),
        ("ROK", "Asia/Seoul"),
    ],
)
def test_names_of_java(java: str, iana: str) -> None:
    zone = known_zone(java)
    assert zone is not None
    for at in (NOW_MS // 1000, NOW_MS // 1000 + 180 * 86_400):
        offset = datetime.fromtimestamp(at, ZoneInfo(iana)).utcoffset()
        assert offset is not None
        assert zone.offset_s(at) == offset.total_seconds()


def test_clock_changes_are_shown_in_the_report() -> None:
    """Java takes the second of two equal local times, and skips the first hour of a job that fires often."""
    autumn = int(datetime(2026, 10, 24, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)
    source = installation(job(schedule_conf="0 30 2 * * ?"))
    from importer.plan.make import PlanOptions, make_plan
    from importer.plan.target import Target

    made = make_plan(source, Target(), PlanOptions("x", "Europe/Berlin"), autumn)
    fires = made.jobs[0].fires
    assert fires.theirs is not None
    assert fires.differ_at == 1
    assert fires.theirs[1] - fires.ours[1] == 3_600_000
    assert "the clocks change" in fires.why
