"""What the plan of an import says the old admin fires, against Quartz's own CronExpression run by Java.

Releases up to 2.0 fire by Quartz itself, those up to 3.0 by a copy of it; later ones are alike in what is asked here.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from gateway.core.cron import parse_cron
from gateway.core.zones import resolve_zone
from importer.plan.make import PlanOptions, make_plan
from importer.plan.old_cron import CronEra, old_cron_fires
from importer.plan.old_fires import COUNT, old_fires
from importer.plan.target import Target
from importer.plan.values import Plan, Verdict
from importer.source.values import Installation, QuartzState, SourceGroup, SourceJob
from tests.conftest import skip_for_lack
from tests.e2e import quartz
from tests.e2e.java_releases import PeerUnavailableError

pytestmark = pytest.mark.e2e

CASES = Path(__file__).parents[1] / "data" / "cron" / "quartz-cases.jsonl"
NOW_MS = 1_795_246_652_000
ZONES = ("Asia/Shanghai", "UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney")
# What a shop has: these are asked for all hundred times.
USUAL = (
    *(
        "0 0 2 * * ?",
        "0 */5 * * * ?",
        "0 0/30 9-18 ? * MON-FRI",
        "0 0 9 1 * ?",
        "0 15 10 ? * 6L",
        "0 0 12 15W * ?",
    ),
    *(
        "0 0 23 L * ?",
        "0 0 23 LW * ?",
        "0 0 0 L-3 * ?",
        "30 59 23 31 12 ? 2026-2040",
        "0 0 8 ? * 2#1",
        "*/10 * * * * ?",
    ),
)
LAST_DAY = "0 37 15 L * ?"
A_LIST = quartz.Question("0 0 9 1,L * ?", "UTC", NOW_MS, 1)


def recorded_expressions() -> list[str]:
    """Those of the golden cases that are read, and that Quartz answers in a moment."""
    found = {}
    for line in CASES.read_text("utf-8").splitlines():
        case = json.loads(line)
        old = case.get("v2", {})
        odd = (
            case.get("why") in {"throws", "lenient", "year-99"}
            or old.get("fails")
            or not old.get("valid", True)
        )
        if case["valid"] and not odd and case["next"][-1] is not None and case["expr"].isprintable():
            found[case["expr"]] = None
    return list(found)


@pytest.fixture(scope="module")
def asked() -> dict[quartz.Question, tuple[int, ...] | None]:
    """All questions of this module at one start of Java."""
    chance = random.Random(7)
    questions = [
        quartz.Question(one, zone, NOW_MS, COUNT)
        for one in (*USUAL, LAST_DAY, LAST_DAY.replace("L", "31"))
        for zone in ZONES
    ]
    questions += [
        quartz.Question(one, chance.choice(ZONES), chance.randrange(1_700_000_000, 1_800_000_000) * 1000, 12)
        for one in chance.sample(recorded_expressions(), 900)
    ]
    questions.append(A_LIST)
    try:
        return dict(zip(questions, quartz.fires(questions), strict=True))
    except PeerUnavailableError as lack:
        skip_for_lack(str(lack))


def job(expression: str, zone: str) -> SourceJob:
    state = QuartzState("WAITING", expression, zone)
    return SourceJob(1, "1", description="a", cron=expression, handler="h", route="FIRST", quartz=state)


def test_releases_up_to_2_0_fire_as_quartz_does(asked: dict[quartz.Question, tuple[int, ...] | None]) -> None:
    wrong = []
    for one, theirs in asked.items():
        found = old_fires(
            job(one.expression, one.zone),
            first=(1, 2, 0),
            last=(2, 0, 2),
            zone=resolve_zone(one.zone),
            from_ms=one.start_ms,
            count=one.count,
        )
        # Quartz looks a hundred years ahead of the year it runs in, and the model ahead of the start.
        if found != theirs and (found or ())[: len(theirs or ())] != theirs:
            wrong.append((one, found, theirs))
    assert wrong == []
    assert sum(len(theirs or ()) for theirs in asked.values()) > 10_000


def test_what_is_usual_fires_here_as_it_does_there(
    asked: dict[quartz.Question, tuple[int, ...] | None],
) -> None:
    """The scheduler's own engine, in zones without clock changes: no model is between it and Quartz."""
    for one, theirs in asked.items():
        if one.count == COUNT and one.zone in {"Asia/Shanghai", "UTC"}:
            at, found = one.start_ms // 1000, []
            while at is not None and len(found) < COUNT:
                at = parse_cron(one.expression).next_after(at, resolve_zone(one.zone))
                found += [] if at is None else [at * 1000]
            assert tuple(found) == theirs, one


def plan_of(first: tuple[int, ...], last: tuple[int, ...], **options: object) -> Plan:
    source = SourceJob(
        *(1, "1"),
        description="month's end",
        schedule_type="CRON",
        schedule_conf=LAST_DAY,
        misfire="DO_NOTHING",
        route="FIRST",
        block="SERIAL_EXECUTION",
        glue_type="BEAN",
        handler="h",
        trigger_status=1,
    )
    installation = Installation("x", "", "", first, last, 0, {}, (SourceGroup("1", "app"),), (source,))
    chosen = PlanOptions("x", "Asia/Shanghai", **options)  # type: ignore[arg-type]
    return make_plan(installation, Target(), chosen, NOW_MS)


def test_the_plan_shows_which_releases_skip_the_ends_of_short_months(
    asked: dict[quartz.Question, tuple[int, ...] | None],
) -> None:
    """From 3.1.0 to 3.3.2 L is the 31st; before and after that it is what Quartz says."""
    right = asked[quartz.Question(LAST_DAY, "Asia/Shanghai", NOW_MS, COUNT)]
    only_31 = asked[quartz.Question(LAST_DAY.replace("L", "31"), "Asia/Shanghai", NOW_MS, COUNT)]
    for release in ((3, 1, 0), (3, 3, 2)):
        (planned,) = plan_of((2, 0, 0), (3, 4, 2), release=release).jobs
        assert (planned.fires.ours, planned.fires.theirs, planned.fires.differ_at) == (right, only_31, 0)
        assert planned.verdict is Verdict.CHANGED
        assert "skip every month without 31 days" in planned.fires.why
    for release in ((2, 0, 2), (2, 4, 1), (3, 0, 0), (3, 4, 0)):
        (planned,) = plan_of((2, 0, 0), (3, 4, 2), release=release).jobs
        assert (planned.fires.ours, planned.fires.theirs, planned.fires.differ_at) == (right, right, None)
        assert planned.verdict is Verdict.IDENTICAL
    # The columns of 2.3.0 to 3.1.1 do not tell which it is.
    (planned,) = plan_of((2, 3, 0), (3, 1, 1)).jobs
    assert planned.fires.theirs == right
    assert "if the old admin is of 3.1.0 to 3.3.2: it skips every month without 31 days" in planned.fires.why
    assert planned.verdict is Verdict.EQUIVALENT


def test_lists_of_the_last_day_are_refused_before_3_1(
    asked: dict[quartz.Question, tuple[int, ...] | None],
) -> None:
    assert asked[A_LIST] is None
    assert old_cron_fires(A_LIST.expression, CronEra.SINGLE, resolve_zone("UTC"), NOW_MS, 1) is None
    assert old_cron_fires(A_LIST.expression, CronEra.LISTS, resolve_zone("UTC"), NOW_MS, 1) is not None
