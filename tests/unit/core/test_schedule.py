import heapq
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from gateway.core.model import Misfire
from gateway.core.schedule import (
    Api,
    Cron,
    FixedRate,
    None_,
    Union,
    is_timed,
    parse_schedule,
    phases,
    require_future,
)

NOW = 1_795_255_200_000  # 2026-11-21T10:00:00Z
CRON = {"kind": "cron", "expression": "0 0 9 * * ?", "timezone": "Asia/Shanghai"}


def slots(schedule, now):
    at = schedule.first_after(now)
    while at is not None:
        yield at
        at = schedule.next_after(at)


def test_cron_answers_in_milliseconds():
    schedule = parse_schedule(CRON | {"misfire": "fire_once"})
    assert isinstance(schedule, Cron)
    assert schedule.misfire is Misfire.FIRE_ONCE
    assert schedule.first_after(NOW) == NOW + 15 * 3_600_000
    every_second = parse_schedule({"kind": "cron", "expression": "* * * * * ?"})
    assert every_second.first_after(NOW + 500) == NOW + 1000
    assert every_second.first_after(NOW - 1) == NOW
    assert every_second.next_after(NOW) == NOW + 1000


def test_five_fields_are_unix():
    schedule = parse_schedule({"kind": "cron", "expression": "0 9 * * 1"}, default_timezone="Asia/Shanghai")
    assert schedule.expression.dialect == "unix"
    assert schedule.timezone.name == "Asia/Shanghai"


@given(st.integers(1000, 10**9), st.integers(0, 2 * NOW), st.integers(0, 2 * NOW))
def test_a_fixed_rate_keeps_its_phase(every, anchor, now):
    schedule = FixedRate(every, anchor)
    first = schedule.first_after(now)
    assert first > now
    assert (first - anchor) % every == 0
    assert first == anchor or first - every <= now
    assert schedule.next_after(first) == first + every


@pytest.mark.parametrize(
    ("expression", "every_ms"),
    [(30, 30_000), ("30", 30_000), ("30s", 30_000), ("7 days", 604_800_000), (1, 1000)],
)
def test_rates(expression, every_ms):
    spec = {"kind": "fixed_rate", "expression": expression}
    assert parse_schedule(spec, anchor_ms=5) == FixedRate(every_ms, 5, Misfire.SKIP)


@pytest.mark.parametrize(("kind", "cls"), [("api", Api), ("none", None_)])
def test_kinds_without_a_time_never_fire(kind, cls):
    schedule = parse_schedule({"kind": kind, "expression": "", "timezone": None})
    assert type(schedule) is cls
    assert schedule.first_after(NOW) is None
    assert schedule.next_after(NOW) is None
    require_future(schedule, NOW)


@given(st.lists(st.tuples(st.integers(1000, 100_000), st.integers(0, 50_000)), min_size=1, max_size=4))
def test_a_union_is_the_sorted_merge_of_its_members(rates):
    members = tuple(FixedRate(every, anchor) for every, anchor in rates)
    merged = heapq.merge(*(islice(slots(member, 0), 20) for member in members))
    wanted = sorted(set(merged))[:20]
    assert list(islice(slots(Union(members), 0), len(wanted[:10]))) == wanted[:10]


def test_a_list_is_a_union():
    night = {"kind": "cron", "expression": "0 22 * * *", "timezone": "UTC"}
    schedule = parse_schedule([CRON, night, {"kind": "none"}])
    assert isinstance(schedule, Union)
    assert list(islice(slots(schedule, NOW), 3)) == [NOW + h * 3_600_000 for h in (12, 15, 36)]
    assert parse_schedule([CRON]) == parse_schedule(CRON)
    assert parse_schedule((CRON, {"kind": "api"})).misfire is Misfire.SKIP


def test_a_union_of_ended_members_ends():
    over = {"kind": "cron", "expression": "0 0 9 * * ? 2020"}
    assert parse_schedule([over, {"kind": "api"}]).first_after(NOW) is None


def test_schedules_are_values():
    assert parse_schedule(CRON) == parse_schedule(dict(CRON))
    with pytest.raises(AttributeError):
        parse_schedule(CRON).timezone = None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "schedule.kind: None is not valid: one of cron, fixed_rate, "),
        ({"kind": "second_delay"}, "schedule.expression: None is not valid: a duration"),
        ({"kind": "second_delay", "expression": "0.5s"}, "is not valid: 1 s to 7 days"),
        *(
            (
                {"kind": "second_delay", "expression": wrong, "rule": "schedulerx"},
                f"schedule.expression: {wrong!r} is not valid: 1 to 60 whole seconds, by the rule 'schedulerx'",
            )
            for wrong in (0, 61, "1500ms", "2m")
        ),
        ({"kind": []}, "schedule.kind: [] is not valid"),
        (
            CRON | {"tz": "UTC"},
            "schedule: 'tz' is not valid: the keys are kind, expression, timezone, misfire, anchor, offset, rule",
        ),
        (CRON | {"timezone": "Mars"}, "schedule.timezone: 'Mars' is not valid: an IANA time zone"),
        (CRON | {"expression": None}, "schedule.expression: '' is not valid: it has 0 fields"),
        (CRON | {"expression": 5}, "schedule.expression: 5 is not valid: a cron expression is a text"),
        (CRON | {"misfire": "burst"}, "schedule.misfire: 'burst' is not valid: one of skip, fire_once"),
        (CRON | {"misfire": []}, "schedule.misfire: [] is not valid"),
        (
            {"kind": "fixed_rate", "expression": "0.5s"},
            "schedule.expression: '0.5s' is not valid: at least 1 s",
        ),
        ({"kind": "fixed_rate"}, "schedule.expression: None is not valid: a duration"),
        ({"kind": "api", "expression": "0 9 * * *"}, "is not valid: nothing, for the kind 'api'"),
        (CRON | {"anchor": 5}, "schedule.anchor: 5 is not valid: nothing: only the kind 'fixed_rate' has it"),
        (
            {"kind": "interval", "expression": "15m", "offset": "15m"},
            "schedule.offset: '15m' is not valid: less than the interval",
        ),
        (
            {"kind": "interval", "expression": "101 years"},
            "schedule.expression: '101 years' is not valid: a duration",
        ),
        ({"kind": "interval", "expression": "36526d"}, "'36526d' is not valid: at most 100 years"),
        ({"kind": "one_time"}, "schedule.expression: None is not valid: an instant: 'yyyy-MM-dd HH:mm:ss'"),
        (
            {"kind": "one_time", "expression": "2026-03-29 02:30:00", "timezone": "Europe/Berlin"},
            "a time that the clocks of Europe/Berlin show: they go forward over this one",
        ),
        (
            {"kind": "calendar", "expression": "0 9 * * *"},
            "schedule.expression: '0 9 * * *' is not valid: an object such as",
        ),
        (
            {"kind": "calendar", "expression": {"hour": 24}},
            "schedule.expression.hour: 24 is not valid: values from 0 to 23: one, '*', a range",
        ),
        ([], "schedule: [] is not valid: an object such as"),
        ("0 9 * * *", "schedule: '0 9 * * *' is not valid: an object such as"),
        (None, "schedule: None is not valid"),
        ([CRON, "x"], "schedule[1]: 'x' is not valid: an object such as"),
        ([CRON, {"kind": "cron", "expression": "x"}], "schedule[1].expression: 'x' is not valid"),
        (
            [CRON, {"kind": "api", "misfire": "fire_once"}],
            "schedule[].misfire: ['skip', 'fire_once'] is not valid",
        ),
    ],
)
def test_bad_schedules_name_field_value_and_what_would_be_right(spec, message):
    with pytest.raises(InvalidValue) as refused:
        parse_schedule(spec)
    assert message in str(refused.value)


def test_a_schedule_must_have_a_future():
    require_future(parse_schedule(CRON), NOW)
    require_future(FixedRate(1000, 0), NOW)
    over = {"kind": "cron", "expression": "0 0 9 * * ? 2020"}
    for spec in (over, [CRON, over]):
        with pytest.raises(
            InvalidValue, match=r"schedule.expression: '0 0 9 \* \* \? 2020' .* that fires again"
        ):
            require_future(parse_schedule(spec), NOW)
        require_future(parse_schedule(spec), NOW, enabled=False)


def test_an_interval_is_counted_from_1970():
    quarter = parse_schedule({"kind": "interval", "expression": "15m", "offset": "5m"}, anchor_ms=7)
    assert list(islice(slots(quarter, NOW), 3)) == [NOW + m * 60_000 for m in (5, 20, 35)]
    assert quarter == parse_schedule({"kind": "interval", "expression": 900, "offset": 300}, anchor_ms=9)


@given(st.integers(1000, 10**8), st.integers(0, 10**8), st.integers(0, NOW))
def test_an_interval_is_every_multiple_after_its_offset(every, offset, now):
    offset %= every
    schedule = parse_schedule(
        {"kind": "interval", "expression": f"{every}ms", "offset": f"{offset}ms"}, anchor_ms=NOW
    )
    wanted = next(at for k in range(now // every, now // every + 3) if (at := k * every + offset) > now)
    assert schedule.first_after(now) == wanted


def test_a_fixed_rate_has_the_anchor_that_it_names():
    spec = {"kind": "fixed_rate", "expression": "40m", "anchor": "2026-11-21 18:10:00", "timezone": "GMT+8"}
    schedule = parse_schedule(spec, anchor_ms=5)
    assert list(islice(slots(schedule, NOW), 2)) == [NOW + 600_000, NOW + 3_000_000]
    assert phases([spec, CRON]) == [("40m", "2026-11-21 18:10:00")]


@pytest.mark.parametrize(
    "expression",
    ["2026-11-21 19:00:00", "2026-11-21T11:00:00Z", "2026-11-21T12:00:00+01:00", NOW + 3_600_000],
)
def test_one_time_is_due_once(expression):
    schedule = parse_schedule({"kind": "one_time", "expression": expression, "timezone": "Asia/Shanghai"})
    assert list(slots(schedule, NOW)) == [NOW + 3_600_000]
    assert schedule.next_after(NOW + 3_600_000) is None


def test_one_time_that_is_over_is_refused_unless_it_is_not_enabled():
    over = {"kind": "one_time", "expression": NOW}
    require_future(parse_schedule(over), NOW - 1)
    with pytest.raises(InvalidValue, match=r"'2026-11-21T10:00:00.000\+00:00' .* an instant in the future"):
        require_future(parse_schedule(over), NOW)
    require_future(parse_schedule(over), NOW, enabled=False)
    require_future(parse_schedule([over, CRON]), NOW)
    with pytest.raises(InvalidValue, match="in the future"):
        require_future(parse_schedule([over, over]), NOW)


def test_which_schedules_can_come_to_an_end():
    assert [is_timed({"kind": kind}) for kind in ("cron", "one_time", "api", "none")] == [
        True,
        True,
        False,
        False,
    ]
    assert is_timed([{"kind": "api"}, CRON])
