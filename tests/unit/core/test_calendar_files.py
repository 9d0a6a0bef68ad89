"""Days as people bring them; what cannot be read says in which line, and what would be right."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.calendar_days import CalendarMode, CalendarUse, DayRule, Days
from gateway.core.calendar_files import days_of_file, days_of_json
from gateway.core.errors import InvalidValue

ICS = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261001
DTEND;VALUE=DATE:20261004
SUMMARY:National Day\\, a long
  description
END:VEVENT
BEGIN:VEVENT
DTSTART:20261225T080000Z
END:VEVENT
BEGIN:VEVENT
STATUS:CANCELLED
DTSTART;VALUE=DATE:20260101
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20270101
DURATION:P2D
END:VEVENT
BEGIN:VEVENT
DTSTART:20270301T220000
DTEND:20270302T060000
END:VEVENT
END:VCALENDAR
"""


def iso(days):
    return sorted(day.isoformat() for day in days)


def test_csv():
    text = '\ufeffdate,name\r\n2026-01-01,New Year\r\n\r\n# spring\r\n"2026/2/17";x\n20260218\n2026-10-01..2026-10-03\n'
    assert iso(days_of_file(text, "csv")) == [
        "2026-01-01",
        "2026-02-17",
        "2026-02-18",
        "2026-10-01",
        "2026-10-02",
        "2026-10-03",
    ]


def test_ics():
    assert iso(days_of_file(ICS, "ics")) == [
        "2026-10-01",
        "2026-10-02",
        "2026-10-03",
        "2026-12-25",
        "2027-01-01",
        "2027-01-02",
        "2027-03-01",
        "2027-03-02",
    ]


@pytest.mark.parametrize(
    "value",
    [
        ["2026-01-31", "2026-02-01", "2027-12-24"],
        {"2026": ["01-31", "2/1"], "2027": ["2027-12-24"]},
        {"2026": {"1": [31], "02": [1]}, "2027": {"12": ["24"]}},
    ],
)
def test_json(value):
    assert iso(days_of_json(value)) == ["2026-01-31", "2026-02-01", "2027-12-24"]
    assert iso(days_of_file(json.dumps(value), "json")) == ["2026-01-31", "2026-02-01", "2027-12-24"]


@given(st.sets(st.dates(date(1970, 1, 1), date(9998, 12, 31)), min_size=1, max_size=40))
def test_what_is_written_is_what_is_read(days):
    by_year = Days(days).by_year()
    assert days_of_json(by_year) == days
    assert days_of_file("\n".join(iso(days)), "csv") == days
    events = "".join(
        f"BEGIN:VEVENT\nDTSTART;VALUE=DATE:{day:%Y%m%d}\nEND:VEVENT\n".replace(f"{day:%Y}", f"{day.year:04}")
        for day in days
    )
    assert days_of_file(f"BEGIN:VCALENDAR\n{events}END:VCALENDAR", "ics") == days


@given(st.sets(st.integers(0, 40)), st.integers(0, 45))
def test_the_next_listed_and_the_next_other_day(listed, day):
    days = Days(date(1970, 1, 1) + timedelta(days=n) for n in listed)
    include, exclude = (DayRule([CalendarUse("c", mode)], [days]) for mode in CalendarMode)
    assert include.first_left(day) == next((n for n in range(day, 60) if n in listed), None)
    assert exclude.first_left(day) == next(n for n in range(day, 60) if n not in listed)
    assert [n in days for n in range(50)] == [n in listed for n in range(50)]


@pytest.mark.parametrize(
    ("text", "format_", "value", "expected"),
    [
        ("2026-01-01\n2026-02-30", "csv", "line 2: 2026-02-30", "a date such as 2026-01-31"),
        ("2026-01-01\nNew Year,2026-01-01", "csv", "line 2: New Year", "as the first column"),
        ("2026-01-05..2026-01-01", "csv", "line 1", "does not end before it starts"),
        ("2026-01-05..", "csv", "line 1", "2026-10-01..2026-10-07"),
        ("date\n", "csv", "date\n", "at least one day"),
        ("", "ics", "", "at least one day"),
        ("X:1", "ics", "line 1: X:1", "BEGIN:VCALENDAR"),
        (ICS.replace("20261001", "2026-10-01"), "ics", "line 4: 2026-10-01", "a date such as 20260131"),
        (ICS.replace("20261004", "20260901"), "ics", "line 5", "does not end before"),
        (ICS.replace("DURATION:P2D", "DURATION:PT2H"), "ics", "line 18: DURATION:PT2H", "whole days"),
        (ICS.replace("SUMMARY", "RRULE"), "ics", "line 6: RRULE", "single events"),
        (ICS.replace("VERSION:2.0", "VERSION"), "ics", "line 2: VERSION", "a line such as DTSTART"),
        (ICS[: ICS.index("END:VEVENT")], "ics", "line 7", "END:VEVENT before the end"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT", "ics", "line 3", "an event with a DTSTART"),
        ("[1,", "json", "[1,", "JSON: Expecting value: line 1 column 4"),
    ],
)
def test_files_that_cannot_be_read(text, format_, value, expected):
    with pytest.raises(InvalidValue) as refused:
        days_of_file(text, format_)
    assert refused.value.field == "file"
    assert str(refused.value.value).startswith(value)
    assert expected in refused.value.expected


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("2026-01-01", "days"),
        (["2026-1-32"], "days[0]"),
        ([5], "days[0]"),
        ({"26": ["01-01"]}, "days.26"),
        ({"2026": ["01-01", "2027-01-01"]}, "days.2026[1]"),
        ({"2026": "01-01"}, "days.2026"),
        ({"2026": {"13": [1]}}, "days.2026.13[0]"),
        ({"2026": {"1": 5}}, "days.2026.1"),
        (["9999-01-01"], "days[0]"),
    ],
)
def test_days_that_are_none(value, field):
    with pytest.raises(InvalidValue) as refused:
        days_of_json(value)
    assert refused.value.field == field


def test_too_many_days():
    with pytest.raises(InvalidValue, match="at most 40000 days"):
        days_of_file("1970-01-01..2270-01-01", "csv")
