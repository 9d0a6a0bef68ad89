"""What may be removed, against a small model; and counts of days as sums."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.daily import DAY_MS, Tally, tally
from gateway.core.retention import Kept, cut_ms, removable


@dataclass(frozen=True)
class Row:
    id: int
    slot_key: int
    finished_ms: int
    state: int = 10
    shard: int = 0
    slot_count: int = 1
    due_ms: int = 0
    sent_ms: int = 0


ROWS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), max_size=12).map(
    lambda pairs: [Row(n, slot, at) for n, (slot, at) in enumerate(pairs)]
)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(0, 6))
def test_families_go_together_and_only_when_their_youngest_is_old(rows: list[Row], before_ms: int) -> None:
    held = {row.slot_key for row in rows if row.finished_ms >= before_ms}
    gone = removable(rows, held, before_ms)
    for slot in {row.slot_key for row in rows}:
        family = [row for row in rows if row.slot_key == slot]
        is_old = max(row.finished_ms for row in family) < before_ms
        assert {row.id in gone for row in family} == {is_old}
    assert gone == sorted(gone)


@given(st.integers(0, 1 << 45), st.integers(1, 3650))
def test_at_least_so_many_days_are_kept_and_less_than_one_more(now_ms: int, days: int) -> None:
    kept_ms = now_ms - cut_ms(now_ms, days)
    assert days * DAY_MS <= kept_ms < (days + 1) * DAY_MS
    assert cut_ms(now_ms, days) % DAY_MS == 0


@given(st.integers(1 << 40, 1 << 41), st.none() | st.integers(1, 90), st.booleans(), st.booleans())
def test_whose_days_count(now_ms: int, days: int | None, deleted: bool, keep: bool) -> None:
    found = Kept(1, 1, 1, days, 0, 0, deleted=deleted, keep_history=keep).cut_ms(now_ms, 30)
    assert found == (now_ms + 1 if deleted and not keep else cut_ms(now_ms, days or 30))


ENDED = st.builds(
    Row,
    id=st.just(0),
    slot_key=st.just(0),
    finished_ms=st.integers(0, 3 * DAY_MS),
    state=st.integers(10, 18),
    shard=st.integers(-1, 2),
    slot_count=st.integers(1, 9),
    due_ms=st.integers(0, DAY_MS),
    sent_ms=st.just(0) | st.integers(1, DAY_MS),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENDED, max_size=20), st.integers(0, 20))
def test_counts_of_parts_are_those_of_the_whole(rows: list[Row], at: int) -> None:
    total: dict[int, Tally] = {}
    for some in (rows[:at], rows[at:]):
        for day, counts in tally(some).items():
            total.setdefault(day, Tally()).add(counts)
    assert total == tally(rows)
    assert sum(counts.runs for counts in total.values()) == len(rows)
    for day, counts in tally(rows[:at]).items():
        total[day].add(counts, -1)
    left = tally(rows[at:])
    assert {day: counts.runs for day, counts in total.items() if counts.runs} == {
        day: counts.runs for day, counts in left.items()
    }
