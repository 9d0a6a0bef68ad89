"""Waits between attempts, against the formula written out with whole numbers and fractions."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from gateway.core.retry import FAILURES, LONGEST_MS, Retry, retry_of, stored
from gateway.core.states import RunState

quarters = st.integers(4, 40).map(lambda n: n / 4)  # exact in binary, so that the reference can be exact
formulas = st.builds(
    Retry,
    initial_ms=st.integers(1, 3_600_000),
    coefficient=quarters,
    maximum_ms=st.one_of(st.just(0), st.integers(1, LONGEST_MS)),
)
lists = st.builds(Retry, intervals_ms=st.lists(st.integers(0, LONGEST_MS), min_size=1, max_size=9).map(tuple))


def reference_ms(retry: Retry, index: int) -> int:
    if retry.intervals_ms:
        rest = list(retry.intervals_ms)
        for _ in range(index):
            if len(rest) > 1:
                rest.pop(0)
        return rest[0]
    wait, limit = Fraction(retry.initial_ms), Fraction(retry.maximum_ms or LONGEST_MS)
    for _ in range(index):
        if wait >= limit:  # it only grows
            break
        wait *= Fraction(retry.coefficient)
    return int(min(wait, limit))


@given(st.one_of(formulas, lists), st.integers(0, 998))
def test_each_wait_is_that_of_the_formula(retry, index):
    assert abs(retry.wait_ms(index) - reference_ms(retry, index)) <= 1


@given(st.one_of(formulas, lists), st.integers(0, 998), st.floats(0, 1), st.floats(0, 1))
def test_jitter_only_takes_away_and_no_more_than_its_share(retry, index, jitter, chance):
    whole = retry.wait_ms(index)
    less = retry_of(stored(retry) | {"jitter": jitter}).wait_ms(index, chance)
    assert whole * (1 - jitter) - 1 <= less <= whole


@given(
    st.one_of(formulas, lists, st.just(Retry())),
    st.sets(st.sampled_from(sorted(FAILURES)), min_size=1),
    st.floats(0, 1),
)
def test_it_comes_back_from_its_text(retry, on, jitter):
    whole = Retry(
        retry.intervals_ms, retry.initial_ms, retry.coefficient, retry.maximum_ms, jitter, frozenset(on)
    )
    assert retry_of(json.loads(json.dumps(stored(whole)))) == whole


def test_the_default_is_at_once_and_leaves_no_trace():
    assert Retry().wait_ms(5) == 0
    assert stored(Retry()) == {}


@given(st.builds(Retry, initial_ms=st.integers(1, LONGEST_MS), coefficient=quarters), st.integers(1, 1000))
def test_a_growth_without_end_is_refused_exactly_when_a_wait_would_be_too_long(retry, attempts):
    exact, too_long = Fraction(retry.initial_ms), False
    for _ in range(attempts - 1):
        too_long = too_long or exact > LONGEST_MS
        if too_long or retry.coefficient == 1:
            break
        exact *= Fraction(retry.coefficient)
    if too_long:
        with pytest.raises(InvalidValue, match=r"^retry\.maximum_interval_s: None .* 30 days"):
            retry.check(attempts, "retry")
    else:
        retry.check(attempts, "retry")


@pytest.mark.parametrize(
    ("retry", "field"),
    [
        (Retry(intervals_ms=(1, LONGEST_MS + 1)), "intervals_s[1]"),
        (Retry(initial_ms=LONGEST_MS + 1), "initial_interval_s"),
        (Retry(initial_ms=1, maximum_ms=LONGEST_MS + 1), "maximum_interval_s"),
        (Retry(initial_ms=2000, maximum_ms=1000), "maximum_interval_s"),
        (Retry(initial_ms=1, coefficient=1000.0), "maximum_interval_s"),
    ],
)
def test_waits_that_nobody_can_mean(retry, field):
    with pytest.raises(InvalidValue) as error:
        retry.check(1000, "jobs[3].retry")
    assert error.value.field == f"jobs[3].retry.{field}"


def test_outcomes_that_are_no_failures_are_never_tried_again():
    assert retry_of({"on": ["failed", "stopped", "succeeded"]}).on == {RunState.FAILED}
