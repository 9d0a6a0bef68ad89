"""Proof of second_delay jobs: by when runs began and ended, and by what must follow from that."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.core.evidence import Fired
from gateway.core.exclusions import Once
from gateway.core.proof import BY_AGE, BY_HAND, DELETED, MAXIMUM, ON_ITS_WAY
from gateway.core.states import RunState
from gateway.core.timing import PLAIN, Timing, Window
from tests.kit.lives_to_prove import S, T, a_chain, a_row, a_version, proof_of

V1 = [a_chain(1, T)]


def a_life(*lengths_s: float, since_ms: int = T, delay_s: int = 5):
    """Runs of these lengths, one after the other."""
    rows, slot_ms = [], since_ms
    for length_s in lengths_s:
        rows.append(a_row(slot_ms, ended_ms=slot_ms + int(length_s * S)))
        slot_ms = rows[-1].ended_ms + delay_s * S
    return rows


def open_at_the_end(*lengths_s: float, since_ms: int = T, delay_s: int = 5):
    *ended, last = a_life(*lengths_s, 1, since_ms=since_ms, delay_s=delay_s)
    return [*ended, replace(last, ended_ms=0, state=RunState.RUNNING)]


WHOLE = open_at_the_end(10, 15, 2, 8, 1)


def without(rows, index):
    return [*rows[:index], *rows[index + 1 :]]


def test_each_run_counts_from_the_first_on() -> None:
    found = proof_of(V1, WHOLE)
    assert found.gaps is not None
    assert (found.expected, found.fired, found.is_right) == (6, 6, True)
    assert (found.gaps.runs, found.gaps.kept, found.gaps.longest_extra_ms) == (6, 5, 3)


def test_a_gap_is_judged_by_when_the_run_really_began() -> None:
    late = [*WHOLE[:3], replace(WHOLE[3], sent_ms=WHOLE[3].slot_ms + 2 * S), *WHOLE[4:]]
    assert proof_of(V1, late).gaps.longest_extra_ms == 2 * S  # type: ignore[union-attr]
    early = [*WHOLE[:3], replace(WHOLE[3], sent_ms=WHOLE[3].slot_ms - 2 * S), *WHOLE[4:]]
    found = proof_of(V1, early)
    assert (found.gaps.too_short, found.is_right) == (1, False)  # type: ignore[union-attr]
    # One of its shards, or an attempt after one that was never sent, is told by another time.
    early = [*WHOLE[:3], replace(WHOLE[3], first_sent_ms=WHOLE[3].slot_ms - 1), *WHOLE[4:]]
    assert proof_of(V1, early).gaps.too_short == 1  # type: ignore[union-attr]


def test_no_other_begins_while_one_is_open() -> None:
    rows = [replace(WHOLE[0], ended_ms=0, state=RunState.RUNNING), *WHOLE[1:]]
    assert proof_of(V1, rows).gaps.too_short == 5  # type: ignore[union-attr]


@pytest.mark.parametrize("index", range(6))
def test_a_row_that_is_gone_is_missed(index: int) -> None:
    found = proof_of(V1, without(WHOLE, index))
    assert (found.missing, found.is_right) == ([WHOLE[index].slot_ms], False)


def test_a_chain_that_has_stopped_is_missed() -> None:
    rows = a_life(10, 10)
    due_ms = rows[-1].ended_ms + 5 * S
    assert proof_of(V1, rows).missing == [due_ms]
    assert proof_of(V1, rows, next_fire_at=due_ms).waiting == 1
    assert proof_of(V1, rows, to_ms=due_ms).expected == 2
    assert dict(proof_of(V1, rows, deleted_ms=-1).unproven) == {DELETED: 1}
    assert proof_of(V1, rows, deleted_ms=due_ms - 1).is_right


def test_what_was_removed_is_said() -> None:
    for rows in ([], WHOLE[:1], WHOLE[:2] + WHOLE[4:]):
        found = proof_of(V1, rows, removed=[(T - 9, T + 90 * S)])
        assert (dict(found.unproven), found.is_right) == ({BY_HAND: 1}, True)
    found = proof_of(V1, WHOLE[3:], cut_ms=T + 20 * S)
    assert dict(found.unproven) == {BY_AGE: 1}
    assert found.gaps.kept == 2  # type: ignore[union-attr]
    # What is too short is so whatever was removed.
    early = [*WHOLE[:3], replace(WHOLE[3], sent_ms=WHOLE[3].slot_ms - 2 * S), *WHOLE[4:]]
    assert not proof_of(V1, early, removed=[(T - 9, T + 90 * S)]).is_right


def test_a_slot_twice_and_a_slot_too_many() -> None:
    assert proof_of(V1, [*WHOLE, replace(WHOLE[2], id=7)]).duplicate == [WHOLE[2].slot_ms]
    more = a_row(WHOLE[2].ended_ms + 2 * S)
    assert proof_of(V1, [*WHOLE, more]).gaps.too_short >= 1  # type: ignore[union-attr]
    moved = [*WHOLE[:5], replace(WHOLE[5], slot_ms=WHOLE[5].slot_ms + S, sent_ms=WHOLE[5].sent_ms + S)]
    assert proof_of(V1, moved).missing == [WHOLE[5].slot_ms]


def test_a_run_before_the_range_tells_what_is_due_in_it() -> None:
    from_ms = WHOLE[2].slot_ms + 1
    found = proof_of(V1, WHOLE[3:], from_ms=from_ms, before=WHOLE[2])
    assert (found.expected, found.gaps.kept, found.is_right) == (3, 3, True)  # type: ignore[union-attr]
    assert proof_of(V1, WHOLE[4:], from_ms=from_ms, before=WHOLE[2]).missing == [WHOLE[3].slot_ms]
    early = [replace(WHOLE[3], sent_ms=WHOLE[2].ended_ms + S), *WHOLE[4:]]
    assert not proof_of(V1, early, from_ms=from_ms, before=WHOLE[2]).is_right
    running = replace(WHOLE[2], ended_ms=0, state=RunState.RUNNING)
    assert proof_of(V1, [], from_ms=from_ms, before=running).expected == 0
    # Nothing is known of it: the first in the range is taken as it is.
    found = proof_of([a_chain(3, T - 9 * S)], WHOLE[3:], from_ms=from_ms)
    assert (found.expected, found.gaps.kept, found.is_right) == (3, 2, True)  # type: ignore[union-attr]


def test_a_change_to_second_delay_begins_at_its_instant() -> None:
    change_ms = T + 35 * S + 7
    versions = [a_version(1, T), a_chain(2, change_ms)]
    before = [a_row(T + n * S) for n in (10, 20, 30)]
    rows = [*before, *open_at_the_end(3, 4, since_ms=change_ms)]
    found = proof_of(versions, rows)
    assert (found.expected, found.fired, found.unexpected) == (6, 6, [])
    assert (found.gaps.runs, found.gaps.kept, found.is_right) == (3, 2, True)  # type: ignore[union-attr]
    assert proof_of(versions, without(rows, 3)).missing == [change_ms]
    # The old schedule had a slot just then, and it was sent before the change was answered.
    sent = a_row(T + 40 * S)
    late = [a_version(1, T), a_chain(2, T + 39_900)]
    found = proof_of(late, [*before, sent, *open_at_the_end(9, since_ms=T + 39_900)])
    assert (dict(found.unproven), found.gaps.runs, found.is_right) == ({ON_ITS_WAY: 1}, 2, True)  # type: ignore[union-attr]


def test_a_change_at_the_very_instant_of_a_slot() -> None:
    versions = [a_version(1, T), a_chain(2, T + 30 * S)]
    rows = [a_row(T + n * S) for n in (10, 20, 30)]
    assert proof_of(versions, [*rows, *open_at_the_end(4, since_ms=T + 30_001)]).is_right
    assert proof_of(versions, [*rows, *open_at_the_end(4, since_ms=T + 30_600)]).missing == [T + 30_001]


def test_to_another_kind_and_back() -> None:
    versions = [a_chain(1, T), a_version(2, T + 12 * S, anchor_ms=T + 12 * S), a_chain(3, T + 35 * S, 30)]
    rows = [*a_life(2, 2), a_row(T + 22 * S), a_row(T + 32 * S)]
    due_ms = rows[1].ended_ms + 30 * S
    found = proof_of(versions, [*rows, *open_at_the_end(4, since_ms=due_ms, delay_s=30)])
    assert (found.fired, found.is_right) == (6, True)
    early = [*rows, *open_at_the_end(4, since_ms=T + 35 * S, delay_s=30)]
    assert proof_of(versions, early).gaps.too_short == 1  # type: ignore[union-attr]
    sent = [*rows, a_row(T + 14 * S), *open_at_the_end(4, since_ms=T + 44 * S, delay_s=30)]
    found = proof_of(versions, sent)
    assert (dict(found.unproven), found.is_right) == ({ON_ITS_WAY: 1}, True)


def test_a_new_delay_counts_from_the_last_end() -> None:
    versions = [a_chain(1, T), a_chain(2, T + 5 * S, 20), a_chain(3, T + 40 * S, 2)]
    first, second = a_life(3, 20, delay_s=20)
    third = open_at_the_end(since_ms=second.ended_ms + 2 * S)
    assert proof_of(versions, [first, second, *third]).is_right
    by_the_old = replace(second, slot_ms=first.ended_ms + 5 * S, sent_ms=first.ended_ms + 5 * S)
    found = proof_of(versions, [first, by_the_old, *third])
    assert (dict(found.unproven), found.is_right) == ({ON_ITS_WAY: 1}, True)
    much_later = [a_chain(1, T), a_chain(2, T + 2 * S, 20), versions[2]]
    assert not proof_of(much_later, [first, by_the_old, *third]).is_right
    # One that had been claimed ahead was taken back: the delay counts from then.
    taken_back = a_row(T + 8 * S, RunState.SKIPPED, ended_ms=T + 5 * S, reason="the job was changed")
    rest = open_at_the_end(5, since_ms=T + 25 * S, delay_s=2)
    versions = [a_chain(1, T), a_chain(2, T + 4900, 20), a_chain(3, T + 28 * S, 2)]
    found = proof_of(versions, [first, taken_back, *rest])
    assert (found.expected, found.fired, found.is_right) == (4, 3, True)


def test_disabled_and_enabled_again() -> None:
    versions = [a_chain(1, T), a_chain(2, T + 10 * S, enabled=False), a_chain(3, T + 60 * S)]
    rows = [*a_life(8), *open_at_the_end(9, 9, since_ms=T + 60 * S)]
    assert proof_of(versions, rows).is_right
    assert proof_of(versions, [*rows, a_row(T + 30 * S)]).unexpected == [T + 30 * S]
    # Found late by nobody, and closed as the job was disabled: such a row has moved no chain.
    closed = a_row(T + 13 * S, RunState.SKIPPED, ended_ms=T + 14 * S, reason="the job was disabled")
    versions = [a_chain(1, T), a_chain(2, T + 14 * S, enabled=False), a_chain(3, T + 16 * S)]
    assert proof_of(versions, [*a_life(8), closed, *open_at_the_end(9, since_ms=T + 16 * S)]).is_right


def test_a_change_while_nobody_was_there_to_plan() -> None:
    versions = [a_chain(1, T), a_chain(2, T + 50 * S, 7)]
    found = proof_of(versions, [*a_life(8), *open_at_the_end(9, since_ms=T + 50 * S, delay_s=7)])
    assert (dict(found.unproven), found.is_right) == ({"not planned yet as the job was changed": 1}, True)
    found = proof_of(versions, [*a_life(8), *open_at_the_end(9, since_ms=T + 51 * S, delay_s=7)])
    assert (found.missing, found.is_right) == ([T + 13 * S], False)


def test_the_end_of_a_run_that_was_learned_after_a_change() -> None:
    """Its row says when it ended; that nobody knew it yet, the change itself has noted."""
    (first,) = a_life(8)
    after_ms = T + 14 * S
    disabled = [a_chain(1, T), a_chain(2, after_ms, enabled=False)]
    assert proof_of(disabled, [first]).missing == [T + 13 * S]
    known = proof_of(disabled, [first], open_at={after_ms: first.id})
    assert (known.missing, known.expected, known.is_right) == ([], 1, True)
    # Another run was open, or it was at another change.
    assert proof_of(disabled, [first], open_at={after_ms: first.id - 1}).missing
    assert proof_of(disabled, [first], open_at={after_ms + 1: first.id}).missing
    assert proof_of(V1, [first], deleted_ms=after_ms).missing == [T + 13 * S]
    assert proof_of(V1, [first], deleted_ms=after_ms, open_at={after_ms: first.id}).is_right


def test_a_result_that_came_after_its_run_was_given_up() -> None:
    rows = [replace(WHOLE[0], ended_ms=T + 60 * S, is_belated=True), *WHOLE[1:]]
    found = proof_of(V1, rows)
    assert (found.gaps.unproven, found.gaps.kept, found.is_right) == (1, 4, True)  # type: ignore[union-attr]


def test_a_maximum_of_runs() -> None:
    versions = [a_chain(1, T, timing=Timing(Window(max_fires=2)))]
    rows = a_life(3, 3)
    found = proof_of(versions, rows)
    assert (found.expected, found.is_right) == (2, True)
    more = a_life(3, 3, 3)
    assert proof_of(versions, more).unexpected == [more[2].slot_ms]
    assert proof_of(versions, rows[:1]).missing == [rows[1].slot_ms]
    raised_ms = T + 50 * S
    raised = [*versions, a_chain(2, raised_ms, timing=Timing(Window(max_fires=4)))]
    assert proof_of(raised, [*rows, *a_life(3, 3, since_ms=raised_ms)]).is_right
    assert proof_of(raised, [*rows, *a_life(3, since_ms=raised_ms)]).missing == [raised_ms + 8 * S]
    stopped = [rows[0], replace(rows[1], state=RunState.STOPPED, sent_ms=0, ended_ms=rows[1].slot_ms - 9)]
    assert proof_of(versions, stopped).is_right
    unsure = proof_of(versions, [], from_ms=T + 1, before=rows[0], fired=Fired(1, 1, 2))
    assert dict(unsure.unproven) == {MAXIMUM: 1}


EXCLUDED = Timing(exclusions=(Once(T + 18 * S, T + 50 * S),))


def test_bounds_move_the_slot_and_nothing_runs_in_them() -> None:
    versions = [a_chain(1, T, timing=EXCLUDED)]
    rows = [*a_life(5, 6), *open_at_the_end(9, since_ms=T + 50 * S)]
    found = proof_of(versions, rows)
    assert (found.gaps.kept, found.gaps.longest_extra_ms, found.is_right) == (3, 3, True)  # type: ignore[union-attr]
    inside = [*rows[:2], replace(rows[2], slot_ms=T + 30 * S), *rows[3:]]
    assert proof_of(versions, inside).unexpected == [T + 30 * S]
    assert proof_of(versions, [*rows[:2], rows[3]]).missing == [T + 50 * S]
    # What could not be planned before the stretch began has moved to its end, or will do so.
    assert proof_of(versions, [*a_life(5, 2), *open_at_the_end(9, since_ms=T + 50 * S)]).is_right
    assert proof_of(versions, a_life(5, 2), to_ms=T + 40 * S).is_right


def test_jitter_is_no_extra() -> None:
    timing = Timing(jitter_ms=3000)
    rows = [replace(row, due_ms=timing.due_ms(1, row.slot_ms)) for row in WHOLE]
    rows = [replace(row, sent_ms=row.due_ms + 4) for row in rows]
    found = proof_of([a_chain(1, T, timing=timing)], rows)
    assert (found.gaps.longest_extra_ms, found.late, found.is_right) == (4, 0, True)  # type: ignore[union-attr]


# ------------------------------------------------------------ against a model

ROUND = 10 * S
END = T + 300 * S


def allowed(at_ms: int, excluded_ms: int) -> int:
    return max(at_ms, at_ms // ROUND * ROUND + excluded_ms)


def next_slot(end_ms, settings):
    """The first instant at which the job is enabled, its delay over and the instant not excluded."""
    for (since, enabled, delay_s, excluded_ms), (until, *_) in pairwise([*settings, (END, False, 0, 0)]):
        slot_ms = allowed(max(end_ms + delay_s * S, since), excluded_ms)
        if enabled and slot_ms < until:
            return slot_ms
    return None


def bounds(excluded_ms: int) -> Timing:
    first_ms = T // ROUND * ROUND
    found = [Once(at, at + excluded_ms) for at in range(first_ms, END + ROUND, ROUND)]
    return Timing(exclusions=tuple(found)) if excluded_ms else PLAIN


def a_random_life(chance: random.Random):
    settings, at_ms = [], T
    while at_ms < END:
        one = at_ms, chance.random() < 0.8, chance.randint(1, 9), chance.choice([0, 0, 2 * S, 4 * S])
        settings.append(one)
        at_ms += chance.randint(1, 90_000)
    versions = [
        a_chain(number, since, delay_s, enabled=enabled, timing=bounds(excluded_ms))
        for number, (since, enabled, delay_s, excluded_ms) in enumerate(settings, start=1)
    ]
    rows, slot_ms = [], next_slot(0, settings)
    while slot_ms is not None:
        sent_ms = slot_ms + chance.choice([0, 3, 1500])
        ended_ms = sent_ms + chance.randint(1, 15_000)
        state = RunState.SKIPPED if chance.random() < 0.2 else RunState.SUCCEEDED
        rows.append(
            a_row(slot_ms, state, sent_ms=sent_ms * (state is not RunState.SKIPPED), ended_ms=ended_ms)
        )
        slot_ms = next_slot(ended_ms, settings)
    return versions, rows


def damaged(chance: random.Random, rows, what: str):
    """One fault that nothing excuses."""
    index = chance.randrange(1, len(rows))
    row, before = rows[index], rows[index - 1]
    rest = without(rows, index)
    if what == "gone":
        return rest
    if what == "twice":
        return [*rows, replace(row, id=1)]
    if what == "too soon":
        return [*rest, replace(row, sent_ms=before.ended_ms + chance.randint(1, 900), state=RunState.FAILED)]
    early_ms = chance.randint(before.slot_ms + 1, before.ended_ms + 900)
    return [*rows, a_row(early_ms, ended_ms=early_ms + 1, sent_ms=early_ms)]


@pytest.mark.parametrize("seed", range(40))
def test_random_lives_and_one_fault(seed: int) -> None:
    chance = random.Random(seed)
    versions, rows = a_random_life(chance)
    whole = proof_of(versions, rows, to_ms=END)
    assert (whole.expected, dict(whole.unproven), whole.is_right) == (len(rows), {}, True)
    assert whole.gaps is None or whole.gaps.unproven == 0
    if len(rows) < 3:
        return
    for what in ("gone", "twice", "too soon", "too many"):
        found = proof_of(versions, damaged(chance, rows, what), to_ms=END)
        assert not found.is_right or (what == "gone" and found.unproven), what
