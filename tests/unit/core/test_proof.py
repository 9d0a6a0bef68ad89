"""Proof against a small model: lives of a job are made up, and damaged in ways that must be found."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gateway.core.evidence import Fired
from gateway.core.proof import word
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from tests.kit.lives_to_prove import S, T, a_row, a_version, proof_of

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
    by_hand = proof_of(V1, [], removed=[(T, T + 86_400_000)])
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


def at_most(fires: int) -> Timing:
    return Timing(Window(max_fires=fires))


def test_slots_beyond_the_maximum_are_none() -> None:
    versions = [a_version(1, T, timing=at_most(4))]
    rows = [a_row(slot) for slot in SLOTS[:4]]
    found = proof_of(versions, rows)
    assert (found.expected, found.fired, found.is_right) == (4, 4, True)
    assert proof_of(versions, [*rows[:2], rows[3]]).missing == [SLOTS[2]]
    assert proof_of(versions, rows[:3]).missing == [SLOTS[3]]
    assert proof_of(versions, [*rows, a_row(SLOTS[4])]).unexpected == [SLOTS[4]]


def test_a_maximum_that_is_raised_goes_on_from_then() -> None:
    versions = [a_version(1, T, timing=at_most(4)), a_version(2, T + 65 * S, timing=at_most(6))]
    rows = [a_row(slot) for slot in (*SLOTS[:4], *SLOTS[6:8])]
    found = proof_of(versions, rows)
    assert (found.expected, found.fired, found.is_right) == (6, 6, True)
    assert proof_of(versions, rows[:5]).missing == [SLOTS[7]]


def test_a_maximum_that_is_lifted_and_set_again_counts_anew() -> None:
    versions = [
        a_version(1, T),
        a_version(2, T + 15 * S, timing=at_most(2)),
        a_version(3, T + 45 * S),
        a_version(4, T + 65 * S, timing=at_most(1)),
        a_version(5, T + 85 * S, timing=at_most(2)),
    ]
    slots = [SLOTS[0], SLOTS[1], SLOTS[2], SLOTS[4], SLOTS[5], SLOTS[6], SLOTS[8]]
    found = proof_of(versions, [a_row(slot) for slot in slots])
    assert (found.expected, found.fired, found.is_right) == (7, 7, True)
    for gone in slots:
        assert proof_of(versions, [a_row(slot) for slot in slots if slot != gone]).missing == [gone]
    for more in set(SLOTS) - set(slots):
        assert proof_of(versions, map_rows([*slots, more])).unexpected == [more]


def map_rows(slots):
    return [a_row(slot) for slot in slots]


def test_what_was_fired_before_the_range() -> None:
    versions = [a_version(1, T - 50 * S, timing=at_most(7))]
    rows = map_rows(SLOTS[:3])
    assert proof_of(versions, rows, from_ms=T + 1, fired=Fired(1, 4, 4)).expected == 3
    assert proof_of(versions, rows, from_ms=T + 1, fired=Fired(1, 3, 3)).missing == [SLOTS[3]]
    assert proof_of(versions, rows, from_ms=T + 1, fired=Fired(1, 5, 5)).unexpected == [SLOTS[2]]
    # Some of them may not have counted, or rows are gone.
    unsure = proof_of(versions, rows, from_ms=T + 1, fired=Fired(1, 2, 4))
    assert (dict(unsure.unproven), unsure.missing) == ({"perhaps beyond the job's maximum of fires": 6}, [])
    assert proof_of(versions, [rows[0], rows[2]], from_ms=T + 1, fired=Fired(1, 2, 4)).missing == [SLOTS[1]]


@pytest.mark.parametrize("seed", range(60))
def test_random_lives_and_random_damage(seed: int) -> None:
    """A model walks second by second through versions; each slot gets a row, or shares one. Then some rows are lost."""
    chance = random.Random(seed)
    versions, model = [], []
    at, anchor, every = T, T, 7
    number, maximum, count = 1, 0, 0
    while at < T + 300 * S:
        if chance.random() < 0.6 or number == 1:
            every, anchor = chance.choice([(2, at), (7, at), (9, at)]) if number > 1 else (7, T)
        enabled = chance.random() < 0.7
        end = at + chance.randint(1, 120) * S + chance.choice([0, 500])
        before, maximum = maximum, chance.choice([0, maximum, 3, 8, 20])
        count = count if before else 0
        timing = at_most(maximum)
        versions.append(a_version(number, at, every, enabled=enabled, anchor_ms=anchor, timing=timing))
        if enabled:
            slots = [slot for slot in range(anchor, min(end + 1, T + 300 * S), every * S) if slot > at]
            slots = slots[: max(maximum - count, 0)] if maximum else slots
            count += len(slots)
            model += slots
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
