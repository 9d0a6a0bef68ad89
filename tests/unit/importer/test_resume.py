"""Where a job goes on after its old admin: against a small model of one that reads ahead, fires, logs, and dies."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import Misfire
from gateway.core.schedule import FixedRate, parse_schedule
from importer.plan.resume import (
    End,
    Logged,
    LogSpan,
    OldState,
    Resumption,
    bounded,
    resume,
)

START = 1_800_000_000_000
HOUR = 3_600_000


@dataclass
class ModelJob:
    """Its slots are `phase + k * every`, whole seconds or not."""

    every: int
    phase: int
    last: int = 0
    next: int = 0
    rows: list[Logged] = field(default_factory=list)
    fired: list[int] = field(default_factory=list)
    # Slots that the admin gave up itself: found too late.
    given_up: set[int] = field(default_factory=set)

    def first_after(self, at: int) -> int:
        return at + self.every - (at - self.phase) % self.every


class ModelAdmin:
    """Milliseconds pass in passes of about a second; all that is random comes from `rng`."""

    def __init__(self, jobs: list[ModelJob], rng: random.Random, *, most_lag: int, rounds: bool) -> None:
        self.jobs = jobs
        self.rng = rng
        self.most_lag = most_lag
        self.rounds = rounds

    def live(self, start: int, death: int) -> None:
        """From one instant until it is killed at another: what is in memory then is gone."""
        ring: list[tuple[int, int, ModelJob, int]] = []
        number = 0
        now = start
        while now < death:
            for job in self.jobs:
                if job.next > now + 5_000:
                    continue
                number += 1
                if now > job.next + 5_000:
                    slot = job.next
                    while slot < now:
                        job.given_up.add(slot)
                        slot += job.every
                    job.last, job.next = job.next, job.first_after(now)
                elif now > job.next:
                    self._fire(job, job.next, now, death)
                    job.last, job.next = job.next, job.first_after(now)
                else:
                    ring.append((job.next - job.next % 1000, number, job, job.next))
                    job.last, job.next = job.next, job.next + job.every
            following = now + 1000 - now % 1000 + self.rng.randint(0, 200)
            for due, _, job, slot in sorted(ring):
                if due < following:
                    self._fire(job, slot, max(due, now), death)
            ring = [one for one in ring if one[0] >= following]
            now = following

    def _fire(self, job: ModelJob, slot: int, at: int, death: int) -> None:
        logged = at + self.rng.randint(0, self.most_lag)
        sent = logged + self.rng.randint(0, 30)
        if logged >= death:
            return
        shown = (logged + 500) // 1000 * 1000 if self.rounds else logged // 1000 * 1000
        if sent < death:
            job.fired.append(slot)
        noted = sent + self.rng.randint(0, 30)
        job.rows.append(Logged(shown, noted < death))


@st.composite
def jobs_of(draw: st.DrawFn) -> list[ModelJob]:
    made = []
    for _ in range(draw(st.integers(1, 4))):
        every = draw(st.sampled_from([1, 2, 3, 5, 7, 10, 30, 60, 600, 7200])) * 1000
        phase = START + draw(st.integers(0, 59)) * 1000 + draw(st.sampled_from([0, 0, 437, 999]))
        job = ModelJob(every, phase)
        made.append(job)
    return made


def found_of(jobs: list[ModelJob], death: int) -> list[Resumption]:
    """What the rows say, as they are read: those of the log from a certain instant on, and one before them."""
    rows = [row.at_ms for job in jobs for row in job.rows]
    states = [OldState(job.last, job.next) for job in jobs]
    end = End.of(states, LogSpan(max(rows, default=0)), death)
    older = max((at for at in rows if at < end.log_from_ms), default=0)
    end = End.of(states, LogSpan(max(rows, default=0), older), death)
    return [
        resume(
            FixedRate(job.every, job.phase % job.every),
            OldState(job.last, job.next, [row for row in job.rows if row.at_ms >= end.log_from_ms]),
            end,
        )
        for job in jobs
    ]


@settings(max_examples=400, deadline=None)
@given(jobs_of(), st.integers(0, 1 << 30), st.integers(0, 120_000), st.integers(0, 600), st.booleans())
def test_each_slot_once_where_the_log_is_whole(jobs, seed, lived, most_lag, rounds) -> None:
    rng = random.Random(seed)
    admin = ModelAdmin(jobs, rng, most_lag=most_lag if not rounds else min(most_lag, 450), rounds=rounds)
    for job in jobs:
        # It has run for long.
        job.next = job.first_after(START)
        job.last = job.next - job.every
        job.rows += [Logged(slot // 1000 * 1000) for slot in range(job.last, START - 60_000, -job.every)]
    jobs[0].rows += [Logged(START - 60_000), Logged(START - 5_000)]  # by hand
    death = START + lived
    admin.live(START, death)
    for job, found in zip(jobs, found_of(jobs, death), strict=True):
        begun = job.first_after(START)
        assert found.first_ms is not None
        assert all(slot < found.first_ms for slot in job.fired)
        before = range(begun, found.first_ms, job.every)
        assert set(before) - set(job.fired) - job.given_up <= set(found.unsure)
        # Only what was logged and perhaps not sent is unsure.
        logged_only = sum(not row.is_sent for row in job.rows)
        assert len(found.unsure) <= logged_only


@settings(max_examples=600, deadline=None)
@given(jobs_of(), st.integers(0, 1 << 30), st.data())
def test_no_slot_twice_whatever_the_log_has_become(jobs, seed, data) -> None:
    """Emptied, in another zone, with triggers by hand, of an admin that lags, and that was started several times."""
    rng = random.Random(seed)
    admin = ModelAdmin(jobs, rng, most_lag=data.draw(st.sampled_from([300, 5_000, 20_000])), rounds=True)
    for job in jobs:
        job.next = job.first_after(START)
    now = START
    for _ in range(data.draw(st.integers(1, 3))):
        death = now + data.draw(st.integers(0, 90_000))
        admin.live(now, death)
        now = death + data.draw(st.integers(0, 60_000))
    shift = data.draw(st.sampled_from([0, 0, 8 * HOUR, -8 * HOUR, HOUR, -HOUR]))
    emptied = data.draw(st.sampled_from([0, START - 45_000, death - 15_000, death]))
    for job in jobs:
        by_hand = [data.draw(st.integers(START - 50_000, death)) for _ in range(data.draw(st.integers(0, 2)))]
        rows = [*job.rows, *(Logged(at) for at in by_hand)]
        job.rows = [Logged(row.at_ms + shift, row.is_sent) for row in rows if row.at_ms >= emptied]
    for job, found in zip(jobs, found_of(jobs, death), strict=True):
        assert found.first_ms is None or all(slot < found.first_ms for slot in job.fired)


def cron(expression: str):
    return parse_schedule({"kind": "cron", "expression": expression, "timezone": "Asia/Shanghai"})


DAILY = cron("0 0 3 * * ?")
SLOT = DAILY.next_after(START)
DAY = 24 * HOUR
# Other jobs fire each minute: the log is written to, and has been for long.
BUSY = LogSpan(SLOT - 20_000, SLOT - 90_000)


def end_of(log: LogSpan, dead_ms: int = SLOT + 60_000) -> End:
    return End.of([OldState(SLOT, SLOT + DAY)], log, dead_ms)


def test_a_slot_read_ahead_and_never_fired() -> None:
    state = OldState(SLOT, SLOT + DAY)
    assert resume(DAILY, state, end_of(BUSY)).first_ms == SLOT


def test_a_slot_that_has_fired() -> None:
    found = resume(DAILY, OldState(SLOT, SLOT + DAY, [Logged(SLOT)]), end_of(BUSY))
    assert (found.first_ms, found.unsure) == (SLOT + DAY, ())


def test_a_row_that_says_of_no_call_makes_unsure() -> None:
    found = resume(DAILY, OldState(SLOT, SLOT + DAY, [Logged(SLOT, is_sent=False)]), end_of(BUSY))
    assert (found.first_ms, found.unsure) == (SLOT + DAY, (SLOT,))


@pytest.mark.parametrize(
    "log",
    [
        LogSpan(),
        LogSpan(SLOT - 20_000, 0),
        LogSpan(SLOT - HOUR, SLOT - 2 * HOUR),
        LogSpan(SLOT + 8 * HOUR, SLOT - 60_000),
    ],
    ids=["empty", "begins just now", "silent for an hour", "in the future"],
)
def test_a_log_that_proves_nothing_and_what_was_taken_as_handled_is_told(log: LogSpan) -> None:
    found = resume(DAILY, OldState(SLOT, SLOT + DAY), end_of(log))
    assert (found.first_ms, found.unsure) == (SLOT + DAY, (SLOT,))


def test_rows_of_the_future_prove_no_slot() -> None:
    """Its clock is an hour ahead of the zone: five slots that were read ahead and never fired must not go unnoticed."""
    secondly = cron("* * * * * ?")
    died, last = SLOT, SLOT + 5_000
    rows = [Logged(died - 1000 * back + HOUR) for back in range(60)]
    end = End.of([OldState(last, last + 1000)], LogSpan(died + HOUR, died - 60_000 + HOUR), last + 60_000)
    found = resume(secondly, OldState(last, last + 1000, rows), end)
    assert found.first_ms == last + 1000
    assert found.unsure == tuple(range(last - 9_000, last + 1, 1000))


def test_what_comes_after_the_end_was_not_fired_whatever_the_log_says() -> None:
    assert resume(DAILY, OldState(SLOT, SLOT + DAY), end_of(LogSpan(), SLOT - 3_000)).first_ms == SLOT


def test_an_admin_that_went_on_has_had_its_slots() -> None:
    """What it did not do was its own fault; and the log of one job may have been emptied since."""
    end = end_of(LogSpan(SLOT + 31_000, SLOT - 60_000), SLOT + DAY // 2)
    assert resume(DAILY, OldState(SLOT, SLOT + DAY), end) == Resumption(SLOT + DAY)


def test_slots_since_it_died_are_all_ours() -> None:
    minutely = cron("0 * * * * ?")
    state = OldState(SLOT, SLOT + 60_000, [Logged(SLOT)])
    assert resume(minutely, state, end_of(BUSY, SLOT + HOUR)).first_ms == SLOT + 60_000


def test_a_job_that_was_just_switched_on_has_no_next_time() -> None:
    assert resume(DAILY, OldState(0, 0), end_of(BUSY, SLOT - 5_000)).first_ms == SLOT


@pytest.mark.parametrize(
    ("last", "log", "first"),
    [
        # Read ahead by another schedule, which has the slot as well, and never fired.
        (SLOT, BUSY, SLOT),
        (SLOT + HOUR, LogSpan(SLOT + HOUR, SLOT), SLOT + DAY),
        (SLOT - HOUR, LogSpan(SLOT - 1000, SLOT - HOUR), SLOT),
        # Nothing tells when it was at work: nothing before now is made up for.
        (0, LogSpan(), SLOT + DAY),
    ],
)
def test_a_job_that_went_by_another_schedule_goes_on_from_the_end(
    last: int, log: LogSpan, first: int
) -> None:
    state = OldState(last, 0, is_rescheduled=True)
    assert resume(DAILY, state, End.of([state], log, SLOT + 2 * HOUR)).first_ms == first


def test_a_schedule_that_is_over() -> None:
    assert resume(cron("0 0 3 1 1 ? 2020"), OldState(0, 0), end_of(BUSY)).first_ms is None


def test_very_many_missed_slots_are_not_made_up_for() -> None:
    secondly, five = FixedRate(1000, 0, Misfire.SKIP), FixedRate(300_000, 0, Misfire.SKIP)
    now = START + 24 * HOUR
    assert bounded(secondly, START, now) == now - HOUR + 1000
    assert bounded(five, START, now) == START
    assert bounded(secondly, now - HOUR, now) == now - HOUR
