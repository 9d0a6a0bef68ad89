import calendar
import random
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from gateway.core.quartz import QuartzExpression
from gateway.core.zones import resolve_zone
from tests.unit.core.corpus import disagreements, read

# Zones with the instants around which their clocks were changed.
CHANGES = [
    ("Europe/Berlin", "2026-03-29T01:00:00+00:00"),
    ("Europe/Berlin", "2026-10-25T01:00:00+00:00"),
    ("America/New_York", "2024-11-03T06:00:00+00:00"),
    ("Australia/Lord_Howe", "2024-04-06T15:00:00+00:00"),
    ("Australia/Lord_Howe", "2024-10-05T15:30:00+00:00"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00+00:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00+00:00"),
    ("America/St_Johns", "2008-03-09T03:31:00+00:00"),
    ("Pacific/Apia", "2011-12-30T10:00:00+00:00"),
    ("Pacific/Chatham", "2025-04-05T14:00:00+00:00"),
    ("Asia/Shanghai", "1988-09-10T15:00:00+00:00"),
]


def upcoming(text, place, start, count=5):
    """Local times of the next firings, as text."""
    expression, zone, tz = QuartzExpression(text), resolve_zone(place), ZoneInfo(place)
    at, found = int(datetime.fromisoformat(start).timestamp()), []
    while at is not None and len(found) < count:
        at = expression.next_after(at, zone)
        found.append(at and datetime.fromtimestamp(at, tz).isoformat())
    return found


def test_golden_cases():
    assert disagreements("quartz") == []


def test_deviations_are_the_literal_reading_or_the_clock_rule():
    cases = {case["id"]: case for case in read("quartz-cases.jsonl")}
    for row in read("quartz-deviations.jsonl"):
        case = cases[row["id"]]
        if row["reason"] == "dst-first-pass":
            continue
        assert case["quirk"], row
        assert row["ours"] == case["ideal"], row


# --- a second reading of the grammar, kept apart from the parser: text and meaning are drawn together ---


def plain_members(low, high, *, wraps=True):
    def meaning(first, last, step):
        line = [*range(first, high + 1), *range(low, last + 1)] if last < first else [*range(first, last + 1)]
        return set(line[::step])

    value, step = st.integers(low, high), st.integers(1, high)
    pairs = st.tuples(value, value) if wraps else st.tuples(value, value).map(sorted)
    return st.one_of(
        value.map(lambda a: (str(a), {a})),
        pairs.map(lambda p: (f"{p[0]}-{p[1]}", meaning(*p, 1))),
        st.tuples(value, step).map(lambda p: (f"{p[0]}/{p[1]}", meaning(p[0], high, p[1]))),
        step.map(lambda s: (f"*/{s}", meaning(low, high, s))),
        st.tuples(pairs, step).map(lambda p: (f"{p[0][0]}-{p[0][1]}/{p[1]}", meaning(*p[0], p[1]))),
    )


def field(low, high):
    lists = st.lists(plain_members(low, high), min_size=1, max_size=3)
    joined = lists.map(
        lambda parts: (",".join(text for text, _ in parts), set().union(*(got for _, got in parts)))
    )
    return st.one_of(st.just(("*", set(range(low, high + 1)))), joined)


def month_end(day):
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def moved(day):
    """The weekday (Monday to Friday) of the same month nearest to that day."""
    near = [day + timedelta(n) for n in (0, -1, 1, -2, 2)]
    return next(d for d in near if d.month == day.month and d.weekday() < 5)


def day_number(number):
    return lambda day: day.replace(day=number) if number <= month_end(day).day else None


def from_end(n):
    return lambda day: month_end(day) - timedelta(n) if n < month_end(day).day else None


def is_target(target, *, weekday=False):
    def matches(day):
        wanted = target(day)
        return wanted is not None and day == (moved(wanted) if weekday else wanted)

    return matches


DAYS = st.one_of(
    st.integers(1, 31).map(lambda n: (f"{n}W", is_target(day_number(n), weekday=True))),
    st.just(("L", is_target(from_end(0)))),
    st.just(("LW", is_target(from_end(0), weekday=True))),
    st.integers(0, 30).map(lambda n: (f"L-{n}", is_target(from_end(n)))),
    st.integers(0, 30).map(lambda n: (f"L-{n}W", is_target(from_end(n), weekday=True))),
    plain_members(1, 31).map(lambda m: (m[0], lambda day: day.day in m[1])),
)
DAY_LISTS = st.lists(DAYS, min_size=1, max_size=3).map(
    lambda parts: (",".join(text for text, _ in parts), "?", lambda day: any(ok(day) for _, ok in parts))
)
NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
WEEKDAYS = st.one_of(
    field(1, 7).map(lambda f: ("?", f[0], lambda day: day.isoweekday() % 7 + 1 in f[1])),
    st.sampled_from(NAMES).map(lambda name: ("?", name, lambda day: f"{day:%a}".upper() == name)),
    st.integers(1, 7).map(
        lambda n: (
            "?",
            f"{n}L",
            lambda day: day.isoweekday() % 7 + 1 == n and (day + timedelta(7)).month != day.month,
        )
    ),
    st.tuples(st.sampled_from(NAMES), st.integers(1, 5)).map(
        lambda p: (
            "?",
            f"{p[0]}#{p[1]}",
            lambda day: f"{day:%a}".upper() == p[0] and (day.day + 6) // 7 == p[1],
        )
    ),
)


@st.composite
def expressions(draw):
    """Text and a function that says whether the gateway should fire at a moment (aware, with its fold)."""
    (seconds, s), (minutes, m) = draw(field(0, 59)), draw(field(0, 59))
    (hours, h), (months, mon) = draw(field(0, 23)), draw(field(1, 12))
    days, weekdays, day_matches = draw(st.one_of(DAY_LISTS, WEEKDAYS))

    def fires(moment):
        return (
            moment.second in s
            and moment.minute in m
            and moment.hour in h
            and moment.month in mon
            and (moment.fold == 0 or len(h) == 24)
            and day_matches(moment.date())
        )

    return f"{seconds} {minutes} {hours} {days} {months} {weekdays}", fires


@settings(max_examples=300)
@given(
    expressions(),
    st.sampled_from([place for place, _ in CHANGES]),
    st.integers(0, 4_000_000_000),
    st.randoms(),
)
def test_every_firing_matches_and_none_between_is_missed(drawn, place, start, rng):
    text, fires = drawn
    expression, zone, tz = QuartzExpression(text), resolve_zone(place), ZoneInfo(place)
    at = start
    for _ in range(4):
        following = expression.next_after(at, zone)
        if following is None:
            break
        assert following > at
        assert fires(datetime.fromtimestamp(following, tz))
        for _ in range(30):
            assert following - at == 1 or not fires(
                datetime.fromtimestamp(rng.randrange(at + 1, following), tz)
            )
        assert expression.next_after(following - 1, zone) == following  # no memory of the way there
        at = following


@settings(max_examples=200)
@given(field(0, 59), field(0, 23), st.sampled_from(CHANGES))
def test_around_clock_changes_nothing_is_missed_or_doubled(minutes, hours, change):
    place, around = change
    tz, zone = ZoneInfo(place), resolve_zone(place)
    middle = int(datetime.fromisoformat(around).timestamp())
    first, last = middle - 4 * 3600, middle + 4 * 3600
    both_passes = len(hours[1]) == 24

    def fires(moment):
        return moment.minute in minutes[1] and moment.hour in hours[1] and (both_passes or moment.fold == 0)

    expression = QuartzExpression(f"0 {minutes[0]} {hours[0]} * * ?")
    got, at = [], first - 1
    while (at := expression.next_after(at, zone)) is not None and at < last:
        got.append(at)
    assert got == [at for at in range(first, last, 60) if fires(datetime.fromtimestamp(at, tz))]


@pytest.mark.parametrize(
    ("text", "place", "start", "wanted"),
    [
        # skipped: does not fire that day
        ("0 30 2 * * ?", "Europe/Berlin", "2026-03-28T12:00:00+01:00", ["2026-03-30T02:30:00+02:00"]),
        ("0 0 12 30 12 ?", "Pacific/Apia", "2011-01-01T00:00:00-11:00", ["2012-12-30T12:00:00+14:00"]),
        ("0 0 0 * * ?", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", ["2018-11-05T00:00:00-02:00"]),
        # doubled: once, at the first pass
        (
            "0 30 2 * * ?",
            "Europe/Berlin",
            "2026-10-25T00:00:00+02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        ),
        (
            "0 0/30 1-2 * * ?",
            "Europe/Berlin",
            "2026-10-25T01:45:00+02:00",
            ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T01:00:00+01:00"],
        ),
        # doubled, and the hours are not restricted: both passes
        (
            "0 30 * * * ?",
            "Europe/Berlin",
            "2026-10-25T02:00:00+02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"],
        ),
        (
            "0 0/15 0-23 * * ?",
            "Australia/Lord_Howe",
            "2024-04-07T01:40:00+11:00",
            ["2024-04-07T01:45:00+11:00", "2024-04-07T01:30:00+10:30", "2024-04-07T01:45:00+10:30"],
        ),
        # the day begins its last hour again after all its times are over
        (
            "0 30 * 17 2 ?",
            "America/Sao_Paulo",
            "2018-02-17T23:40:00-02:00",
            ["2018-02-17T23:30:00-03:00", "2019-02-17T00:30:00-03:00"],
        ),
    ],
)
def test_clock_changes(text, place, start, wanted):
    assert upcoming(text, place, start, len(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has 0 fields, not 6 or 7"),
        ("0 0 12 * * ? 2026 1", "it has 8 fields"),
        ("0 0 12 * * *", "exactly one of day of month and day of week must be '?'"),
        ("0 0 12 ? * ?", "exactly one of"),
        ("0 60 * * * ?", "minute '60' should hold values from 0 to 59"),
        ("0 0 24 * * ?", "hour '24'"),
        ("0 0/60 * * * ?", "minute '0/60': the step must be 1 to 59"),
        ("0 */0 * * * ?", "minute '*/0': the step must be 1 to 59"),
        ("0 0-59/90 * * * ?", "the step must be 1 to 59"),
        ("0 0 12 ? * 0", "day of week '0' should hold values from 1 to 7 or SUN to SAT"),
        ("0 0 12 ? * MO", "day of week 'MO'"),
        ("0 0 12 ? * MON-6", "day of week 'MON-6'"),
        ("0 0 12 L-31 * ?", "day of month 'L-31'"),
        ("0 0 12 0W * ?", "day of month '0W'"),
        ("0 0 12 15W-20W * ?", "day of month '15W-20W'"),
        ("0 0 12 ? * FRIL,MON", "'L' cannot stand in a list"),
        ("0 0 12 ? * 2#1,3#2", "a list can have one '#' only"),
        ("0 0 12 ? * ABC#1", "day of week 'ABC#1'"),
        ("0 0 12 ? ABC MON", "month 'ABC'"),
        ("0 0 12 ? JAN-ABC MON", "month 'JAN-ABC'"),
        ("0 , 12 * * ?", "minute ','"),
        ("0 0 12 * * ? 2030-2026", "year '2030-2026': the range ends before it starts"),
        ("0 0 12 * * ? 2026/0", "year '2026/0': the step must be 1 or more"),
        ("0 0 12 * * ? L", "year 'L'"),
        ("0 0 0 1，15 * ?", "'，' is not a plain (half-width ASCII) character"),
        ("0" * 1001, "a cron expression is a text of at most 1000 characters"),
    ],
)
def test_what_is_refused_and_why(text, message):
    with pytest.raises(InvalidValue) as refused:
        QuartzExpression(text, field="schedule.expression")
    assert message in refused.value.expected
    assert refused.value.field == "schedule.expression"
    assert str(refused.value).startswith(f"schedule.expression: {text!r} is not valid: ")


def test_stray_commas_and_full_names_are_read():
    assert upcoming("0 0,,30, 9 ? JANUARY monday", "UTC", "2026-11-21T00:00:00+00:00", 2) == [
        "2027-01-04T09:00:00+00:00",
        "2027-01-04T09:30:00+00:00",
    ]


def test_a_year_that_is_over_never_fires():
    assert upcoming("0 0 12 * * ? 2020", "UTC", "2026-01-01T00:00:00+00:00") == [None]
    assert upcoming("0 0 12 30 2 ?", "Europe/Berlin", "2026-01-01T00:00:00+00:00") == [None]


def test_only_skipped_times_never_fire():
    # The second Sunday of March is when New York skips 02:30.
    assert upcoming("0 30 2 ? 3 1#2", "America/New_York", "2026-01-01T00:00:00+00:00") == [None]


def test_the_search_ends_a_hundred_years_after_the_start():
    assert upcoming("0 0 0 1 1 ? 2126", "UTC", "2026-06-01T00:00:00+00:00", 1) == [
        "2126-01-01T00:00:00+00:00"
    ]
    assert upcoming("0 0 0 1 1 ? 2127", "UTC", "2026-06-01T00:00:00+00:00", 1) == [None]
    assert upcoming("0 0 0 1 1 ?", "UTC", "9998-06-01T00:00:00+00:00", 1) == [None]


def test_surprises_are_noted():
    assert QuartzExpression("0 0 9 ? * MON-FRI").notes == ()
    assert "a step behind a name does nothing" in QuartzExpression("0 0 9 ? * MON/2").notes[0]
    assert "XXL-JOB applies the '#' to the lowest weekday" in QuartzExpression("0 0 9 ? * MON,FRI#3").notes[0]


def test_expressions_compare_by_their_text():
    one = QuartzExpression("0 0 9 ? * 2")
    assert one == QuartzExpression("0 0 9 ? * 2") != QuartzExpression("0 0 9 ? * 3")
    assert hash(one) == hash(QuartzExpression("0 0 9 ? * 2"))
    assert repr(one) == "QuartzExpression('0 0 9 ? * 2')"
    assert one.dialect == "quartz"


@pytest.mark.parametrize("text", ["0/1 * * * * ?", "0 */7 9-17 LW,1W * ?", "30 15 10 ? 3-5 2-6"])
def test_any_order_of_questions_gives_the_same_answers(text):
    """What an expression and a zone remember must never show in an answer."""
    zone, rng = resolve_zone("Europe/Berlin"), random.Random(7)
    used = QuartzExpression(text)
    for _ in range(300):
        at = rng.randrange(1_750_000_000, 1_800_000_000)
        for question in (at, at + 1, at - 86_400):
            assert used.next_after(question, zone) == QuartzExpression(text).next_after(question, zone)


def test_the_naive_reader_agrees_with_the_calendar():
    """The reading above is itself worth a check: 2026-11-01 is a Sunday, 2026-10-31 a Saturday."""
    assert moved(date(2026, 11, 1)) == date(2026, 11, 2)
    assert moved(date(2026, 10, 31)) == date(2026, 10, 30)
    assert moved(date(2026, 8, 1)) == date(2026, 8, 3)
    assert moved(date(2026, 5, 31)) == date(2026, 5, 29)


def test_the_days_of_a_month_are_worked_out_once(monkeypatch):
    asked = []
    whole = QuartzExpression._days_of
    monkeypatch.setattr(
        QuartzExpression, "_days_of", lambda one, *month: asked.append(month) or whole(one, *month)
    )
    expression, zone = QuartzExpression("0 30 4 * * ?"), resolve_zone("Asia/Shanghai")
    at = 1_790_000_000
    for _ in range(100):
        at = expression.next_after(at, zone)
    assert asked == [(2026, 9), (2026, 10), (2026, 11), (2026, 12)]
