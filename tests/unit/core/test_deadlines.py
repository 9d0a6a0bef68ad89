"""What is to be looked at when, against a plain list; and what became of a kill."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.deadlines import Due
from gateway.core.kills import ANSWER_S, kill_state
from gateway.core.states import RunState

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 6), st.integers(0, 60)),
        st.tuples(st.just("take"), st.just(0), st.integers(0, 60)),
    ),
    max_size=60,
)


@given(steps)
def test_each_run_is_looked_at_once_at_its_earliest_instant(steps):
    due, model = Due(), {}
    for what, run_id, at_ms in steps:
        if what == "add":
            due.add(run_id, at_ms)
            model[run_id] = min(at_ms, model.get(run_id, at_ms))
        else:
            expected = sorted((at, one) for one, at in model.items() if at <= at_ms)
            assert due.take(at_ms) == [one for _, one in expected]
            for _, one in expected:
                del model[one]
        assert len(due) == len(model)
        assert due.next_ms() == min(model.values(), default=None)


def test_runs_that_are_over_do_not_pile_up():
    due = Due()
    for run_id in range(5000):
        due.add(run_id, 10_000 - run_id)
        due.shrink(3, lambda one: one < 3)
        assert len(due) <= Due.KEPT + 7
    assert {0, 1, 2} <= set(due.take(10_000))


@pytest.mark.parametrize(
    ("state", "shard", "asked_ms", "code", "now_ms", "expected"),
    [
        (RunState.RUNNING, 0, 0, 0, 9, None),
        (RunState.STOPPED, 0, 0, 0, 9, None),
        (RunState.STOPPING, 0, 5, 0, 5 + 1000 * ANSWER_S, "asked"),
        (RunState.STOPPING, 0, 5, 0, 6 + 1000 * ANSWER_S, "ignored"),
        (RunState.STOPPED, 0, 5, 500, 10**9, "confirmed"),
        (RunState.TIMED_OUT, 0, 5, 200, 7, "confirmed"),
        (RunState.STOPPED, 0, 5, 0, 7, "ignored"),  # given up without a result
        (RunState.STOPPED, -1, 5, 0, 7, "confirmed"),
        (RunState.STOPPING, -1, 5, 0, 7, "asked"),
    ],
)
def test_what_became_of_a_kill(state, shard, asked_ms, code, now_ms, expected):
    run = SimpleNamespace(state=state, shard=shard, stop_asked_ms=asked_ms, result_code=code)
    assert kill_state(run, now_ms) == expected
