"""A model of an old admin goes wrong in ways that are known; the shadow must find exactly these."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.zones import resolve_zone
from importer.shadow.pulse import Pulse
from importer.shadow.report import About, report_of
from importer.shadow.tally import Tally
from importer.shadow.values import Extra, Kind, Missing, Reading, Sign, Version
from importer.shadow.watch import START_MS
from tests.kit.model_admin import (
    T0,
    ModelJob,
    ends_at,
    multiples,
    rated,
    slots_between,
    version,
    watched,
)

FOR_MS = 1_200_000
BEGIN = T0 + START_MS
ABOUT = About("old@db:3306", "2.3.0 – 2.4.2", resolve_zone("Asia/Shanghai"), "given")

FINE, LATE, HOLE, TWICE = "fine", "late", "hole", "twice"


def lives(seed):
    """Jobs, and what became of each of their slots; a hole and a double stand well apart: closer, they are one late run."""
    draw, found = Random(seed), []
    for job_id in range(1, draw.randint(2, 5)):
        period_s, shards = draw.choice([20, 60, 300]), draw.choice([0, 0, 3])
        fates, quiet = [], 0
        for _ in slots_between(multiples(period_s), BEGIN, ends_at(FOR_MS)):
            fate = FINE if quiet else draw.choice([FINE, FINE, FINE, FINE, LATE, HOLE, TWICE])
            quiet = max(0, quiet - 1) if fate in (FINE, LATE) else 1 + 40 // period_s
            fates.append((fate, draw.randint(1, 4) if fate == LATE else 0))
        kinds = draw.choices([Kind.MANUAL, Kind.RETRY, Kind.PARENT, Kind.API], k=draw.randint(0, 5))
        found.append((job_id, period_s, shards, fates, [(kind, draw.randrange(FOR_MS)) for kind in kinds]))
    return found


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_what_went_wrong_is_found_and_nothing_else(seed):
    jobs, expected = [], {}
    for job_id, period_s, shards, fates, others in lives(seed):
        next_after = multiples(period_s)
        job = ModelJob(job_id, version(period_s), next_after)
        counts, lateness = Counter(), Counter()
        slots = slots_between(next_after, BEGIN, ends_at(FOR_MS))
        for slot, (fate, late_s) in zip(slots, fates, strict=True):
            counts[fate] += 1
            if fate == HOLE:
                continue
            lateness[late_s] += 1
            for shard in range(shards) if shards else [-1]:
                job.logged.append((slot + late_s * 1000, Kind.SCHEDULE, shard))
            if fate == TWICE:
                job.logged.append((slot + 1000, Kind.SCHEDULE, 0 if shards else -1))
        # After the range all goes well.
        for slot in slots_between(next_after, ends_at(FOR_MS), ends_at(FOR_MS) + 200_000):
            job.logged += [(slot, Kind.SCHEDULE, shard) for shard in (range(shards) if shards else [-1])]
        for kind, after_ms in others:
            job.logged.append(((BEGIN + after_ms) // 1000 * 1000 + 1000, kind, -1))
        jobs.append(job)
        expected[job_id] = (counts, lateness, Counter(kind for kind, _ in others))
    watch = watched(jobs, FOR_MS)
    for job_id, (counts, lateness, others) in expected.items():
        tally = watch.tracks[job_id].result(watch.judged_ms)
        assert tally.agreed == counts[FINE] + counts[LATE] + counts[TWICE]
        assert tally.missing.total() == counts[HOLE]
        assert tally.duplicates == counts[TWICE]
        assert +tally.lateness == lateness
        assert not tally.extra
        assert not tally.unclear
        assert tally.others == others


def one(job, for_ms=FOR_MS, **more):
    watch = watched([job], for_ms, **more)
    return watch, watch.tracks[job.id].result(watch.judged_ms)


def log_slots(job, *, but=lambda _: False, until=None):
    end = ends_at(FOR_MS) + 200_000 if until is None else until
    for slot in slots_between(job.next_after, BEGIN, end):
        if not but(slot):
            job.logged.append((slot, Kind.SCHEDULE, -1))


def examples(tally, what):
    kept = tally.examples[what]
    return [*kept.first, *kept.last]


def test_slots_that_the_next_time_went_past_are_a_misfire_by_policy():
    """The old admin stood still for 4 minutes; from its row it is seen how it goes on behind what it has missed."""
    job = ModelJob(7, version(60), multiples(60))
    still, again = T0 + 300_000, T0 + 550_000
    log_slots(job, but=lambda slot: still <= slot < again)
    usual = job.seen

    def sign(at_ms):
        job.sign = None
        found = usual(at_ms)
        job.sign = sign
        if still <= at_ms < again:
            return Sign(
                running=True,
                last_ms=still - 60_000,
                next_ms=still // 60_000 * 60_000,
                updated_ms=found.updated_ms,
            )
        return found

    job.sign = sign
    _, tally = one(job)
    assert tally.missing == {Missing.MISFIRE_SKIPPED: 5}
    (example,) = examples(tally, "missing")
    assert example.count == 5
    assert "seen overdue" in example.words
    assert "DO_NOTHING" in example.words


def test_a_misfire_run_makes_up_for_all_that_was_missed_before_it():
    job = ModelJob(7, version(60, fires_once=True), multiples(60))
    log_slots(job, but=lambda slot: T0 + 300_000 <= slot < T0 + 600_000)
    job.logged.append((T0 + 599_000, Kind.MISFIRE, -1))
    _, tally = one(job)
    assert tally.missing == {Missing.MISFIRE_MADE_UP: 5}
    assert not tally.extra
    (example,) = examples(tally, "missing")
    assert len(example.log_ids) == 1


def test_when_nothing_of_any_job_was_started_it_is_a_silence():
    jobs = [ModelJob(n, version(60), multiples(60)) for n in range(1, 6)]
    for job in jobs:
        log_slots(job, but=lambda slot: slot == (T0 + 420_000) // 60_000 * 60_000)
    watch = watched(jobs, FOR_MS)
    for job in jobs:
        assert watch.tracks[job.id].result(watch.judged_ms).missing == {Missing.MISFIRE_SKIPPED: 1}
    (silence,) = watch.pulse.current()
    assert silence.slots == 5
    assert silence.start_ms == (T0 + 420_000) // 60_000 * 60_000


def test_a_few_slots_that_were_lost_at_once_are_no_silence_worth_telling():
    jobs = [ModelJob(n, version(60), multiples(60)) for n in range(1, 5)]
    hole = (T0 + 420_000) // 60_000 * 60_000
    for job in jobs:
        log_slots(job, but=lambda slot: slot == hole)
    assert not watched(jobs, FOR_MS).pulse.current()


def test_runs_of_jobs_that_are_not_watched_are_signs_of_life():
    frequent = ModelJob(1, version(1, text="* * * * * ?"), multiples(1))
    hole = (T0 + 420_000) // 60_000 * 60_000
    log_slots(frequent, but=lambda slot: hole <= slot < hole + 12_000)
    other = ModelJob(99, version(60), multiples(60))
    watch, tally = one(frequent)
    assert tally.missing == {Missing.MISFIRE_SKIPPED: 12}
    assert watch.pulse.current()
    for at_ms in range(hole - 20_000, hole + 20_000, 1000):
        other.logged.append((at_ms, Kind.SCHEDULE, -1))
    frequent.logged = [*frequent.logged]
    watch = watched([frequent], FOR_MS, strangers=[other])
    assert watch.tracks[1].result(watch.judged_ms).missing == {Missing.HOLE: 12}
    assert not watch.pulse.current()


def test_a_frequent_job_that_comes_late_passes_slots_over():
    """Each second; once the scan comes 3 s late, fires once, and goes on after now."""
    job = ModelJob(1, version(1, text="* * * * * ?"), multiples(1))
    slots = slots_between(job.next_after, BEGIN, ends_at(FOR_MS) + 200_000)
    late = T0 + 300_000
    job.logged = [(slot, Kind.SCHEDULE, -1) for slot in slots if not late <= slot < late + 3000]
    usual = job.seen

    def sign(at_ms):
        job.sign = None
        found = usual(at_ms)
        job.sign = sign
        if at_ms == late:
            return Sign(running=True, last_ms=late - 1000, next_ms=late + 3000, updated_ms=found.updated_ms)
        return found

    job.sign = sign
    _, tally = one(job)
    assert tally.missing == {Missing.MISFIRE_SKIPPED: 3}
    assert "passed over" in examples(tally, "missing")[0].words


def test_a_lost_slot_of_one_job_among_others_is_a_hole():
    jobs = [ModelJob(n, version(60, fires_once=True), multiples(60)) for n in range(1, 6)]
    for job in jobs:
        log_slots(job, but=lambda slot, job=job: job.id == 3 and slot == (T0 + 420_000) // 60_000 * 60_000)
    watch = watched(jobs, FOR_MS)
    tally = watch.tracks[3].result(watch.judged_ms)
    assert tally.missing == {Missing.HOLE: 1}
    assert "DO_NOTHING" not in examples(tally, "missing")[0].words
    assert not watch.pulse.current()


def test_an_edit_is_judged_by_the_version_in_force_and_what_is_between_is_unclear():
    job = ModelJob(7, version(60), multiples(60))
    edited = T0 + 603_000
    log_slots(job, until=edited)
    for slot in slots_between(multiples(20), edited + 5000, ends_at(FOR_MS) + 200_000):
        if slot not in (edited // 20_000 * 20_000 + 20_000, edited // 20_000 * 20_000 + 200_000):
            job.logged.append((slot, Kind.SCHEDULE, -1))
    told = []

    def changed(at_ms):
        if at_ms >= edited and not told:
            told.append(at_ms)
            job.version, job.next_after, job.updated_ms = version(20), multiples(20), edited
            return [job]
        return []

    # The model's state is moved before it is looked at.
    changes = {}
    watch, tally = one(
        job, between=lambda at: changes.setdefault(at, changed(at)), changed=lambda at: changes[at]
    )
    assert told
    assert tally.missing.total() == 1  # long after the edit: firm
    assert tally.unclear.total() == 1  # within moments of it
    assert not tally.extra
    assert watch.tracks[7].version.text == "0/20 * * * * ?"


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_job_that_stops_without_a_mark_was_stopped_by_the_old_admin(by_hand):
    job = ModelJob(7, version(60), multiples(60))
    stopped = T0 + 625_000
    log_slots(job, until=stopped - 90_000)
    changes = {}

    def between(at_ms):
        changes[at_ms] = []
        if at_ms >= stopped and job.running:
            job.running = False
            job.updated_ms = stopped if by_hand else job.updated_ms
            changes[at_ms] = [job]

    watch, tally = one(job, between=between, changed=lambda at: changes[at])
    track = watch.tracks[7]
    assert bool(track.stopped) is not by_hand
    # The last slot before a stop by hand may have been on its way.
    assert tally.missing == ({Missing.HOLE: 1} if by_hand else {Missing.STOPPED: 2})
    assert tally.unclear.total() == by_hand
    assert ("by itself" in track.stopped) is not by_hand
    if not by_hand:
        assert report_of(watch, ABOUT)["stopped_by_old_admin"][0]["job_id"] == 7


def test_the_last_run_of_a_job_that_has_come_to_its_end_agrees():
    """Its row says that it is stopped as soon as the last slot is read ahead, up to five seconds before that fires."""
    job = ModelJob(7, version(60), multiples(60))
    last = job.next_after(T0 + 600_000)
    log_slots(job, until=last + 1)
    changes = {}

    def between(at_ms):
        stops = job.running and at_ms >= last - 4000
        job.running = job.running and not stops
        changes[at_ms] = [job] if stops else []

    watch, tally = one(job, between=between, changed=lambda at: changes[at], every_ms=1000)
    assert watch.tracks[7].stopped
    assert tally.agreed == len(slots_between(job.next_after, BEGIN, last + 1))
    assert not tally.differs


def test_in_a_stretch_that_nobody_knows_of_there_is_no_silence():
    for ignored in (False, True):
        pulse = Pulse()
        for second in range(100):
            pulse.due(second * 1000)
            if not 40 <= second < 60:
                pulse.started(second * 1000)
        if ignored:
            pulse.ignore(30_000, 60_000)
        pulse.settle(200_000)
        assert [one.slots for one in pulse.current()] == ([] if ignored else [15])


def test_where_people_leave_no_mark_a_stop_is_unclear():
    """Up to 2.1 nothing tells a job that people stopped from one that the old admin stopped."""
    job = ModelJob(7, replace(version(60), stops_marked=False), multiples(60))
    stopped = T0 + 625_000
    log_slots(job, until=stopped - 30_000)
    changes = {}

    def between(at_ms):
        changes[at_ms] = []
        if at_ms >= stopped and job.running:
            job.running = False
            changes[at_ms] = [job]

    watch, tally = one(job, between=between, changed=lambda at: changes[at])
    assert not watch.tracks[7].stopped
    assert tally.unclear.total() == 1
    assert not tally.differs


def test_a_stopped_job_has_no_slots_and_one_that_is_started_has_them_from_then_on():
    job = ModelJob(7, version(60), multiples(60), running=False)
    started = T0 + 601_000
    for slot in slots_between(multiples(60), started + 5000, ends_at(FOR_MS) + 200_000):
        job.logged.append((slot, Kind.SCHEDULE, -1))
    changes = {}

    def between(at_ms):
        changes[at_ms] = []
        if at_ms >= started and not job.running:
            job.running, job.updated_ms = True, started
            changes[at_ms] = [job]

    _, tally = one(job, between=between, changed=lambda at: changes[at])
    assert tally.agreed == len(slots_between(multiples(60), started + 5000, ends_at(FOR_MS)))
    assert not tally.differs
    assert not tally.unclear


def test_an_untold_row_is_a_slot_where_one_is_near_and_else_it_is_not_told():
    job = ModelJob(7, version(300), multiples(300))
    slots = slots_between(job.next_after, BEGIN, ends_at(FOR_MS))
    job.logged += [(slot + 2000, Kind.UNTOLD, -1) for slot in slots]
    job.logged.append((slots[0] + 140_000, Kind.UNTOLD, -1))  # by hand, perhaps
    job.logged.append((slots[1] + 9000, Kind.UNTOLD, -1))  # near one that has its row
    _, tally = one(job)
    assert tally.agreed == len(slots)
    assert tally.extra == {"untold": 2}
    assert not tally.duplicates
    assert not tally.missing


def test_late_rows_of_a_frequent_job_are_late_and_not_holes_and_doubles():
    """The queue of triggers stood: rows of a 10 s job come 12 s late, then two come within 2 s."""
    job = ModelJob(7, version(10), multiples(10))
    slots = slots_between(job.next_after, BEGIN, ends_at(FOR_MS) + 200_000)
    job.logged = [(slot + (12_000 if 20 <= n < 23 else 0), Kind.SCHEDULE, -1) for n, slot in enumerate(slots)]
    _, tally = one(job)
    assert not tally.differs
    assert tally.late == 3
    assert tally.late_s(1) == 12


@pytest.mark.parametrize(("late_s", "is_its"), [(110, True), (130, False)])
def test_a_run_belongs_to_its_slot_up_to_the_settle_time(late_s, is_its):
    job = ModelJob(7, version(300), multiples(300))
    slots = slots_between(job.next_after, BEGIN, ends_at(FOR_MS) + 200_000)
    job.logged = [
        (slot + (late_s * 1000 if n == 1 else 0), Kind.SCHEDULE, -1) for n, slot in enumerate(slots)
    ]
    _, tally = one(job)
    assert tally.missing.total() == (not is_its)
    assert tally.extra == ({} if is_its else {"off_slot": 1})
    assert tally.late == is_its


def test_a_slot_that_was_made_up_for_is_not_filled_by_a_double_after_it():
    job = ModelJob(7, version(20, fires_once=True), multiples(20))
    slots = slots_between(job.next_after, BEGIN, ends_at(FOR_MS) + 200_000)
    job.logged = [(slot, Kind.SCHEDULE, -1) for n, slot in enumerate(slots) if n != 5]
    job.logged += [(slots[5] + 9000, Kind.MISFIRE, -1), (slots[6] + 1000, Kind.SCHEDULE, -1)]
    _, tally = one(job)
    assert tally.missing == {Missing.MISFIRE_MADE_UP: 1}
    assert tally.duplicates == 1


def test_a_fixed_rate_is_followed_and_its_drift_is_told():
    rate = 60
    job = ModelJob(7, rated(rate), multiples(rate))
    at, shift, slots = BEGIN // 60_000 * 60_000 + 60_000, 0, 0
    while at < ends_at(FOR_MS) + 200_000:
        late = 4000 if slots in (4, 9) else 0  # found late by the scan: the next counts from then
        job.logged.append((at + late, Kind.SCHEDULE, -1))
        shift += late
        at += late + rate * 1000
        slots += 1
    _, tally = one(job)
    assert tally.drift_ms == shift == 8000
    assert tally.drifts == 2
    assert not tally.differs
    assert tally.lateness[4] == 2


LONG_MS = 2_400_000
ON_TIME, SLOW, LOST, SKIPPED, MADE_UP = "on time", "slow", "lost", "skipped", "made up"


@given(st.integers(0, 1 << 32), st.booleans(), st.sampled_from([30, 60, 120]))
@settings(max_examples=40, deadline=None)
def test_a_fixed_rate_is_followed_through_all_that_happens_to_it(seed, fires_once, rate_s):
    """The rule of the old admin, run: on time the phase stays, late or misfired the next run is an interval after now."""
    draw, rate = Random(seed), rate_s * 1000
    job = ModelJob(7, rated(rate_s, fires_once=fires_once), multiples(rate_s))
    due = multiples(rate_s)(BEGIN)
    expected, drift, quiet = Counter(), 0, 2
    while due < ends_at(LONG_MS):
        fate = (
            ON_TIME
            if quiet or due > ends_at(LONG_MS) - 500_000
            else draw.choice([ON_TIME, ON_TIME, SLOW, LOST, TWICE, SKIPPED])
        )
        quiet = max(0, quiet - 1) if quiet else 2 * (fate != ON_TIME)
        if fate == SKIPPED:
            found = due + draw.randint(7, 3 * rate_s) * 1000
            if (found - due) % rate >= rate - 1000:
                found += 3000  # a second before a slot of the old phase it might be that one's
            missed = (found - due) // rate + 1
            off = (found - due) % rate
            if fires_once:
                missed -= off == 0  # a slot of that second has its run: the one that is made up
                job.logged.append((found, Kind.MISFIRE, -1))
            if 0 < off <= 5000 and not fires_once:
                found, off = found - off, 0  # so near that it might be a late run of the old phase
            # Without a new phase nothing tells a misfire from slots that were lost.
            expected[MADE_UP if fires_once else SKIPPED if off else LOST] += missed
            drift += off
            due = found + rate
            continue
        late = draw.randint(2, 5) * 1000 if fate == SLOW else 0
        expected[fate] += 1
        if fate != LOST:
            job.logged.append((due + late, Kind.SCHEDULE, -1))
        if fate == TWICE:
            job.logged.append((due + 1000, Kind.SCHEDULE, -1))
        drift += late
        due += late + rate
    for more in range(due, due + 400_000, rate):
        job.logged.append((more, Kind.SCHEDULE, -1))
        expected[ON_TIME] += more < ends_at(LONG_MS)
    _, tally = one(job, LONG_MS, every_ms=120_000)
    assert tally.missing.get(Missing.MISFIRE_MADE_UP, 0) == expected[MADE_UP]
    assert tally.missing.get(Missing.MISFIRE_SKIPPED, 0) == expected[SKIPPED]
    assert tally.missing.get(Missing.HOLE, 0) == expected[LOST]
    assert tally.duplicates == expected[TWICE]
    assert tally.drift_ms == drift
    assert not tally.extra
    assert not tally.unclear


def test_a_fixed_rate_that_was_started_runs_an_interval_later():
    job = ModelJob(7, rated(60), multiples(60), running=False)
    started = T0 + 603_000
    first = started + 5000 + 60_000
    job.logged = [(at, Kind.SCHEDULE, -1) for at in range(first, ends_at(FOR_MS) + 200_000, 60_000)]
    job.sign = lambda at: Sign(
        running=at >= started,
        next_ms=max(first, at - (at - first) % 60_000 + 60_000) if at >= started else 0,
        updated_ms=started if at >= started else job.updated_ms,
    )
    told = []

    def changed(at_ms):
        fresh = at_ms >= started and not told
        told.extend([at_ms] if fresh else [])
        return [job] if fresh else []

    _, tally = one(job, changed=changed)
    assert told
    assert tally.agreed == len(range(first, ends_at(FOR_MS), 60_000))
    assert not tally.differs
    assert not tally.unclear
    assert not tally.drifts


def test_shards_of_a_fixed_rate_are_one_run():
    job = ModelJob(7, rated(60), multiples(60))
    slots = slots_between(job.next_after, BEGIN, ends_at(FOR_MS) + 200_000)
    # One after another: each executor that does not answer takes 3 s.
    job.logged = [(slot + shard * 3000, Kind.SCHEDULE, shard) for slot in slots for shard in range(3)]
    job.logged.append((slots[4] + 7000, Kind.SCHEDULE, 1))
    _, tally = one(job)
    assert tally.agreed == len(slots_between(job.next_after, BEGIN, ends_at(FOR_MS)))
    assert tally.duplicates == 1
    assert not tally.missing
    assert not tally.extra
    assert not tally.drifts


def test_a_fixed_rate_that_misfires_has_missing_slots_and_a_new_phase():
    job = ModelJob(7, rated(60), multiples(60))
    first = BEGIN // 60_000 * 60_000 + 60_000
    before = [first + n * 60_000 for n in range(5)]
    anew = before[-1] + 217_000  # found late at that instant, so that the next is an interval later
    after = list(range(anew + 60_000, ends_at(FOR_MS) + 200_000, 60_000))
    job.logged = [(at, Kind.SCHEDULE, -1) for at in before + after]
    job.logged.append((after[3] + 1000, Kind.SCHEDULE, -1))  # and one twice
    _, tally = one(job)
    assert tally.missing == {Missing.MISFIRE_SKIPPED: 3}
    assert tally.drift_ms == 37_000
    assert tally.duplicates == 1
    assert not tally.extra


def test_a_fixed_rate_that_fires_no_more_is_missing_up_to_now():
    job = ModelJob(7, rated(60), multiples(60))
    first = BEGIN // 60_000 * 60_000 + 60_000
    job.logged = [(first + n * 60_000, Kind.SCHEDULE, -1) for n in range(5)]
    watch, tally = one(job)
    due = list(range(first + 300_000, watch.judged_ms, 60_000))
    assert tally.missing.total() == len(due)
    assert watch.tracks[7].result(watch.judged_ms).missing.total() == len(due)  # asking again changes nothing


def test_rows_of_the_old_reading_are_explained():
    """A release that fires at half past as well, by a reading of its own."""
    half = multiples(1800)
    reading = Reading(half, lambda at_ms: "this release fires at half past")
    whole = version(3600)
    job = ModelJob(7, Version(whole.key, whole.text, whole.slots, readings=(reading,)), half)
    log_slots(job, until=ends_at(7_200_000) + 400_000)
    _, tally = one(job, 7_200_000)
    assert tally.extra == {"old_reading": 2}
    assert {example.words for example in examples(tally, "extra")} == {"this release fires at half past"}
    assert not tally.missing


def test_slots_that_the_old_reading_does_not_have_are_explained():
    reading = Reading(multiples(600), lambda at_ms: "every other one only")
    plain = version(300)
    job = ModelJob(7, Version(plain.key, plain.text, plain.slots, readings=(reading,)), multiples(600))
    log_slots(job)
    _, tally = one(job)
    assert tally.missing == {Missing.OLD_READING: 2}


def test_stored_next_times_that_are_no_slots_name_the_zone():
    """Three daily jobs of an admin in Shanghai, read in UTC: all next times are 8 h off."""
    jobs = []
    for n in range(3):
        text = f"0 0 {n + 1} * * ?"
        local = (n + 1 - 8) % 24 * 3_600_000
        job = ModelJob(
            n,
            version(0, text=text),
            lambda at, local=local: (at - local) // 86_400_000 * 86_400_000 + 86_400_000 + local,
        )
        job.sign = lambda at, job=job: Sign(
            running=True, last_ms=0, next_ms=job.next_after(at), updated_ms=job.updated_ms
        )
        jobs.append(job)
    told = report_of(watched(jobs, 60_000), ABOUT)["next_times"]
    assert (told["compared"], told["differ"]) == (3, 3)
    assert "8 h ahead of" in told["hint"]


def test_a_deleted_job_is_unclear_and_a_new_one_counts_from_its_start():
    old, new = ModelJob(1, version(60), multiples(60)), ModelJob(2, version(60), multiples(60))
    log_slots(old, until=T0 + 595_000)
    made = T0 + 600_000
    new.updated_ms = made
    for slot in slots_between(multiples(60), made + 5000, ends_at(FOR_MS) + 200_000):
        new.logged.append((slot, Kind.SCHEDULE, -1))
    jobs, changes = [old], {}

    def between(at_ms):
        changes[at_ms] = []
        if at_ms >= T0 + 660_000 and old in jobs:
            jobs[:] = [new]
            changes[at_ms] = [new]

    watch = watched(jobs, FOR_MS, between=between, changed=lambda at: changes[at])
    gone, came = (watch.tracks[n].result(watch.judged_ms) for n in (1, 2))
    assert not gone.differs
    assert gone.unclear
    assert not watch.tracks[1].sign.running
    assert came.agreed > 5
    assert not came.differs


def test_late_is_more_than_five_seconds_and_shares_are_by_the_nearest_rank():
    tally = Tally()
    assert tally.late_s(0.5) is None
    for late_ms in (0, 900, 1000, 5000, 5999, 6000):
        tally.agree(late_ms)
    assert tally.late == 1
    assert [tally.late_s(share) for share in (0.01, 0.34, 0.5, 0.51, 0.9, 1)] == [0, 1, 1, 5, 6, 6]


def test_memory_does_not_grow_with_the_watch():
    job = ModelJob(7, version(60), multiples(60))
    log_slots(job, but=lambda slot: slot % 300_000 == 0, until=T0 + 90_000_000)
    watch, tally = one(job, 86_400_000, every_ms=300_000)
    track = watch.tracks[7]
    assert track.waiting() <= 5
    assert len(watch._due) <= 1
    assert len(watch.pulse._due) <= 10
    assert len(examples(tally, "missing")) == 6
    assert tally.examples["missing"].count == tally.missing.total() == 288


def test_the_page_explains_each_reason():
    page = (Path(__file__).parents[3] / "docs" / "shadow.md").read_text("utf-8")
    assert [one for one in (*Missing, *Extra) if f"| `{one}` |" not in page] == []
