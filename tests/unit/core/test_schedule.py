import heapq
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from gateway.core.model import Misfire
from gateway.core.schedule import Api, Cron, FixedRate, None_, Union, parse_schedule, require_future

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
        ({}, "schedule.kind: None is not valid: one of cron, fixed_rate, api, none"),
        ({"kind": "second_delay"}, "schedule.kind: 'second_delay' is not valid"),
        ({"kind": []}, "schedule.kind: [] is not valid"),
        (
            CRON | {"tz": "UTC"},
            "schedule: 'tz' is not valid: the keys are kind, expression, timezone, misfire",
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
