"""The pace of a backfill, against a count of what started when."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.backfill import Backfill

LOOK_MS = 500


@given(
    st.integers(1, 6),
    st.sampled_from([0, 1, 7, 60, 90, 600, 5000]),
    st.lists(st.tuples(st.integers(LOOK_MS, 4000), st.integers(0, 6)), min_size=1, max_size=120),
)
def test_never_more_at_once_nor_in_a_minute(parallel, per_minute, looks):
    now_ms, last_ms, open_runs = 1_795_000_000_000, 0, 0
    starts: list[int] = []
    for waited_ms, ended in looks:
        now_ms += waited_ms
        open_runs = max(open_runs - ended, 0)
        one = Backfill(1, 1, 0, 1, 9999, parallel, per_minute, last_start_ms=last_ms)
        room = one.room(open_runs, now_ms, LOOK_MS)
        assert 0 <= room <= parallel - open_runs
        if not per_minute:
            assert room == parallel - open_runs
        if room:
            starts += [now_ms] * room
            open_runs, last_ms = open_runs + room, now_ms
    if per_minute:
        earned_in_a_look = max(LOOK_MS * per_minute // 60_000, 1)
        for index, at_ms in enumerate(starts):
            within = bisect_left(starts, at_ms + 60_000) - index
            assert within <= per_minute + earned_in_a_look - 1


def test_it_goes_on_when_there_is_room_and_time():
    one = Backfill(1, 1, 0, 1, 10, 3, 60, last_start_ms=1000)
    assert [one.room(open_runs, 2000, LOOK_MS) for open_runs in (0, 2, 3, 5)] == [1, 1, 0, 0]
    assert one.room(0, 1999, LOOK_MS) == 0
    assert one.room(0, 600_000, LOOK_MS) == 1  # what was not used is not made up for
