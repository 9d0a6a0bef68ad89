"""Repeating events: against python-dateutil, whose rules are what others go by; and what must not take for ever."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import takewhile

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.recurrence import Rule, days_of_rule, parse_rule

START, LAST = date(2024, 1, 31), date(2031, 12, 31)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def by_dateutil(text: str, start: date, last: date) -> list[date]:
    rule = rrulestr(text, dtstart=datetime(start.year, start.month, start.day))
    # Past the last day it goes on to the year 9999, so what a rule may ask for below always comes again.
    found = takewhile(lambda at: at.date() <= last, rule)
    return [at.date() for at in found]


def by_us(text: str, start: date, last: date) -> list[date]:
    rule = parse_rule(text)
    assert isinstance(rule, Rule), (text, rule)
    return list(days_of_rule(rule, start, last, lambda _: None))


def some(values: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=most, unique=True).map(
        lambda found: ",".join(map(str, found))
    )


MONTH_DAYS = some(st.sampled_from([*range(1, 29), -1, -2, -28]))
MONTHS = some(st.integers(1, 12))
YEAR_DAYS = some(st.sampled_from([*range(1, 365), -1, -365]))
NTH = some(st.builds("{}{}".format, st.sampled_from([1, 2, 4, -1, -3]), st.sampled_from(WEEKDAYS)))
PLAIN = some(st.sampled_from(WEEKDAYS))


@st.composite
def rules(draw):
    """Such as come again within a few years, whatever is combined."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = {"FREQ": frequency, "INTERVAL": draw(st.sampled_from([1, 1, 2, 3]))}
    of = {
        "DAILY": [{"BYMONTH": MONTHS}, {"BYDAY": PLAIN}],
        "WEEKLY": [{"BYDAY": PLAIN}, {"BYDAY": PLAIN, "BYMONTH": MONTHS}],
        "MONTHLY": [
            {"BYMONTHDAY": MONTH_DAYS},
            {"BYDAY": NTH},
            {"BYDAY": PLAIN, "BYSETPOS": some(st.sampled_from([1, 2, -1]), 2)},
        ],
        "YEARLY": [
            {"BYMONTH": MONTHS, "BYMONTHDAY": MONTH_DAYS},
            {"BYMONTH": MONTHS, "BYDAY": NTH},
            {"BYDAY": NTH},
            {"BYYEARDAY": YEAR_DAYS},
            {"BYWEEKNO": some(st.sampled_from([1, 2, 20, 52, -1, -2])), "BYDAY": PLAIN},
            {"BYMONTH": MONTHS, "BYDAY": PLAIN, "BYSETPOS": some(st.sampled_from([1, 3, -1]), 2)},
        ],
    }[frequency]
    for name, values in draw(st.sampled_from([{}, *of])).items():
        parts[name] = draw(values)
    if frequency == "WEEKLY":
        parts["WKST"] = draw(st.sampled_from(["MO", "SU", "WE"]))
    end = draw(st.sampled_from([None, ("COUNT", 1), ("COUNT", 5), ("COUNT", 10**9)]))
    if end is not None:
        parts["COUNT"] = end[1]
    return ";".join(f"{name}={value}" for name, value in parts.items())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rules(), st.integers(0, 400))
def test_it_repeats_as_dateutil_says(text, later):
    start = START + timedelta(days=later)
    assert by_us(text, start, LAST) == by_dateutil(text, start, LAST)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["2024-02-29", "2028-02-29"]),
        ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=2", ["2024-11-28", "2025-11-27"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31;COUNT=3", ["2024-01-31", "2024-03-31", "2024-05-31"]),
        ("FREQ=MONTHLY;COUNT=2", ["2024-01-31", "2024-03-31"]),
        ("freq=weekly;byday=mo,fr;interval=2;count=3;", ["2024-02-02", "2024-02-12", "2024-02-16"]),
        (
            "FREQ=MONTHLY;BYDAY=MO,1TU;COUNT=3",
            ["2024-02-05", "2024-02-06", "2024-02-12"],
        ),  # both kinds of days
    ],
)
def test_some_that_people_write(text, wanted):
    assert [day.isoformat() for day in by_us(text, START, LAST)] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;BYMONTH=2;BYDAY=MO;BYSETPOS=366",
        "FREQ=DAILY;COUNT=1000000000",
    ],
)
def test_no_rule_looks_further_than_the_last_day(text):
    looked: list[int] = []
    rule = parse_rule(text)
    found = list(days_of_rule(rule, START, LAST, looked.append))
    assert len(found) == ((LAST - START).days + 1 if "COUNT" in text else 0)
    assert sum(looked) <= (LAST - date(START.year, 1, 1)).days + 14


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "parts such as"),
        ("FREQ", "parts such as"),
        ("FREQ=DAILY;FREQ=DAILY", "each once"),
        ("FREQ=SECONDLY", "a calendar lists days"),
        ("FREQ=HOURLY;COUNT=5", "a calendar lists days"),
        ("INTERVAL=2", "FREQ=YEARLY"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL from 1 to 1000"),
        ("FREQ=DAILY;INTERVAL=99999999999999999999", "INTERVAL from 1"),
        ("FREQ=DAILY;COUNT=0", "COUNT as a number"),
        ("FREQ=DAILY;COUNT=5;UNTIL=20260101", "not beside UNTIL"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY with numbers up to 31"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH with numbers up to 12"),
        ("FREQ=MONTHLY;BYMONTHDAY=" + ",".join(["1"] * 63), "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYDAY=54MO", "BYDAY with days"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY without numbers"),
        ("FREQ=WEEKLY;WKST=XX", "WKST"),
        ("FREQ=YEARLY;BYWEEKNO=1;WKST=SU", "BYWEEKNO only"),
        ("FREQ=DAILY;BYHOUR=5,6", "a rule without BYHOUR: a calendar lists days"),
        ("FREQ=DAILY;BYMOON=FULL", "a rule without BYMOON"),
    ],
)
def test_what_is_no_rule(text, expected):
    assert expected in parse_rule(text)
