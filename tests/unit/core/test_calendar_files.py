"""Days as people bring them; what cannot be read says in which line, and what would be right."""

from __future__ import annotations

import contextlib
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


def an_event(*lines):
    """The days of a file with one event."""
    return iso(
        days_of_file(
            "\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR"]),
            "ics",
            last_year=2028,
        )
    )


def iso(days):
    return sorted(day.isoformat() for day in days)


def test_csv():
    text = '\ufeffdate,name\r\n2026-01-01,New Year\r\n\r\n# spring\r\n"2026/2/17";x\n20260218\n2026-10-01..2026-10-03\n'
    assert iso(days_of_file(text, "csv", last_year=2036)) == [
        "2026-01-01",
        "2026-02-17",
        "2026-02-18",
        "2026-10-01",
        "2026-10-02",
        "2026-10-03",
    ]


def test_ics():
    assert iso(days_of_file(ICS, "ics", last_year=2036)) == [
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
    assert iso(days_of_file(json.dumps(value), "json", last_year=2036)) == [
        "2026-01-31",
        "2026-02-01",
        "2027-12-24",
    ]


@given(st.sets(st.dates(date(1970, 1, 1), date(9998, 12, 31)), min_size=1, max_size=40))
def test_what_is_written_is_what_is_read(days):
    by_year = Days(days).by_year()
    assert days_of_json(by_year) == days
    assert days_of_file("\n".join(iso(days)), "csv", last_year=2036) == days
    events = "".join(
        f"BEGIN:VEVENT\nDTSTART;VALUE=DATE:{day:%Y%m%d}\nEND:VEVENT\n".replace(f"{day:%Y}", f"{day.year:04}")
        for day in days
    )
    assert days_of_file(f"BEGIN:VCALENDAR\n{events}END:VCALENDAR", "ics", last_year=2036) == days


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
        (ICS.replace("DURATION:P2D", "DURATION:P2Y"), "ics", "line 18: DURATION:P2Y", "a length such as"),
        (ICS.replace("SUMMARY", "RRULE"), "ics", "line 6: RRULE", "parts such as FREQ=YEARLY"),
        (ICS.replace("SUMMARY", "EXRULE"), "ics", "line 6: EXRULE", "an event without EXRULE"),
        (ICS.replace("SUMMARY", "EXDATE"), "ics", "line 6: National Day", "a date such as 20260131"),
        (ICS.replace("T080000Z", "T250000Z"), "ics", "line 10: 20261225T250000Z", "a date such as"),
        (ICS.replace("VERSION:2.0", "VERSION"), "ics", "line 2: VERSION", "a line such as DTSTART"),
        (ICS[: ICS.index("END:VEVENT")], "ics", "line 7", "END:VEVENT before the end"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT", "ics", "line 3", "an event with a DTSTART"),
        ("[1,", "json", "[1,", "JSON: Expecting value: line 1 column 4"),
    ],
)
def test_files_that_cannot_be_read(text, format_, value, expected):
    with pytest.raises(InvalidValue) as refused:
        days_of_file(text, format_, last_year=2036)
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
        days_of_file("1970-01-01..2270-01-01", "csv", last_year=2036)


# ------------------------------------------------------------ repeating events


def test_a_yearly_event_up_to_the_last_year():
    assert an_event("DTSTART;VALUE=DATE:20251225", "DURATION:P2D", "RRULE:FREQ=YEARLY") == [
        f"{year}-12-{day}" for year in range(2025, 2029) for day in (25, 26)
    ]
    assert an_event("DTSTART;VALUE=DATE:19500101", "RRULE:FREQ=YEARLY")[0] == "1970-01-01"
    assert an_event("DTSTART;VALUE=DATE:20281231", "DURATION:P2D", "RRULE:FREQ=YEARLY")[-1] == "2029-01-01"


def test_dates_that_are_left_out_and_added():
    assert an_event(
        "DTSTART;TZID=Europe/Berlin:20260105T090000",
        "RRULE:FREQ=WEEKLY;COUNT=4",
        "EXDATE;TZID=Europe/Berlin:20260112T090000",
        "EXDATE:20260119T080000Z",
        "RDATE;VALUE=DATE:20260301,20260302",
        "RDATE;VALUE=PERIOD:20260401T070000Z/PT1H",
    ) == ["2026-01-05", "2026-01-26", "2026-03-01", "2026-03-02", "2026-04-01"]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20260107", "2026-01-07"),
        ("20260107T080000Z", "2026-01-07"),
        ("20260107T075959Z", "2026-01-06"),  # 08:59:59 in Berlin, where it begins at nine
        ("20260107T235959", "2026-01-07"),
    ],
)
def test_the_end_of_a_repetition_is_an_instant(until, last):
    lines = ("DTSTART;TZID=Europe/Berlin:20260105T090000", f"RRULE:FREQ=DAILY;UNTIL={until}")
    assert an_event(*lines)[-1] == last


def test_an_event_that_was_moved_or_cancelled_alone():
    first = ("UID:a", "DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=3")
    other = ("END:VEVENT", "BEGIN:VEVENT", "UID:a")
    moved = (*other, "RECURRENCE-ID;VALUE=DATE:20260112", "DTSTART;VALUE=DATE:20260113")
    gone = (*other, "RECURRENCE-ID;VALUE=DATE:20260119", "DTSTART;VALUE=DATE:20260119", "STATUS:CANCELLED")
    assert an_event(*first, *moved, *gone) == ["2026-01-05", "2026-01-13"]
    with pytest.raises(InvalidValue, match="RANGE is not read"):
        an_event(*first, *other, "RECURRENCE-ID;RANGE=THISANDFUTURE:20260112", "DTSTART:20260113")


@pytest.mark.parametrize(
    ("zone", "start", "wanted"),
    [
        ("", "DTSTART:20261225T233000Z", "2026-12-25"),  # as written: the file names no zone
        ("X-WR-TIMEZONE:Asia/Shanghai", "DTSTART:20261225T233000Z", "2026-12-26"),
        ("X-WR-TIMEZONE:Asia/Shanghai", 'DTSTART;TZID="America/New_York":20261225T103000', "2026-12-25"),
        ("X-WR-TIMEZONE:Asia/Shanghai", "DTSTART;TZID=America/New_York:20261225T113000", "2026-12-26"),
        ("X-WR-TIMEZONE:Asia/Shanghai", "DTSTART;TZID=China Standard Time:20261225T233000", "2026-12-25"),
        ("X-WR-TIMEZONE:Asia/Shanghai", "DTSTART;VALUE=DATE:20261225", "2026-12-25"),
        ("X-WR-TIMEZONE:Nowhere/Else", "DTSTART:20261225T233000Z", "2026-12-25"),
    ],
)
def test_a_day_is_that_of_the_calendars_zone(zone, start, wanted):
    lines = [
        "BEGIN:VCALENDAR",
        *([zone] if zone else []),
        "BEGIN:VEVENT",
        start,
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    assert iso(days_of_file("\n".join(lines), "ics", last_year=2028)) == [wanted]


def test_what_stands_within_an_event_or_beside_it_is_not_the_events():
    alarm = ("BEGIN:VALARM", "DURATION:PT5M", "RRULE:FREQ=SECONDLY", "END:VALARM")
    assert an_event("DTSTART;VALUE=DATE:20260105", *alarm) == ["2026-01-05"]
    zone = "BEGIN:VTIMEZONE\nBEGIN:STANDARD\nDTSTART:16010101T000000\nRRULE:FREQ=YEARLY\nEND:STANDARD\nEND:VTIMEZONE\n"
    text = ICS.replace("BEGIN:VEVENT", f"{zone}BEGIN:VEVENT", 1)
    assert len(days_of_file(text, "ics", last_year=2028)) == 8


@pytest.mark.parametrize(
    "lines",
    [
        ("DTSTART:00010101", "DURATION:P999W", "RRULE:FREQ=DAILY"),
        ("DTSTART:20260101", "DTEND:99980101", "RRULE:FREQ=DAILY;COUNT=1000000000"),
        ("DTSTART:20260101", "DURATION:P999D", *["RDATE:" + ",".join(["20260101"] * 500)] * 10),
        *[("DTSTART:20260101T000000", f"RRULE:FREQ={often}LY") for often in ("SECOND", "MINUTE", "HOUR")],
    ],
)
def test_hostile_files_are_refused_soon(lines):
    with pytest.raises(InvalidValue) as refused:
        an_event(*lines)
    assert "repeating events" in refused.value.expected or "a calendar lists days" in refused.value.expected


def test_a_large_file_of_rules_that_nothing_meets_is_refused_soon(monkeypatch):
    monkeypatch.setattr("gateway.core.calendar_ics.MOST_LOOKS", 60_000)
    one = "BEGIN:VEVENT\nDTSTART:19700101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\nEND:VEVENT\n"
    with pytest.raises(InvalidValue, match=r"line 12.*fewer or shorter repeating events"):
        days_of_file(f"BEGIN:VCALENDAR\n{one * 30_000}END:VCALENDAR", "ics", last_year=2036)


@given(
    st.lists(
        st.sampled_from(
            [
                *ICS.replace("SUMMARY", "RRULE").splitlines(),
                "RRULE:FREQ=DAILY;COUNT=3",
                "X-WR-TIMEZONE:Asia/Shanghai",
                "DTSTART:99980101T235959Z",
                "DTSTART;TZID=America/New_York:00010101T000000",
                "EXDATE:20261225T080000Z",
                ":",
                " ",
                "A:",
            ]
        )
    )
)
def test_no_file_breaks_it(lines):
    text = "\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", "DTSTART:20260101", *lines])
    with contextlib.suppress(InvalidValue):
        assert days_of_file(text, "ics", last_year=2036)
