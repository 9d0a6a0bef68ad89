"""Wall-clock times as instants, held against the time zones of the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.zones import resolve_zone
from importer.wall import WallClock

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
CLOCKS = {name: WallClock(resolve_zone(name)) for name in ZONES}
NOWHERE = datetime(1970, 1, 1, tzinfo=UTC)


def instant(moment, zone):
    """Of two the later one, as `instants` has them; None for a time that the clock never shows."""
    there = moment.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if there.astimezone(zone).replace(tzinfo=None) != moment:
        return None
    return (there - NOWHERE) // timedelta(milliseconds=1)


@settings(max_examples=300)
@given(st.sampled_from(ZONES), st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1)))
def test_any_time(name, moment):
    expected = instant(moment, ZoneInfo(name))
    if expected is not None:
        assert CLOCKS[name].ms(moment) == expected


@pytest.mark.parametrize("name", ZONES)
def test_every_half_hour_around_clock_changes(name):
    clock, zone = CLOCKS[name], ZoneInfo(name)
    for start in (datetime(2026, 3, 28), datetime(2026, 4, 4), datetime(2026, 10, 24), datetime(2026, 11, 1)):
        for half in range(96):
            moment = start + timedelta(minutes=30 * half, seconds=7)
            expected = instant(moment, zone)
            if expected is not None:
                assert clock.ms(moment) == expected, moment
                assert clock.date(expected) == moment.date()


def test_an_instant_is_one_already():
    assert CLOCKS["Asia/Shanghai"].ms(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000
