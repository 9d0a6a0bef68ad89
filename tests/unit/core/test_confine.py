"""What windows, exclusions and calendars leave of a schedule, beside a model that looks at each slot alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.calendar_days import CalendarMode, CalendarUse, Days
from gateway.core.confine import confined, day_start_s
from gateway.core.errors import InvalidValue
from gateway.core.exclusions import parse_exclusion
from gateway.core.schedule import parse_schedule
from gateway.core.timing import PLAIN, Timing, Window, stored, timing_of
from gateway.core.zones import EPOCH_ORDINAL, resolve_zone

START = 1_774_000_000_000  # 2026-03-20, nine days before the clocks change in Berlin
DAYS = [date(2026, 3, 20) + timedelta(days=n) for n in range(20)]
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def in_ms(year, month, day, hour=0, minute=0, zone="UTC"):
    return int(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def take(schedule, after_ms, count):
    found, at = [], schedule.first_after(after_ms)
    while at is not None and len(found) < count:
        found.append(at)
        at = schedule.next_after(at)
    return found


# ---------------------------------------------------------------- the model


def is_free(at_ms, zone, timing, listed):
    """Whether an instant is left, by the rules as they are told to people."""
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    if at_ms < timing["start"] or (timing["end"] and at_ms >= timing["end"]):
        return False
    for begin, end, weekdays in timing["daily"]:
        day, now = local.date(), local.time()
        first = time.fromisoformat(begin)
        last = time.max if end == "24:00" else time.fromisoformat(end)
        starts = [WEEKDAYS[one.isoweekday() % 7] in weekdays for one in (day, day - timedelta(days=1))]
        if first < last:
            if starts[0] and first <= now and (end == "24:00" or now < last):
                return False
        elif (starts[0] and now >= first) or (starts[1] and now < last):
            return False
    if any(begin <= at_ms < end for begin, end in timing["once"]):
        return False
    pairs = zip(timing["modes"], listed, strict=False)
    return all((local.date() in days) == (mode == "include") for mode, days in pairs)


def by_the_model(bare, after_ms, zone, timing, listed, count):
    """Every slot of the bare schedule, one by one, up to the last day that anything says something about."""
    found, at = [], bare.first_after(after_ms)
    horizon = START + 40 * 86_400_000
    while at is not None and at < horizon and len(found) < count:
        if is_free(at, zone, timing, listed):
            found.append(at)
        at = bare.next_after(at)
    return found


CLOCK = st.sampled_from(["00:00", "01:30", "02:15", "06:00", "12:00", "22:00", "23:59"])


@st.composite
def bounds(draw):
    start = draw(st.sampled_from([0, START + 5 * 86_400_000 + 12_345]))
    end = draw(st.sampled_from([0, START + 15 * 86_400_000]))
    daily = draw(
        st.lists(
            st.tuples(CLOCK, CLOCK | st.just("24:00"), st.sets(st.sampled_from(WEEKDAYS), min_size=1)).filter(
                lambda one: one[0] != one[1]
            ),
            max_size=3,
        )
    )
    once = draw(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=2))
    return {
        "start": start,
        "end": end,
        "daily": daily,
        "once": [(START + a * 3_600_000, START + (a + b) * 3_600_000) for a, b in once],
        "modes": draw(st.lists(st.sampled_from(["include", "exclude"]), max_size=3)),
    }


def timing_from(model, zone):
    one_zone = resolve_zone(zone)
    exclusions = [
        parse_exclusion({"from": a, "to": b, "weekdays": ",".join(sorted(days))}, one_zone, field="e")
        for a, b, days in model["daily"]
    ]
    exclusions += [parse_exclusion({"from": a, "to": b}, one_zone, field="e") for a, b in model["once"]]
    uses = tuple(CalendarUse(f"c{n}", CalendarMode(mode)) for n, mode in enumerate(model["modes"]))
    return Timing(Window(model["start"], model["end"]), tuple(exclusions), uses)


LISTED = st.tuples(*[st.sets(st.sampled_from(DAYS))] * 3)


def days_for(model, listed):
    return [Days(one) for one, _ in zip(listed, model["modes"], strict=False)]


@settings(max_examples=120, deadline=None)
@given(
    bounds(),
    LISTED,
    st.sampled_from(["Europe/Berlin", "Asia/Shanghai", "America/St_Johns", "UTC"]),
    st.sampled_from(
        [
            {"kind": "fixed_rate", "expression": "37m"},
            {"kind": "cron", "expression": "0 15 1-3 * * ?"},
            {"kind": "cron", "expression": "*/20 * * * *"},
            {"kind": "calendar", "expression": {"hour": "*/5", "minute": 30}},
            {"kind": "one_time", "expression": START + 3 * 86_400_000},
        ]
    ),
    st.integers(0, 10 * 86_400),
)
def test_what_is_left_is_what_the_model_leaves(model, listed, zone, kind, after_s):
    spec = {**kind, "timezone": zone}
    bare = parse_schedule(spec, anchor_ms=START)
    schedule = confined(bare, spec, timing_from(model, zone), days_for(model, listed))
    after_ms = START + after_s * 1000
    wanted = by_the_model(bare, after_ms, zone, model, listed, 12)
    found = [at for at in take(schedule, after_ms, 12) if at < START + 40 * 86_400_000]
    assert found == wanted
    for at in found:
        assert schedule.next_after(at - 1) == at


@settings(max_examples=80, deadline=None)
@given(
    bounds(),
    LISTED,
    st.sampled_from(["Europe/Berlin", "Asia/Shanghai", "America/St_Johns", "UTC"]),
    st.integers(0, 18 * 86_400_000),
)
def test_a_chain_goes_on_at_the_first_instant_that_the_model_leaves(model, listed, zone, after_ms):
    spec = {"kind": "second_delay", "expression": "5s", "timezone": zone}
    timing = timing_from(model, zone)
    timing = Timing(
        Window(timing.window.start_ms, timing.window.end_ms, 9), timing.exclusions, timing.calendars
    )
    schedule = confined(parse_schedule(spec), spec, timing, days_for(model, listed))
    over_ms = START + after_ms
    found = schedule.first_after(over_ms)
    assert found is None or (found >= over_ms and is_free(found, zone, model, listed))
    last_ms = min(found or (1 << 60), START + 25 * 86_400_000)
    tried = [*range(over_ms, last_ms, 7 * 60_000 + 13), *([found - 1] if found and found > over_ms else [])]
    assert not any(is_free(at, zone, model, listed) for at in tried)
    assert schedule.next_after(over_ms) is None


@given(bounds())
def test_bounds_come_back_from_where_they_are_kept(model):
    timing = timing_from(model, "Europe/Berlin")
    assert timing_of(stored(timing)) == timing
    assert stored(PLAIN) == {}
    assert timing_of({}) is PLAIN


# ---------------------------------------------------------------- cases


def test_a_schedule_without_bounds_is_left_as_it_is():
    spec = {"kind": "fixed_rate", "expression": "1h"}
    bare = parse_schedule(spec)
    assert (
        confined(bare, spec, Timing(jitter_ms=5, data_offset_s=3, window=Window(max_fires=4)), None) is bare
    )


def test_each_member_of_a_union_has_the_days_of_its_own_zone():
    spec = [
        {"kind": "cron", "expression": "0 0 23 * * ?", "timezone": zone} for zone in ("UTC", "Asia/Shanghai")
    ]
    use = CalendarUse("c", CalendarMode.INCLUDE)
    schedule = confined(parse_schedule(spec), spec, Timing(calendars=(use,)), [Days([date(2026, 5, 1)])])
    assert take(schedule, START, 9) == [in_ms(2026, 5, 1, 15), in_ms(2026, 5, 1, 23)]


def test_a_window_does_not_move_the_phase():
    spec = {"kind": "fixed_rate", "expression": "40m"}
    window = Window(START + 60_000, START + 7_200_001)
    schedule = confined(parse_schedule(spec, anchor_ms=START), spec, Timing(window), None)
    assert take(schedule, 0, 9) == [START + k * 2_400_000 for k in (1, 2, 3)]


@pytest.mark.parametrize("expression", ["* * * * * ?", "*/1 * * * *"])
def test_a_search_ends_where_nothing_is_left(expression):
    spec = {"kind": "cron", "expression": expression, "timezone": "Europe/Berlin"}
    bare, zone = parse_schedule(spec), resolve_zone("Europe/Berlin")
    always = [
        parse_exclusion({"from": a, "to": b}, zone, field="e")
        for a, b in (("00:00", "12:00"), ("12:00", "24:00"))
    ]
    assert confined(bare, spec, Timing(exclusions=tuple(always)), None).first_after(START) is None
    use = CalendarUse("c", CalendarMode.INCLUDE)
    assert confined(bare, spec, Timing(calendars=(use,)), [Days(())]).first_after(START) is None
    only_past = Days([date(2020, 1, 1)])
    assert confined(bare, spec, Timing(calendars=(use,)), [only_past]).first_after(START) is None


@pytest.mark.parametrize(
    ("zone", "day", "iso"),
    [
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T00:00:00+01:00"),
        ("America/Havana", date(2026, 3, 8), "2026-03-08T01:00:00-04:00"),  # midnight is skipped
        ("America/Havana", date(2026, 11, 1), "2026-11-01T00:00:00-04:00"),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-31T00:00:00+14:00"),  # the whole day is skipped
    ],
)
def test_when_a_day_begins(zone, day, iso):
    after = datetime.fromisoformat(iso).timestamp() - 5 * 86_400
    found = day_start_s(resolve_zone(zone), day.toordinal() - EPOCH_ORDINAL, int(after))
    assert found == datetime.fromisoformat(iso).timestamp()


def test_a_midnight_that_is_skipped_loses_no_slot():
    spec = {"kind": "cron", "expression": "0 0 * * * ?", "timezone": "America/Havana"}
    use = CalendarUse("c", CalendarMode.INCLUDE)
    schedule = confined(parse_schedule(spec), spec, Timing(calendars=(use,)), [Days([date(2026, 3, 8)])])
    assert len(take(schedule, START - 30 * 86_400_000, 99)) == 23


# ---------------------------------------------------------------- jitter


@given(st.integers(1, 2**31), st.integers(1, 2**41), st.integers(0, 86_400_000))
def test_jitter_is_between_none_and_all_and_always_the_same(job_id, slot, jitter):
    timing = Timing(jitter_ms=jitter)
    assert slot <= timing.due_ms(job_id, slot) <= slot + jitter
    assert timing.due_ms(job_id, slot) == Timing(jitter_ms=jitter).due_ms(job_id, slot)


def test_jitter_spreads_jobs_and_slots():
    timing = Timing(jitter_ms=9999)
    for many in (
        [timing.due_ms(job_id, START) - START for job_id in range(1000)],
        [timing.due_ms(7, START + n * 1000) - START - n * 1000 for n in range(1000)],
    ):
        tenths = [sum(one // 1000 == tenth for one in many) for tenth in range(10)]
        assert min(tenths) > 60


def test_jitter_is_the_same_in_every_version():
    assert [Timing(jitter_ms=60_000).due_ms(n, START) - START for n in (1, 2, 3)] == [20_010, 13_126, 11_181]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("spec", "field", "expected"),
    [
        ({"from": "22:00", "to": "22:00"}, "e.to", "a whole day is 00:00 to 24:00"),
        ({"from": "24:00", "to": "06:00"}, "e.from", "before 24:00"),
        ({"from": "22:00", "to": "25:00"}, "e.to", "a time of day"),
        ({"from": "22:61", "to": "23:00"}, "e.from", "a time of day"),
        ({"from": "22:00", "to": START}, "e.to", "a time of day"),
        ({"from": "22:00", "to": "23:00", "weekdays": "MON-XXX"}, "e.weekdays", "SUN to SAT"),
        ({"from": START, "to": START}, "e.to", "an instant after from"),
        ({"from": START, "to": "06:00"}, "e.to", "an instant"),
        ({"from": START, "to": START + 1, "weekdays": "MON"}, "e.weekdays", "only times of day"),
        ({}, "e.from", "an instant"),
    ],
)
def test_exclusions_that_are_none(spec, field, expected):
    with pytest.raises(InvalidValue) as refused:
        parse_exclusion(spec, resolve_zone("UTC"), field="e")
    assert refused.value.field == field
    assert expected in refused.value.expected


def test_a_chain_that_is_found_late_moves_on_only_if_now_is_excluded():
    spec = {"kind": "second_delay", "expression": "5s"}
    night = parse_exclusion({"from": "22:00", "to": "06:00"}, resolve_zone("UTC"), field="e")
    schedule = confined(parse_schedule(spec), spec, Timing(Window(0, in_ms(2026, 5, 3)), (night,)), None)
    evening, midnight, morning = in_ms(2026, 5, 1, 21, 59), in_ms(2026, 5, 2), in_ms(2026, 5, 2, 6)
    assert schedule.slot_of(evening, evening - 3000) == evening
    assert schedule.slot_of(evening, evening + 30_000) == evening
    assert schedule.slot_of(evening, midnight) == morning
    assert schedule.slot_of(evening, morning + 5) == evening
    assert schedule.slot_of(midnight, midnight - 3000) == morning
    assert schedule.slot_of(evening, in_ms(2026, 5, 3)) is None


def test_several_calendars_are_searched_along_the_shortest():
    """Two long lists that have one day in common, and one that never leaves a day of the first two."""
    spec = {"kind": "cron", "expression": "0 0 0 * * ?"}
    even = Days(date(2000, 1, 1) + timedelta(days=2 * n) for n in range(20_000))
    odd = Days([*(date(2000, 1, 2) + timedelta(days=2 * n) for n in range(19_999)), date(2099, 12, 31)])
    uses = (CalendarUse("even"), CalendarUse("odd"), CalendarUse("never", CalendarMode.EXCLUDE))
    two = confined(parse_schedule(spec), spec, Timing(calendars=uses[:2]), [even, odd])
    assert two.first_after(START) == in_ms(2099, 12, 31)
    three = confined(
        parse_schedule(spec), spec, Timing(calendars=uses), [even, odd, Days([date(2099, 12, 31)])]
    )
    assert three.first_after(START) is None


def test_one_calendar_is_stored_as_it_was_before_there_could_be_several():
    one, other = CalendarUse("a"), CalendarUse("b", CalendarMode.EXCLUDE)
    first = {"name": "a", "mode": "include"}
    assert stored(Timing(calendars=(one,))) == {"calendar": first}
    both = stored(Timing(calendars=(one, other)))
    assert both == {"calendar": first, "calendars": [{"name": "b", "mode": "exclude"}]}
    assert timing_of(both).calendars == (one, other)
