"""Calendar objects, beside a search that tries every second, or every minute, one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.calendar_spec import CalendarExpression
from gateway.core.errors import InvalidValue
from gateway.core.zones import resolve_zone

DOMAINS = {
    "month": (1, 12),
    "dayOfMonth": (1, 31),
    "dayOfWeek": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
}
UTC_ZONE = resolve_zone("UTC")


def expand(name, member):
    """The values of a member, by the rule as it is told to people."""
    low, high = DOMAINS[name]
    if isinstance(member, int):
        return {member}
    if isinstance(member, dict):
        return set(range(member["start"], member.get("end", member["start"]) + 1, member.get("step", 1)))
    span, _, step = member.partition("/")
    if span == "*":
        first, last = low, high
    elif "-" in span:
        first, last = map(int, span.split("-"))
    else:
        first, last = int(span), high if step else int(span)
    return set(range(first, last + 1, int(step or 1)))


@st.composite
def members(draw, name):
    low, high = DOMAINS[name]
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, 7))
    return draw(
        st.sampled_from(
            (
                first,
                f"{first}",
                f"{first}-{last}",
                f"{first}-{last}/{step}",
                f"{first}/{step}",
                f"*/{step}",
                "*",
                {"start": first, "end": last},
                {"start": first, "end": last, "step": step},
            )
        )
    )


@st.composite
def objects(draw):
    names = draw(st.sets(st.sampled_from(sorted(DOMAINS))))
    return {name: draw(st.lists(members(name), min_size=1, max_size=3)) for name in sorted(names)}


def by_trying(fields, after):
    """Minute by minute, for eight years at most: nothing of the engine is used."""
    values = {
        name: set().union(
            *(
                expand(name, member)
                for member in fields.get(name, ["*" if name[0] in "dm" and name != "minute" else 0])
            )
        )
        for name in DOMAINS
    }
    day = after.date()
    for _ in range(8 * 366):
        if (
            day.month in values["month"]
            and day.day in values["dayOfMonth"]
            and day.isoweekday() % 7 in values["dayOfWeek"]
        ):
            for hour in sorted(values["hour"]):
                for minute in sorted(values["minute"]):
                    at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                    if at > after:
                        return at
        day += timedelta(days=1)
    return None


@settings(max_examples=80)
@given(objects(), st.integers(0, 4_000_000_000))
def test_it_is_what_trying_one_by_one_finds(fields, after_s):
    after = datetime.fromtimestamp(after_s, UTC)
    wanted = by_trying(fields, after)
    found = CalendarExpression(fields).next_after(after_s, UTC_ZONE)
    if wanted is not None:
        assert found == wanted.timestamp()
    else:
        assert found is None or found > after_s + 8 * 365 * 86_400


def next_times(fields, after, zone, count):
    expression, at, found = CalendarExpression(fields), int(datetime.fromisoformat(after).timestamp()), []
    for _ in range(count):
        at = expression.next_after(at, resolve_zone(zone))
        found.append(at and datetime.fromtimestamp(at, UTC).isoformat())
        if at is None:
            break
    return found


def test_both_kinds_of_day_must_match():
    friday_13th = {"dayOfMonth": 13, "dayOfWeek": "FRI", "hour": 9, "comment": "a day to stay at home"}
    assert next_times(friday_13th, "2026-01-01T00:00:00Z", "UTC", 3) == [
        "2026-02-13T09:00:00+00:00",
        "2026-03-13T09:00:00+00:00",
        "2026-11-13T09:00:00+00:00",
    ]


def test_years_seconds_and_names():
    fields = {"year": "2027-2028", "month": "JAN,jul", "dayOfMonth": 1, "hour": 9, "second": [0, "30"]}
    assert next_times(fields, "2027-07-01T08:00:00Z", "GMT+8", 4) == [
        "2028-01-01T01:00:00+00:00",
        "2028-01-01T01:00:30+00:00",
        "2028-07-01T01:00:00+00:00",
        "2028-07-01T01:00:30+00:00",
    ]
    assert next_times({"year": 2027}, "2027-12-31T00:00:00Z", "UTC", 2) == [None]


def test_sunday_has_two_numbers():
    sundays = [
        next_times({"dayOfWeek": one}, "2026-01-01T00:00:00Z", "UTC", 5) for one in (0, 7, "SUN", "7/1")
    ]
    assert sundays == [sundays[0]] * 4
    weekend = [next_times({"dayOfWeek": one}, "2026-01-01T00:00:00Z", "UTC", 9) for one in ("FRI-SUN", "5-7")]
    assert weekend[0] == weekend[1]


@pytest.mark.parametrize(
    ("fields", "field", "expected"),
    [
        (
            {"hours": 5},
            "e.hours",
            "the fields are year, month, dayOfMonth, dayOfWeek, hour, minute, second, comment",
        ),
        ({"hour": "5-1"}, "e.hour", "write two ranges"),
        ({"hour": "*/0"}, "e.hour", "a step of 1 or more"),
        ({"hour": {"start": 1, "step": -1}}, "e.hour", "a step of 1 or more"),
        ({"hour": {"start": 1, "step": "x"}}, "e.hour", "a step that is a whole number"),
        ({"hour": {"from": 1}}, "e.hour", "a range has start"),
        ({"hour": {}}, "e.hour", "values from 0 to 23"),
        ({"hour": True}, "e.hour", "values from 0 to 23"),
        ({"hour": []}, "e.hour", "1 to 100"),
        ({"month": "JANUARY"}, "e.month", "values from 1 to 12 or JAN to DEC"),
        ({"dayOfWeek": 8}, "e.dayOfWeek", "values from 0 to 7 or SUN to SAT"),
        ({"second": 1.5}, "e.second", "values from 0 to 59"),
        ({"comment": 5}, "e.comment", "a text of at most 200"),
        ([], "e", "an object such as"),
    ],
)
def test_bad_objects_name_field_value_and_what_would_be_right(fields, field, expected):
    with pytest.raises(InvalidValue) as refused:
        CalendarExpression(fields, field="e")
    assert refused.value.field == field
    assert expected in refused.value.expected
