"""Instants of a report."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from importer.plan.values import Fires
from importer.report.life import signs_of_life
from importer.report.times import Times, differences
from importer.source.values import SignsOfLife

ZONES = ("Asia/Shanghai", "America/New_York", "Asia/Kathmandu", "UTC")


@settings(deadline=None)
@given(st.integers(0, 4_000_000_000_000), st.sampled_from(ZONES))
def test_an_instant_is_what_the_standard_library_says(ms: int, zone: str):
    expected = datetime.fromtimestamp(ms / 1000, ZoneInfo(zone))
    precision = "milliseconds" if ms % 1000 else "seconds"
    assert Times(zone).iso(ms) == expected.isoformat(timespec=precision)


@settings(deadline=None)
@given(
    st.lists(st.integers(1_600_000_000, 1_900_000_000), max_size=5),
    st.sampled_from([1, 1000]),
    st.sampled_from(ZONES),
)
def test_many_instants_are_told_as_each_of_them(seconds: list[int], unit: int, zone: str):
    """Near each other or years apart, with parts of seconds or without."""
    instants = sorted(one * 1000 // unit * unit + (one % 7 if unit == 1 else 0) for one in seconds)
    assert Times(zone).isos(instants) == [Times(zone).iso(ms) for ms in instants]
    near = [instants[0] + n * 3_600_000 for n in range(50)] if instants else []
    assert Times(zone).isos(near) == [Times(zone).iso(ms) for ms in near]


def fires(ours: list[int], theirs: list[int] | None) -> Fires:
    return Fires(tuple(ours), None if theirs is None else tuple(theirs), None if ours == theirs else 0)


def test_only_what_one_of_both_fires_is_a_difference():
    assert differences(fires([1, 2, 3, 4], [1, 3, 4, 5])) == [(2, True)]
    assert differences(fires([1, 3, 4, 5], [1, 2, 3, 4])) == [(2, False)]
    assert differences(fires([1, 2], [1, 2])) == []
    assert differences(fires([1, 2], None)) == []


def test_a_list_that_ends_early_has_ended():
    assert differences(fires([1, 2, 3], [1])) == [(2, True), (3, True)]
    assert differences(fires([], [5])) == [(5, False)]


def test_nothing_is_said_beyond_the_end_of_a_full_list():
    assert differences(fires([1, 2, 3], [2, 4, 6])) == [(1, True), (3, True)]


def test_signs_of_life():
    now = 1_790_000_000_000
    assert (
        signs_of_life(
            SignsOfLife(database_now_ms=now, last_log_ms=now - 11 * 60_000, last_beat_ms=now - 91_000)
        )
        == ()
    )
    assert signs_of_life(SignsOfLife()) == ()
    told = signs_of_life(
        SignsOfLife(
            database_now_ms=now,
            last_log_ms=now - 300_000,
            last_beat_ms=now - 5_000,
            last_checkin_ms=now + 1_000,
            connections=2,
        )
    )
    assert told == (
        "it has triggered a job 5 min ago",
        "an executor has registered with it 5 s ago",
        "its Quartz has checked in 0 s ago",
        "2 other connection(s) to its database",
    )
