from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from gateway.core.unixcron import UnixExpression
from gateway.core.zones import resolve_zone
from tests.unit.core.corpus import disagreements, read

PLACES = ["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "UTC"]


def upcoming(text, place, start, count=5):
    expression, zone, tz = UnixExpression(text), resolve_zone(place), ZoneInfo(place)
    at, found = int(datetime.fromisoformat(start).timestamp()), []
    while at is not None and len(found) < count:
        at = expression.next_after(at, zone)
        found.append(at and datetime.fromtimestamp(at, tz).isoformat(timespec="minutes"))
    return found


def test_golden_cases():
    assert disagreements("unix") == []


def test_only_clock_changes_deviate():
    cases = {case["id"]: case for case in read("unix-cases.jsonl")}
    for row in read("unix-deviations.jsonl"):
        assert row["reason"] in {"dst-first-pass", "dst-skipped", "half-hour-change"}
        assert cases[row["id"]].get("why") == ("debian-dst" if row["reason"] == "half-hour-change" else None)


def member(low, high):
    value, step = st.integers(low, high), st.integers(1, high + 5)
    pair = st.tuples(value, value).map(sorted)
    return st.one_of(
        value.map(lambda a: (f"{a:02}", {a})),
        pair.map(lambda p: (f"{p[0]}-{p[1]}", set(range(p[0], p[1] + 1)))),
        st.tuples(pair.filter(lambda p: p[0] < p[1]), step).map(
            lambda d: (f"{d[0][0]}-{d[0][1]}/{d[1]}", set(range(d[0][0], d[0][1] + 1, d[1])))
        ),
        st.tuples(value, step).map(lambda d: (f"{d[0]}/{d[1]}", set(range(d[0], high + 1, d[1])))),
        step.map(lambda s: (f"*/{s}", set(range(low, high + 1, s)))),
    )


def field(low, high):
    joined = st.lists(member(low, high), min_size=1, max_size=3).map(
        lambda parts: (",".join(text for text, _ in parts), set().union(*(got for _, got in parts)))
    )
    return st.one_of(st.just(("*", set(range(low, high + 1)))), joined)


@settings(max_examples=150, deadline=None)
@given(
    *(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)),
    *(st.sampled_from(PLACES), st.integers(0, 4_000_000_000), st.randoms()),
)
def test_every_firing_matches_and_none_between_is_missed(
    minutes, hours, days, months, weekdays, place, start, rng
):
    fields = (minutes, hours, days, months, weekdays)
    tz, zone = ZoneInfo(place), resolve_zone(place)
    both = days[0].startswith("*") or weekdays[0].startswith("*")
    allowed = {day % 7 for day in weekdays[1]}

    def fires(moment):
        on_day, on_weekday = moment.day in days[1], moment.isoweekday() % 7 in allowed
        return (
            moment.second == 0
            and moment.minute in minutes[1]
            and moment.hour in hours[1]
            and moment.month in months[1]
            and ((on_day and on_weekday) if both else (on_day or on_weekday))
            and (moment.fold == 0 or len(hours[1]) == 24)
        )

    try:
        expression = UnixExpression(" ".join(text for text, _ in fields))
    except InvalidValue as error:
        assert "no such day in month" in str(error)  # noqa: PT017 - the other outcome is as good
        return
    at = start
    for _ in range(3):
        following = expression.next_after(at, zone)
        if following is None:
            break
        assert following > at
        assert fires(datetime.fromtimestamp(following, tz))
        for _ in range(30):
            between = rng.randrange(at // 60 + 1, following // 60 + 1) * 60
            assert between >= following or not fires(datetime.fromtimestamp(between, tz))
        at = following


@pytest.mark.parametrize(
    ("text", "place", "start", "wanted"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", ["2026-03-30T02:30+02:00"]),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
        ),
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T02:00:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"],
        ),
        ("0 12 30 12 *", "Pacific/Apia", "2011-01-01T00:00:00-11:00", ["2012-12-30T12:00+14:00"]),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00:00+00:00", ["2104-02-29T00:00+00:00"]),
        (
            "0 0 13 * 5",
            "UTC",
            "2026-11-01T00:00:00+00:00",
            ["2026-11-06T00:00+00:00", "2026-11-13T00:00+00:00"],
        ),
        ("0 0 13 * */5", "UTC", "2026-11-01T00:00:00+00:00", ["2026-11-13T00:00+00:00"]),
        ("0 0 * * 7-7", "UTC", "2026-11-21T00:00:00+00:00", ["2026-11-22T00:00+00:00"]),
    ],
)
def test_meaning(text, place, start, wanted):
    assert upcoming(text, place, start, len(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("* * * *", "it has 4 fields, not 5: minute hour day-of-month month day-of-week"),
        ("60 * * * *", "minute '60' should hold values from 0 to 59"),
        ("* * * * 8", "day of week '8' should hold values from 0 to 7 or SUN to SAT"),
        ("* * * JANUARY *", "month 'JANUARY' should hold values from 1 to 12 or JAN to DEC"),
        ("* * ? * *", "day of month '?'"),
        ("* * L * *", "day of month 'L'"),
        ("* * * * FRI#2", "day of week 'FRI#2'"),
        ("5,, * * * *", "minute ''"),
        ("*/0 * * * *", "minute '*/0': the step must be 1 or more"),
        ("* * * * FRI-MON", "day of week 'FRI-MON': the range ends before it starts; write two ranges"),
        ("0 0 31 4,6 *", "day of month '31': no such day in month '4,6'"),
        ("* * * * *\u00a0", "'\\xa0' is not a plain (half-width ASCII) character"),
    ],
)
def test_what_is_refused_and_why(text, message):
    with pytest.raises(InvalidValue) as refused:
        UnixExpression(text)
    assert message in refused.value.expected


def test_a_date_that_rarely_exists_is_searched_a_hundred_years():
    assert upcoming("0 0 29 2 */7", "UTC", "2033-01-01T00:00:00+00:00", 1) == ["2060-02-29T00:00+00:00"]
    assert UnixExpression("0 0 1 1 *").next_after(253_000_000_000, resolve_zone("UTC")) is not None
    assert UnixExpression("0 0 1 1 *").next_after(10**15, resolve_zone("UTC")) is None


def test_expressions_compare_by_their_text():
    one = UnixExpression("0 9 * * 1")
    assert one == UnixExpression("0 9 * * 1") != UnixExpression("0 9 * * 2")
    assert len({one, UnixExpression("0 9 * * 1")}) == 1
    assert repr(one) == "UnixExpression('0 9 * * 1')"
    assert (one.dialect, one.notes) == ("unix", ())


def test_a_second_oracle_agrees():
    """cronsim is asked as well: a dependency of the tests, not of the project."""
    start = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    for text in ("*/7 8-18 * * 1-5", "0 0 */3 * 0", "5 4 1,15 * fri", "0 12 29 2 *", "10-50/20 */6 * 1,7 *"):
        wanted, at = CronSim(text, start), int(start.timestamp())
        for _ in range(50):
            at = UnixExpression(text).next_after(at, resolve_zone("UTC"))
            assert at == int(next(wanted).timestamp()), text
