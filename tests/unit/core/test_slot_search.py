"""Finding slots backwards, and telling why an instant is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.calendar_days import CalendarMode, CalendarUse, Days
from gateway.core.confine import schedule_of
from gateway.core.exclusions import parse_exclusion
from gateway.core.facts import span, when
from gateway.core.model import Job, Task
from gateway.core.slot_search import local_gap, look_at, match_facts, obstacles, slot_before
from gateway.core.timing import Timing, Window
from gateway.core.zones import resolve_zone

T0 = 1_795_003_200_000
NEW_YORK = resolve_zone("America/New_York")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def job_of(schedule, **timing) -> Job:
    return Job(
        1, 1, 1, 3, 1, "job", True, schedule=schedule, task=Task("h"), anchor_ms=T0, timing=Timing(**timing)
    )


def cron(expression: str, zone: str = "America/New_York"):
    return {"kind": "cron", "expression": expression, "timezone": zone}


def texts(facts) -> str:
    return "\n".join(f"{fact.kind}: {fact.text}" for fact in facts)


schedules = st.one_of(
    st.builds(lambda n: {"kind": "fixed_rate", "expression": n}, st.integers(1, 5000)),
    st.builds(
        lambda s, m, h: cron(f"{s} {m} {h} * * ?"),
        st.sampled_from(["0", "*/7", "15,45"]),
        st.sampled_from(["*", "*/5", "30"]),
        st.sampled_from(["*", "1-3", "2"]),
    ),
    st.just((cron("0 30 * * * ?"), {"kind": "interval", "expression": "17m"})),
)


@settings(max_examples=60, deadline=None)
@given(schedules, st.integers(0, 200_000), st.booleans())
def test_the_slot_before_is_the_last_of_those_that_going_forward_finds(schedule, later_s, bounded):
    end_ms = T0 + 150_000_000 if bounded else 0
    slots = schedule_of(job_of(schedule, window=Window(T0 - 1000 if bounded else 0, end_ms)))
    at_ms = T0 + later_s * 1000
    wanted, slot = None, slots.first_after(at_ms - 86_400_000 * (3 if bounded else 1))
    count = 0
    while slot is not None and slot <= at_ms and count < 3000:
        wanted, slot, count = slot, slots.next_after(slot), count + 1
    found = slot_before(slots, at_ms)
    if count == 3000:  # many: the found one must be the last by its own
        assert found is not None
        assert found <= at_ms
        assert (slots.next_after(found) or at_ms + 1) > at_ms
    elif wanted is not None:
        assert found == wanted
    else:
        assert found is None or found < at_ms - 86_400_000


def test_a_slot_is_found_within_its_second_and_years_back():
    job = job_of(cron("0 0 3 29 2 ?", "UTC"))
    slot = ms("2024-02-29T03:00:00+00:00")
    for later in (0, 999):
        look = look_at(job, slot + later)
        assert (look.slot_ms, look.before_ms) == (slot, ms("2020-02-29T03:00:00+00:00"))
    look = look_at(job, slot + 1000)
    assert (look.slot_ms, look.before_ms, look.after_ms) == (None, slot, ms("2028-02-29T03:00:00+00:00"))
    once = job_of({"kind": "one_time", "expression": slot})
    assert look_at(once, slot - 1).before_ms is None
    assert look_at(once, slot + 5000).before_ms == slot


def test_the_matching_member_of_a_union_is_told_with_its_zone():
    job = job_of((cron("0 0 9 * * ?", "Asia/Shanghai"), cron("0 0 9 * * ?", "Europe/Berlin")))
    facts = list(match_facts(job, ms("2026-11-27T09:00:00+01:00"), resolve_zone("UTC")))
    assert texts(facts) == (
        "schedule: cron '0 0 9 * * ?' (Europe/Berlin) matches (one of 2 schedules): 2026-11-27T09:00:00+01:00."
    )
    assert facts[0].fields["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize(
    ("timing", "told"),
    [
        ({"window": Window(T0 + 1)}, "window: cron '0 0 * * * ?' (UTC) matches, but its window begins at"),
        ({"window": Window(0, T0)}, "matches, but its window ended at 2026-11-18T12:00:00+00:00."),
        (
            {
                "exclusions": (
                    parse_exclusion(
                        {"from": "11:00", "to": "13:00", "weekdays": "WED", "comment": "lunch"},
                        resolve_zone("UTC"),
                        field="x",
                    ),
                )
            },
            "exclusion: cron '0 0 * * * ?' (UTC) matches, but 11:00 to 13:00 WED is excluded: lunch.",
        ),
        (
            {"calendars": (CalendarUse("cn"),)},
            "calendar: cron '0 0 * * * ?' (UTC) matches, but calendar 'cn' does not list",
        ),
    ],
)
def test_what_bounds_a_schedule_is_named(timing, told):
    job = replace(job_of(cron("0 0 * * * ?", "UTC"), **timing), days=(Days([date(2026, 11, 19)]),))
    assert schedule_of(job).next_after(T0 - 1) != T0
    assert told in texts(obstacles(job, T0))
    assert list(obstacles(job, T0 + 1000)) == []


def test_a_calendar_that_lets_a_slot_be_is_told():
    job = job_of(cron("0 0 * * * ?", "UTC"), calendars=(CalendarUse("cn", CalendarMode.EXCLUDE),))
    assert "Calendar 'cn' (exclude) does not list the day." in texts(
        match_facts(job, T0, resolve_zone("UTC"))
    )


def test_jitter_is_told():
    job = job_of(cron("0 0 * * * ?", "UTC"), jitter_ms=60_000)
    due = job.timing.due_ms(1, T0)
    assert due != T0
    assert f"due at {when(due, resolve_zone('UTC'))}" in texts(match_facts(job, T0, resolve_zone("UTC")))


# ------------------------------------------------------------ clock changes


def test_a_local_time_that_clocks_went_forward_over():
    job = job_of(cron("0 30 2 * * ?"))
    at = ms("2026-03-08T02:30:00-05:00")  # where 02:30 would have been
    assert look_at(job, at).slot_ms is None
    assert texts(obstacles(job, at)) == (
        "clock_change: 2026-03-08 02:30:00 did not exist in America/New_York: clocks went forward from 02:00:00 to "
        "03:00:00. Skipped local times do not fire."
    )
    assert list(obstacles(job, at + 60_000)) == []
    found = local_gap("2026-03-08 02:30:00", NEW_YORK)
    assert found is not None
    assert found[0] == ms("2026-03-08T03:00:00-04:00")
    assert "2026-03-08 02:30:00 did not exist" in found[1].text
    for text in ("2026-03-08 03:30:00", "2026-03-08T02:30:00Z", "x", "1795003200000"):
        assert local_gap(text, NEW_YORK) is None


def test_a_local_time_that_came_twice():
    job = job_of(cron("0 30 1 * * ?"))
    first, second = ms("2026-11-01T01:30:00-04:00"), ms("2026-11-01T01:30:00-05:00")
    assert look_at(job, first).slot_ms == first
    assert "showed this time twice that day; this is the first of both" in texts(
        match_facts(job, first, NEW_YORK)
    )
    assert look_at(job, second).slot_ms is None
    assert "fired at the first, 2026-11-01T01:30:00-04:00" in texts(obstacles(job, second))
    every = job_of(cron("0 30 * * * ?"))
    assert "this is the second of both" in texts(match_facts(every, second, NEW_YORK))


# ------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (-1500, "-1.5 s"),
        (119_999, "120.0 s"),
        (120_000, "2 min"),
        (90_061_000, "1 d 1 h 1 min 1 s"),
    ],
)
def test_lengths_of_time(length, told):
    assert span(length) == told


def test_instants_are_told_on_the_clock_of_a_zone():
    at = int(datetime(2026, 3, 8, 12, 0, 0, 5000, tzinfo=UTC).timestamp() * 1000)
    assert when(at, NEW_YORK) == "2026-03-08T08:00:00.005-04:00"
