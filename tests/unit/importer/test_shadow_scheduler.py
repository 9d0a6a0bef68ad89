"""An old admin as it works, second by second: its scan, its read-ahead, its ring, its misfires, its deaths; the shadow beside it.

Its slots are multiples, so that what should have fired is plain arithmetic.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from importer.shadow.values import Kind, Look, Row, SeenJob, Sign
from importer.shadow.watch import EDIT_MS, START_MS, Watch
from tests.kit.model_admin import T0, version

PRE_READ_MS, SETTLE_MS, LAG_MS, EVERY_MS = 5000, 120_000, 15_000, 30_000
PERIODS = (10, 20, 60, 300)
LENGTH_S = 2400


@dataclass
class Job:
    id: int
    period_ms: int
    fires_once: bool
    running: bool = True
    last_ms: int = 0
    next_ms: int = 0
    updated_ms: int = T0 - 86_400_000
    # Slots that its schedule had while it was in force, and those that were fired; edits.
    slots: set[int] = field(default_factory=set)
    edits: list[int] = field(default_factory=list)

    def after(self, at_ms: int) -> int:
        return at_ms // self.period_ms * self.period_ms + self.period_ms

    @property
    def seen(self) -> SeenJob:
        found = version(self.period_ms // 1000, fires_once=self.fires_once)
        return SeenJob(self.id, f"job {self.id}", "app", found, self.sign)

    @property
    def sign(self) -> Sign:
        return Sign(self.running, self.last_ms, self.next_ms, self.updated_ms)


class Admin:
    def __init__(self, jobs: list[Job], draw: Random, slow: float) -> None:
        self.jobs = jobs
        self.alive = True
        self.rows: list[Row] = []
        self.fired: dict[int, set[int]] = {job.id: set() for job in jobs}
        self._ring: list[tuple[int, Job]] = []
        self._draw = draw
        self._slow = slow
        for job in jobs:
            job.next_ms = job.after(T0)
            job.last_ms = job.next_ms - job.period_ms

    def second(self, now_ms: int) -> None:
        for job in self.jobs:
            if job.running and now_ms % job.period_ms == 0 and now_ms >= (job.edits or [0])[-1] + PRE_READ_MS:
                job.slots.add(now_ms)
        if not self.alive:
            return
        due = [(at, job) for at, job in self._ring if at <= now_ms]
        self._ring = [(at, job) for at, job in self._ring if at > now_ms]
        for at_ms, job in due:
            self._log(job, now_ms, at_ms)
        for job in self.jobs:
            if job.running and job.next_ms <= now_ms + PRE_READ_MS:
                self._scan(job, now_ms)

    def die(self) -> None:
        self.alive, self._ring = False, []

    def edit(self, job: Job, now_ms: int, *, running: bool, period_ms: int) -> None:
        job.running, job.period_ms, job.updated_ms = running, period_ms, now_ms
        job.edits.append(now_ms)
        job.last_ms, job.next_ms = 0, job.after(now_ms + PRE_READ_MS) if running else 0

    def _scan(self, job: Job, now_ms: int) -> None:
        slot_ms, late_ms = job.next_ms, now_ms - job.next_ms
        job.last_ms = slot_ms
        if late_ms > PRE_READ_MS:
            if job.fires_once:
                self.rows.append(Row(len(self.rows) + 1, job.id, now_ms, Kind.MISFIRE))
            job.next_ms = job.after(now_ms)
        elif late_ms >= 0:
            self._log(job, now_ms, slot_ms)
            job.next_ms = job.after(now_ms)
        else:
            self._ring.append((slot_ms, job))
            job.next_ms = job.after(slot_ms)

    def _log(self, job: Job, now_ms: int, slot_ms: int) -> None:
        delay_s = self._draw.randint(1, 4) if self._draw.random() < self._slow else 0
        self.fired[job.id].add(slot_ms)
        self.rows.append(Row(len(self.rows) + 1, job.id, now_ms + delay_s * 1000, Kind.SCHEDULE))
        if self._draw.random() < 0.05:
            self.rows.append(Row(len(self.rows) + 1, job.id, now_ms + 1000, Kind.MANUAL))


def lived(seed: int, *, deaths: int, edits: int) -> tuple[Watch, Admin]:
    draw = Random(seed)
    jobs = [Job(n, draw.choice(PERIODS) * 1000, draw.random() < 0.5) for n in range(1, 7)]
    admin = Admin(jobs, draw, slow=0.1)
    dying = {}
    for _ in range(deaths):
        start = T0 + draw.randrange(120, LENGTH_S - 600) * 1000
        dying |= {start: False, start + draw.choice([2, 4, 30, 200, 400]) * 1000: True}
    editing = {T0 + draw.randrange(60, LENGTH_S - 300) * 1000 for _ in range(edits)}
    watch = Watch(T0 + START_MS, SETTLE_MS)
    versions, given = {}, 0
    end_ms = T0 + LENGTH_S * 1000 + SETTLE_MS + LAG_MS
    for now_ms in range(T0, end_ms + 1000, 1000):
        if now_ms in dying:
            admin.alive = True
            if not dying[now_ms]:
                admin.die()
        if now_ms in editing:
            job = draw.choice(jobs)
            running = draw.random() < 0.7
            admin.edit(job, now_ms, running=running, period_ms=draw.choice(PERIODS) * 1000)
        admin.second(now_ms)
        if (now_ms - T0) % EVERY_MS == 0 or now_ms == end_ms:
            upto_ms = now_ms - LAG_MS
            rows = [row for row in admin.rows if given < row.at_ms <= upto_ms]
            given = max(given, upto_ms)
            news = [job.seen for job in jobs if versions.get(job.id) != (job.running, job.updated_ms)]
            versions = {job.id: (job.running, job.updated_ms) for job in jobs}
            watch.observe(Look(now_ms, {job.id: job.sign for job in jobs}, news, rows, upto_ms))
    return watch, admin


def truth(watch: Watch, admin: Admin, job: Job) -> tuple[set[int], set[int]]:
    """Slots in the judged range that were fired, and that were not."""
    slots = {slot for slot in job.slots if watch.start_ms <= slot < watch.judged_ms}
    fired = admin.fired[job.id]
    return slots & fired, slots - fired


@given(st.integers(0, 1 << 32), st.integers(0, 4))
@settings(max_examples=12, deadline=None)
def test_deaths_are_found_with_their_policy(seed, deaths):
    watch, admin = lived(seed, deaths=deaths, edits=0)
    for job in admin.jobs:
        fired, lost = truth(watch, admin, job)
        tally = watch.tracks[job.id].result(watch.judged_ms)
        late_by_policy = Counter(row.kind for row in admin.rows if row.job_id == job.id)[Kind.MISFIRE]
        assert tally.agreed == len(fired)
        assert tally.missing.total() == len(lost)
        assert not tally.extra
        assert not tally.duplicates
        assert not tally.unclear
        if job.fires_once:
            assert not tally.missing["misfire_skipped"]
            assert bool(tally.missing["misfire_made_up"]) == bool(late_by_policy)
        else:
            assert not tally.missing["misfire_made_up"]


@given(st.integers(0, 1 << 32), st.integers(1, 5))
@settings(max_examples=12, deadline=None)
def test_edits_make_unclear_what_is_near_them_and_nothing_else(seed, edits):
    watch, admin = lived(seed, deaths=1, edits=edits)
    for job in admin.jobs:
        fired, lost = truth(watch, admin, job)
        near = {
            slot
            for slot in lost | fired
            if any(at - EVERY_MS - EDIT_MS <= slot <= at + EDIT_MS + EVERY_MS for at in job.edits)
        }
        tally = watch.tracks[job.id].result(watch.judged_ms)
        assert tally.missing.total() <= len(lost)
        assert tally.missing.total() >= len(lost - near)
        assert tally.agreed >= len(fired - near)
        assert not tally.extra
        assert not tally.duplicates
        assert tally.unclear.total() <= len(near) + len(job.edits)
        assert not watch.tracks[job.id].stopped
