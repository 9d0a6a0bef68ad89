"""A year of slots through the planner, with clock changes, outages and edits, beside a model that reads wall clocks.

The clock is moved by hand, some days at a time. The model knows no schedule of ours: it looks at every quarter of an
hour of the year, in Python's own time zones.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.confine import confined
from gateway.core.context import Context, Tuning
from gateway.core.exclusions import parse_exclusion
from gateway.core.listing import RunFilter
from gateway.core.model import PARTS, AddressMode, App, Counters, Job, Run, Task
from gateway.core.registry import Registry
from gateway.core.schedule import parse_schedule
from gateway.core.specs import Specs
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from gateway.core.upcoming import upcoming
from gateway.core.work import NOTHING_LOST
from gateway.core.zones import resolve_zone
from gateway.flow.plan import Planner
from gateway.flow.proving import Prover
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.calendars import CalendarStore
from gateway.store.engine import database_url, open_database
from gateway.store.evidence import EvidenceStore
from gateway.store.jobs import JobStore
from gateway.store.runs import RunStore
from gateway.store.transaction import Merged, Transaction, open_cursor
from tests.kit.blank_database import blank_database
from tests.kit.operations import StillClock

QUARTER = 900_000
HOUR = 3_600_000
DAY = 24 * HOUR
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
STEP = 3 * DAY
END = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
HOLIDAYS = frozenset(date(2026, 1, 1) + timedelta(days=n) for n in range(0, 365, 11))


class DirectWriter:
    """One transaction a work, without waiting for others."""

    healthy = True

    def __init__(self, db, clock):
        self._db, self._clock = db, clock

    async def write(self, work):
        if not (work.fires or work.inserts):
            return NOTHING_LOST
        async with self._db.write() as conn:
            attempt = Transaction(
                self._db, await open_cursor(conn), Counters(), self._clock.now_ms(), renews=False
            )
            return await attempt.hopefully(Merged.of([replace_lease(work)]))


def replace_lease(work):
    work.lease = None
    return work


# ---------------------------------------------------------------- the model


def walls(zone):
    """Every quarter of an hour of the year, with what a clock of that zone shows, and whether it shows it again."""
    info = ZoneInfo(zone)
    for at in range(START, END, QUARTER):
        local = datetime.fromtimestamp(at / 1000, info)
        yield at, local, bool(local.fold)


@dataclass
class Kind:
    """A schedule, and the quarters of the year that a person would say it names."""

    spec: Any
    zone: str
    hours_restricted: bool = True
    matches: Any = None
    slots: list[tuple[int, datetime]] = field(default_factory=list)

    def __post_init__(self):
        self.slots = [
            (at, local)
            for at, local, again in walls(self.zone)
            if self.matches(at, local) and not (again and self.hours_restricted)
        ]


@functools.cache
def kinds():
    return [
        Kind(
            {"kind": "cron", "expression": "0 30 2 * * ?", "timezone": "Europe/Berlin"},
            "Europe/Berlin",
            matches=lambda at, local: (local.hour, local.minute) == (2, 30),
        ),
        Kind(
            {
                "kind": "calendar",
                "expression": {"dayOfWeek": "MON-FRI", "hour": "*/6", "minute": 15},
                "timezone": "America/New_York",
            },
            "America/New_York",
            matches=lambda at, local: local.weekday() < 5 and local.hour % 6 == 0 and local.minute == 15,
        ),
        Kind(
            {"kind": "cron", "expression": "45 */1 * * *", "timezone": "Australia/Lord_Howe"},
            "Australia/Lord_Howe",
            hours_restricted=False,
            matches=lambda at, local: local.minute == 45,
        ),
        Kind(
            {"kind": "interval", "expression": "7h", "offset": "1h", "timezone": "Asia/Shanghai"},
            "Asia/Shanghai",
            hours_restricted=False,
            matches=lambda at, local: at % (7 * HOUR) == HOUR,
        ),
        Kind(
            {
                "kind": "fixed_rate",
                "expression": "11h",
                "anchor": START + 5 * HOUR,
                "timezone": "Europe/Berlin",
            },
            "Europe/Berlin",
            hours_restricted=False,
            matches=lambda at, local: at >= START + 5 * HOUR and (at - START - 5 * HOUR) % (11 * HOUR) == 0,
        ),
    ]


@dataclass(frozen=True)
class Bounds:
    """`night`: no slots from 22:00 to 06:00. `mode`: of the calendar."""

    night: bool = False
    mode: CalendarMode | None = None
    jitter_ms: int = 0

    def timing(self):
        night = parse_exclusion({"from": "22:00", "to": "06:00"}, resolve_zone("UTC"), field="e")
        uses = (CalendarUse("c", self.mode),) if self.mode else ()
        return Timing(exclusions=(night,) if self.night else (), calendars=uses, jitter_ms=self.jitter_ms)

    def leaves(self, local, listed):
        if self.night and (local.hour >= 22 or local.hour < 6):
            return False
        return self.mode is None or (local.date() in listed) == (self.mode is CalendarMode.INCLUDE)


@dataclass
class Told:
    """What holds for a job from an instant on."""

    since_ms: int
    kind: Kind
    bounds: Bounds
    listed: frozenset[date]
    enabled: bool = True
    most: int = 0


def expected(told, until_ms):
    """A maximum counts from when there was none on, whatever else is changed."""
    found, counted, most = set(), 0, 0
    for one, after in zip(told, [*(later.since_ms for later in told[1:]), until_ms], strict=True):
        counted = counted if most and one.most else 0
        most = one.most
        if one.enabled:
            slots = [
                at
                for at, local in one.kind.slots
                if one.since_ms < at <= after and one.bounds.leaves(local, one.listed)
            ]
            slots = slots[: max(most - counted, 0)] if most else slots
            counted += len(slots)
            found.update(slots)
    return found


# ---------------------------------------------------------------- the year


@pytest.fixture
async def db(tmp_path):
    database = open_database(database_url(blank_database(tmp_path)))
    yield database
    await database.close()


class Year:
    def __init__(self, db, seed):
        self.rng = random.Random(seed)
        self.db = db
        self.clock = StillClock(START)
        self.run_ids = ids.run_ids(db, self.clock)
        self.jobs = JobStore(db, self.clock, ids.job_ids(db, self.clock), self.run_ids)
        self.calendars = CalendarStore(db, self.clock, self.run_ids)
        self.runs = RunStore(db, self.clock)
        self.context = Context(
            clock=self.clock,
            writer=DirectWriter(db, self.clock),
            jobs=self.jobs,
            runs=self.runs,
            link=None,
            run_ids=self.run_ids,
            specs=Specs(self.jobs),
            registry=Registry(),
            lease=None,
            tuning=Tuning(plan_near_ms=STEP + HOUR, plan_far_ms=STEP + 2 * HOUR),
        )
        self.context.held.add(range(PARTS))
        self.planner = Planner(self.context, lambda rows: None)
        self.kinds = kinds()
        self.listed = HOLIDAYS
        self.told: dict[int, list[Told]] = defaultdict(list)

    async def begin(self):
        app = await AppStore(self.db, self.clock, ids.app_ids(self.db, self.clock)).create(
            App(0, 1, "billing", "", AddressMode.AUTO, (), 0, 0)
        )
        await self.calendars.create(Calendar("c", Days(self.listed)))
        bounds = [
            Bounds(),
            Bounds(night=True),
            Bounds(mode=CalendarMode.EXCLUDE, jitter_ms=HOUR),
            Bounds(mode=CalendarMode.INCLUDE),
            Bounds(night=True, mode=CalendarMode.EXCLUDE, jitter_ms=60_000),
        ]
        made = await self.jobs.create(
            [
                Job(0, 1, app.id, 0, 0, "n", True, kind.spec, Task("h"), timing=bound.timing())
                for kind, bound in zip(self.kinds, bounds, strict=True)
            ]
        )
        for job, kind, bound in zip(made, self.kinds, bounds, strict=True):
            self.told[job.id].append(Told(START, kind, bound, self.listed))

    async def edit(self):
        """One change, at an instant that is no slot, and what it means to the model."""
        now_ms = self.clock.now_ms()
        job_id = self.rng.choice(sorted(self.told))
        job, last = await self.jobs.get(job_id), self.told[job_id][-1]
        what = self.rng.choice(["switch", "kind", "bounds", "other", "days", "maximum"])
        if what == "switch":
            await self.jobs.set_enabled(job_id, enabled=not last.enabled)
            self.told[job_id].append(replace(last, since_ms=now_ms, enabled=not last.enabled))
        elif what == "kind":
            kind = self.rng.choice(self.kinds)
            await self.jobs.update(replace(job, schedule=kind.spec))
            self.told[job_id].append(replace(last, since_ms=now_ms, kind=kind))
        elif what == "bounds":
            mode = self.rng.choice([None, CalendarMode.INCLUDE, CalendarMode.EXCLUDE])
            bounds = Bounds(self.rng.random() < 0.5, mode, self.rng.choice([0, 1000, HOUR]))
            timing = replace(bounds.timing(), window=Window(max_fires=last.most))
            await self.jobs.update(replace(job, timing=timing))
            self.told[job_id].append(replace(last, since_ms=now_ms, bounds=bounds, listed=self.listed))
        elif what == "maximum":
            most = self.rng.choice([0, last.most + 20, 40])
            await self.jobs.update(replace(job, timing=replace(job.timing, window=Window(max_fires=most))))
            self.told[job_id].append(replace(last, since_ms=now_ms, most=most))
        elif what == "other":
            await self.jobs.update(replace(job, description=str(now_ms)))
        else:
            self.listed = frozenset(
                date(2026, 1, 1) + timedelta(days=n) for n in range(365) if self.rng.random() < 0.2
            )
            await self.calendars.replace(Calendar("c", Days(self.listed)))
            for one in self.told.values():
                if one[-1].bounds.mode is not None:
                    one.append(replace(one[-1], since_ms=now_ms, listed=self.listed))
        self.context.specs.clear()

    async def go(self):
        while self.clock.ms < END:
            if self.rng.random() < 0.9:  # else the node is down meanwhile
                await self.planner.run_once()
            begun = self.clock.ms
            for moment in sorted(self.rng.randrange(1, STEP) // 1000 * 1000 + 1 for _ in range(2)):
                if self.rng.random() < 0.3:
                    self.clock.ms = begun + moment
                    await self.edit()
                    if self.rng.random() < 0.5:
                        await self.planner.run_once()
            self.clock.ms = begun + STEP
        self.clock.ms = END
        await self.planner.run_once()

    async def rows(self) -> list[Run]:
        found, cursor = [], None
        while True:
            page = await self.runs.page(RunFilter(), cursor=cursor, limit=500)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


async def test_a_year_of_edits_and_outages_loses_no_slot_and_doubles_none(db):
    year = Year(db, seed=1)
    await year.begin()
    await year.go()
    wanted = {job_id: expected(told, END) for job_id, told in year.told.items()}
    covered: dict[int, list[int]] = defaultdict(list)
    for run in await year.rows():
        if run.slot_key > END:
            continue
        slots = [run.slot_key]
        if run.slot_count > 1:
            between = sorted(at for at in wanted[run.job_id] if run.slot_key <= at <= run.last_slot_ms)
            assert len(between) == run.slot_count
            slots = between
        covered[run.job_id] += slots
        assert run.state in (RunState.PLANNED, RunState.SKIPPED)
        if run.state is RunState.SKIPPED:
            assert run.reason
    for job_id, slots in wanted.items():
        assert sorted(covered[job_id]) == sorted(slots), job_id
    prover = Prover(year.clock, EvidenceStore(db, year.clock, 400))
    for job_id, slots in wanted.items():
        for from_ms in range(START, END, 30 * DAY):
            to_ms = min(from_ms + 30 * DAY, END)
            proof = await prover.prove(job_id, from_ms, to_ms)
            due = [slot for slot in slots if from_ms <= slot < to_ms]
            assert (proof.is_right, proof.expected, dict(proof.unproven)) == (True, len(due), {}), proof
    assert sum(map(len, wanted.values())) > 1500
    assert sum(map(len, year.told.values())) > 50


def test_a_year_with_a_maximum_is_its_first_slots():
    """What the planner is asked for and what people are shown agree with the model, up to the maximum."""
    for kind in kinds():
        for bounds in (Bounds(), Bounds(night=True), Bounds(True, CalendarMode.EXCLUDE)):
            timing = replace(bounds.timing(), window=Window(START + 40 * DAY, START + 300 * DAY, 150))
            schedule = confined(
                parse_schedule(kind.spec), kind.spec, timing, [Days(HOLIDAYS)] * len(timing.calendars)
            )
            wanted = [
                at
                for at, local in kind.slots
                if START + 40 * DAY <= at < START + 300 * DAY and bounds.leaves(local, HOLIDAYS)
            ]
            assert upcoming(schedule, START - 1, 10_000, left=150) == wanted[:150]
            assert upcoming(schedule, START - 1, 10_000) == wanted
