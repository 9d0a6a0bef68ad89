"""Proof against a small model: lives of a job are made up, and damaged in ways that must be found."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gateway.core.exclusions import Once
from gateway.core.expected import expected, intervals
from gateway.core.model import Job, Task
from gateway.core.proof import Evidence, FirstRow, Judge, word
from gateway.core.states import RunState
from gateway.core.timing import Timing
from gateway.core.versions import JobVersion

T = 1_795_000_000_000
S = 1000


def a_version(
    number: int, at_ms: int, every_s: int = 10, *, enabled: bool = True, anchor_ms: int = T
) -> JobVersion:
    schedule = {"kind": "fixed_rate", "expression": every_s}
    job = Job(1, 1, 1, 1, number, "job", enabled=enabled, schedule=schedule, task=Task("h"))
    return JobVersion(replace(job, anchor_ms=anchor_ms, created_ms=T, updated_ms=at_ms), "alice", at_ms)


def a_row(slot_ms: int, state: RunState = RunState.SUCCEEDED, **more) -> FirstRow:
    sent_ms = slot_ms + 3 if state not in (RunState.SKIPPED, RunState.QUEUED, RunState.PLANNED) else 0
    fields = {
        "id": slot_ms,
        "slot_ms": slot_ms,
        "last_slot_ms": slot_ms,
        "slot_count": 1,
        "state": state,
        "reason": "misfire: found 61.2 s late" if state is RunState.SKIPPED else "",
        "due_ms": slot_ms,
        "sent_ms": sent_ms,
        "ended_ms": slot_ms + 50,
    }
    return FirstRow(**(fields | more))


def proof_of(versions, rows, *, from_ms=T, to_ms=T + 100 * S, now_ms=T + 1000 * S, **more):
    evidence = Evidence(versions, rows, **({"next_fire_at": None, "cut_ms": 0} | more))
    found = intervals(versions, evidence.deleted_ms, from_ms, to_ms, evidence.editions)
    judge = Judge(1, evidence, found, now_ms)
    for interval, slot in expected(found):
        judge.take(interval, slot)
    return judge.verdict()


SLOTS = range(T + 10 * S, T + 100 * S, 10 * S)
V1 = [a_version(1, T)]


def test_a_life_without_fault() -> None:
    found = proof_of(V1, [a_row(slot) for slot in SLOTS])
    assert (found.expected, found.fired, found.late, found.lateness_max_ms) == (9, 9, 0, 3)
    assert found.is_right


def test_what_is_missing_is_named() -> None:
    found = proof_of(V1, [a_row(slot) for slot in SLOTS if slot != T + 50 * S])
    assert (found.missing, found.is_right) == ([T + 50 * S], False)


def test_a_slot_with_two_first_rows() -> None:
    found = proof_of(V1, [*(a_row(slot) for slot in SLOTS), a_row(SLOTS[2], id=7)])
    assert (found.duplicate, found.fired) == ([SLOTS[2]], 9)


def test_a_row_for_an_instant_that_was_no_slot() -> None:
    found = proof_of(V1, [*(a_row(slot) for slot in SLOTS), a_row(T + 55 * S)])
    assert (found.unexpected, found.is_right) == ([T + 55 * S], False)


def test_slots_skipped_together_are_each_accounted_for() -> None:
    group = a_row(SLOTS[1], RunState.SKIPPED, last_slot_ms=SLOTS[5], slot_count=4)
    rows = [a_row(SLOTS[0]), group, a_row(SLOTS[3]), *(a_row(slot) for slot in SLOTS[6:])]
    found = proof_of(V1, rows)
    assert (dict(found.skipped), found.fired, found.is_right) == ({"misfire": 4}, 5, True)
    # One that counts fewer than the slots it reaches over leaves one without a row.
    found = proof_of(V1, [replace(group, slot_count=3), *rows[:1], *rows[2:]])
    assert (found.missing, dict(found.skipped)) == ([SLOTS[5]], {"misfire": 3})
    # One that counts more stands for something that was no slot.
    found = proof_of(V1, [replace(group, slot_count=5), *rows[:1], *rows[2:]])
    assert found.unexpected == [SLOTS[1]]


def test_a_group_that_began_before_the_range() -> None:
    group = a_row(T - 200 * S, RunState.SKIPPED, last_slot_ms=SLOTS[3], slot_count=24)
    versions = [a_version(1, T - 1000 * S)]
    found = proof_of(versions, [group, *(a_row(slot) for slot in SLOTS[4:])], from_ms=T + S)
    assert (dict(found.skipped), found.fired, found.is_right) == ({"misfire": 4}, 5, True)


def test_slots_between_versions() -> None:
    versions = [a_version(1, T), a_version(2, T + 30 * S, 20), a_version(3, T + 65 * S, 20, enabled=False)]
    slots = [T + 10 * S, T + 20 * S, T + 30 * S, T + 40 * S, T + 60 * S]
    found = proof_of(versions, [a_row(slot) for slot in slots])
    assert (found.expected, found.is_right) == (5, True)
    # A slot at the instant of a change is the old version's; one that nothing asked for any more is unexpected.
    assert proof_of(versions, [a_row(slot) for slot in slots if slot != T + 30 * S]).missing == [T + 30 * S]
    assert proof_of(versions, [*map(a_row, slots), a_row(T + 80 * S)]).unexpected == [T + 80 * S]


def test_what_was_sent_as_the_job_was_changed() -> None:
    versions = [a_version(1, T), a_version(2, T + 49_900, 60, anchor_ms=T + 49_900)]
    rows = [a_row(slot) for slot in SLOTS[:5]]
    found = proof_of(versions, rows)
    assert (dict(found.unproven), found.is_right) == ({"on its way as the job was changed": 1}, True)
    withdrawn = a_row(SLOTS[4], RunState.SKIPPED, reason="the schedule was changed before this slot was sent")
    assert proof_of(versions, [*rows[:4], withdrawn]).is_right


def test_what_waits_and_what_is_not_planned_yet() -> None:
    rows = [a_row(slot) for slot in SLOTS[:5]] + [a_row(SLOTS[5], RunState.QUEUED)]
    found = proof_of(V1, rows, next_fire_at=SLOTS[6])
    assert (found.fired, found.waiting, found.missing) == (5, 4, [])
    assert proof_of(V1, rows, next_fire_at=SLOTS[7]).missing == [SLOTS[6]]


def test_what_may_have_been_removed_is_not_called_missing() -> None:
    found = proof_of(V1, [a_row(slot) for slot in SLOTS[4:]], cut_ms=SLOTS[3])
    assert (dict(found.unproven), found.missing) == ({"removed by age": 3}, [SLOTS[3]])
    by_hand = proof_of(V1, [], removed_days=frozenset({T // 86_400_000}))
    assert (dict(by_hand.unproven), by_hand.is_right) == ({"removed by hand that day": 9}, True)


def test_a_deleted_job_has_no_slots_from_then_on() -> None:
    rows = [a_row(slot) for slot in SLOTS[:5]]
    assert proof_of(V1, rows, deleted_ms=SLOTS[4]).expected == 5
    found = proof_of(V1, rows, deleted_ms=-1)
    assert (found.fired, dict(found.unproven)) == (5, {"it is not known when the job was deleted": 4})


def test_what_ended_before_it_was_sent() -> None:
    nobody = a_row(SLOTS[0], RunState.FAILED, sent_ms=0, reason="no executor of app 'shop' is registered")
    found = proof_of(V1, [nobody, *(a_row(slot) for slot in SLOTS[1:])])
    assert (dict(found.not_sent), found.is_right) == (
        {"failed: no executor of app 'shop' is registered": 1},
        True,
    )


@pytest.mark.parametrize(
    ("reason", "expected_word"),
    [
        ("misfire: found 61.2 s late, more than", "misfire"),
        ("the job is disabled", "the job is disabled"),
        ("the job was changed before this slot was planned (not counted beyond 10000 slots)", None),
        ("", "no reason"),
        ("7 of 7 places are taken", "7 of 7 places are taken"),
    ],
)
def test_reasons_without_what_differs(reason: str, expected_word: str | None) -> None:
    assert word(reason) == (expected_word or "the job was changed before this slot was planned")


def chained(number: int, at_ms: int, delay_s: int = 5) -> JobVersion:
    one = a_version(number, at_ms)
    return replace(one, job=replace(one.job, schedule={"kind": "second_delay", "expression": delay_s}))


def test_second_delay_is_proven_by_its_gaps() -> None:
    versions = [chained(1, T), chained(2, T + 60 * S, 20)]
    starts = [T + S, T + 16 * S, T + 40 * S, T + 62 * S, T + 90 * S]
    lengths = [10, 15, 2, 8, 1]
    rows = [a_row(at, ended_ms=at + length * S) for at, length in zip(starts, lengths, strict=True)]
    found = proof_of(versions, rows)
    assert found.gaps is not None
    assert (found.gaps.runs, found.gaps.kept, found.gaps.too_short) == (5, 4, 0)
    assert found.gaps.longest_extra_ms == 4 * S
    assert (found.expected, found.fired, found.is_right) == (5, 5, True)
    early = [*rows[:1], replace(rows[1], slot_ms=T + 15_500), *rows[2:]]
    assert proof_of(versions, early).gaps.too_short == 1  # type: ignore[union-attr]
    open_one = [replace(rows[0], ended_ms=0, state=RunState.RUNNING), *rows[1:]]
    assert not proof_of(versions, open_one).is_right


def test_a_chain_within_bounds_may_wait_longer_and_must_not_run_in_them() -> None:
    excluded = Timing(exclusions=(Once(T + 18 * S, T + 50 * S),))
    one = chained(1, T)
    versions = [replace(one, job=replace(one.job, timing=excluded))]
    rows = [a_row(at, ended_ms=at + S) for at in (T + S, T + 7 * S, T + 13 * S, T + 53 * S)]
    found = proof_of(versions, rows)
    assert found.gaps is not None
    assert (found.gaps.kept, found.gaps.longest_extra_ms, found.is_right) == (3, 3 * S, True)
    inside = [*rows[:3], replace(rows[3], slot_ms=T + 49 * S)]
    assert proof_of(versions, inside).unexpected == [T + 49 * S]
    skipped = [*rows[:3], replace(inside[3], state=RunState.SKIPPED, sent_ms=0)]
    assert proof_of(versions, skipped).is_right


@pytest.mark.parametrize("seed", range(60))
def test_random_lives_and_random_damage(seed: int) -> None:
    """A model walks second by second through versions; each slot gets a row, or shares one. Then some rows are lost."""
    chance = random.Random(seed)
    versions, model = [], []
    at, anchor, every = T, T, 7
    number = 1
    while at < T + 300 * S:
        if chance.random() < 0.6 or number == 1:
            every, anchor = chance.choice([(2, at), (7, at), (9, at)]) if number > 1 else (7, T)
        enabled = chance.random() < 0.7
        end = at + chance.randint(1, 120) * S + chance.choice([0, 500])
        versions.append(a_version(number, at, every, enabled=enabled, anchor_ms=anchor))
        if enabled:
            model += [slot for slot in range(anchor, min(end + 1, T + 300 * S), every * S) if slot > at]
        at, number = end, number + 1
    rows, index = [], 0
    while index < len(model):
        if chance.random() < 0.2:
            length = min(chance.randint(1, 5), len(model) - index)
            some = model[index : index + length]
            rows.append(a_row(some[0], RunState.SKIPPED, last_slot_ms=some[-1], slot_count=len(some)))
            index += length
        else:
            rows.append(
                a_row(model[index], chance.choice([RunState.SUCCEEDED, RunState.FAILED, RunState.QUEUED]))
            )
            index += 1
    whole = proof_of(versions, rows, to_ms=T + 300 * S)
    assert (whole.expected, whole.missing, whole.unexpected) == (len(model), [], [])
    assert whole.fired + whole.waiting + sum(whole.skipped.values()) == len(model)
    assert whole.is_right
    if rows:
        gone = chance.sample(rows, chance.randint(1, len(rows)))
        damaged = proof_of(versions, [row for row in rows if row not in gone], to_ms=T + 300 * S)
        assert len(damaged.missing) == sum(row.slot_count for row in gone)
