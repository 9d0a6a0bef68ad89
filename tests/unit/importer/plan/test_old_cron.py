"""When old admins fire an expression, against recorded answers of theirs (`tests/data/cron`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.core.cron import parse_cron
from gateway.core.errors import InvalidValue
from gateway.core.zones import resolve_zone
from importer.plan.old_cron import (
    CronEra,
    eras,
    fires_by_days,
    first_change_ms,
    old_cron_fires,
    our_cron_fires,
)

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[3] / "data" / "cron" / "quartz-cases.jsonl").read_text().splitlines()
]
# Text outside the grammar, an end of the search in a fixed year, an internal marker that leaks: not worth a model.
NOT_MODELLED = {"lenient", "throws", "horizon", "year-99"}
# A zone whose clocks went forward at one minute past midnight; lists in which a W day meets another or itself.
UNLIKE = {"q00963", "q01323", "q01675", "q01684", "q02365"}
SHANGHAI = resolve_zone("Asia/Shanghai")
NOW_MS = 1_795_246_652_000


def wanted(case, era):
    case = case | (case.get("v2", {}) if era is CronEra.SINGLE else {})
    if not case["valid"] or case.get("fails"):
        return None
    return tuple(at * 1000 for at in case["next"] if at is not None)


@pytest.mark.parametrize("era", [CronEra.SINGLE, CronEra.LISTS])
def test_recorded_answers(era: CronEra) -> None:
    wrong = []
    for case in CASES:
        if case.get("why") in NOT_MODELLED or case["id"] in UNLIKE:
            continue
        found = old_cron_fires(case["expr"], era, resolve_zone(case["tz"]), case["start_epoch"] * 1000, 5)
        if found != wanted(case, era):
            wrong.append((case["id"], case["expr"], case["tz"], found, wanted(case, era)))
    assert wrong == []


def one_by_one(expression, zone, from_ms, count):
    found, at = [], from_ms // 1000
    while len(found) < count and (at := expression.next_after(at, zone)) is not None:
        found.append(at * 1000)
    return tuple(found)


def test_days_and_times_of_day_together_are_what_is_found_one_by_one() -> None:
    told = 0
    for number, text in enumerate(sorted({case["expr"] for case in CASES if case["valid"]})):
        try:
            expression = parse_cron(text)
        except InvalidValue:
            continue
        # Within a day, and where the clocks of one of the zones have just changed or are about to.
        from_ms = NOW_MS + number * 7_777_777
        for place in ("Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"):
            zone = resolve_zone(place)
            found = fires_by_days(expression, zone, from_ms, 20)
            assert found in (None, one_by_one(expression, zone, from_ms, 20)), (text, place)
            told += found is not None
    assert told > 1000


def test_which_releases_read_alike() -> None:
    assert eras((1, 2, 0), (2, 0, 2)) == (CronEra.SINGLE,)
    assert eras((2, 3, 0), (3, 1, 1)) == (CronEra.SINGLE, CronEra.LAST_IS_31)
    assert eras((3, 0, 0), (3, 0, 0)) == (CronEra.SINGLE,)
    assert eras((3, 1, 0), (3, 1, 0)) == eras((3, 2, 0), (3, 3, 2)) == (CronEra.LAST_IS_31,)
    assert eras((3, 4, 0), (3, 4, 2)) == eras((3, 5), (3, 5)) == (CronEra.LISTS,)


def test_months_without_31_days_are_skipped_for_l_from_3_1_0_to_3_3_2() -> None:
    found = old_cron_fires("0 0 18 L * ?", CronEra.LAST_IS_31, SHANGHAI, NOW_MS, 7)
    assert found == old_cron_fires("0 0 18 31 * ?", CronEra.LISTS, SHANGHAI, NOW_MS, 7)
    both = old_cron_fires("0 0 18 1,L * ?", CronEra.LAST_IS_31, SHANGHAI, NOW_MS, 7)
    assert both == old_cron_fires("0 0 18 1,31 * ?", CronEra.LISTS, SHANGHAI, NOW_MS, 7)


def test_fields_behind_the_seventh_were_not_looked_at_up_to_3_0() -> None:
    assert old_cron_fires("0 0 2 * * ? * x", CronEra.SINGLE, SHANGHAI, NOW_MS, 3) == old_cron_fires(
        "0 0 2 * * ?", CronEra.SINGLE, SHANGHAI, NOW_MS, 3
    )
    assert old_cron_fires("0 0 2 * * ? * x", CronEra.LISTS, SHANGHAI, NOW_MS, 3) is None


@pytest.mark.parametrize("name", ["Asia/Shanghai", "Europe/Berlin", "UTC", "Australia/Lord_Howe"])
def test_what_is_taken_from_our_engine_is_what_theirs_would_have_said(name: str) -> None:
    """Where neither expression nor clock make a difference, the answer is worked out once for both."""
    zone = resolve_zone(name)
    for expression in ("0 0 2 * * ?", "0 */7 1-3 ? * MON-FRI", "5 4 3 L * ?", "0 30 2 ? * 1#2"):
        plain = old_cron_fires(expression, CronEra.LISTS, zone, NOW_MS, 60)
        assert plain is not None
        one_by_one = old_cron_fires(expression, CronEra.LISTS, zone, NOW_MS, 1)
        for at in plain[1:]:
            one_by_one += old_cron_fires(expression, CronEra.LISTS, zone, one_by_one[-1], 1)
            assert one_by_one[-1] == at
        steady = [
            at
            for at in our_cron_fires(parse_cron(expression), zone, NOW_MS, 60)
            if at < first_change_ms(zone, NOW_MS)
        ]
        assert list(plain[: len(steady)]) == steady
