"""Weighted turns: shares held over any stretch, even spacing, no catching up."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.weighted import WeightedTurns

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20), min_size=1)


def turns(weights: dict[str, int], count: int, seed: int = 1) -> list[str]:
    router = WeightedTurns(random.Random(seed))
    return [router.next(1, weights) for _ in range(count)]


@given(WEIGHTS, st.integers(0, 1000), st.integers(0, 60))
def test_each_round_holds_each_share_exactly(weights, seed, start):
    """A round is as many turns as the weights make in their lowest terms, from wherever it is counted."""
    common = math.gcd(*weights.values())
    size = sum(weights.values()) // common
    found = turns(weights, start + size, seed)[start:]
    assert Counter(found) == {address: weight // common for address, weight in weights.items()}


@given(WEIGHTS, st.integers(0, 1000), st.integers(1, 200))
def test_any_stretch_holds_each_share_nearly(weights, seed, count):
    found = Counter(turns(weights, count, seed))
    total = sum(weights.values())
    for address, weight in weights.items():
        share = count * weight / total
        assert abs(found[address] - share) < 1 + len(weights) * weight / total


def test_equal_weights_take_strict_turns():
    found = turns({"a": 7, "b": 7, "c": 7}, 9)
    assert set(found[:3]) == set("abc")
    assert found == found[:3] * 3


def test_a_small_share_is_spread_evenly():
    found = turns({"canary": 1, "a": 50, "b": 49}, 1000)
    places = [place for place, address in enumerate(found) if address == "canary"]
    assert len(places) == 10
    assert {later - earlier for earlier, later in itertools.pairwise(places)} <= {99, 100, 101}


def test_first_turns_of_many_jobs_spread_by_weight():
    router = WeightedTurns(random.Random(5))
    found = Counter(router.next(job_id, {"a": 90, "b": 10}) for job_id in range(5000))
    assert 400 < found["b"] < 600


def test_the_same_seed_gives_the_same_turns():
    weights = {"a": 3, "b": 2, "c": 9}
    assert turns(weights, 50, seed=4) == turns(weights, 50, seed=4)
    assert len({tuple(turns(weights, 50, seed)) for seed in range(5)}) > 1


@given(st.integers(0, 1000), st.integers(1, 300))
def test_one_that_was_away_makes_up_for_nothing(seed, away):
    router = WeightedTurns(random.Random(seed))
    both = {"a": 100, "b": 100}
    for _ in range(4):
        router.next(1, both)
    for _ in range(away):
        assert router.next(1, {"a": 100}) == "a"
    back = [router.next(1, both) for _ in range(8)]
    assert 3 <= back.count("b") <= 5


def test_a_changed_weight_holds_from_the_next_turn():
    router = WeightedTurns(random.Random(3))
    for _ in range(10):
        router.next(1, {"a": 1, "b": 1000})
    back = [router.next(1, {"a": 1, "b": 1}) for _ in range(20)]
    assert back.count("a") in (9, 10, 11)


def test_it_goes_on_for_ever_and_forgets_executors_that_left():
    router = WeightedTurns(random.Random(3))
    for number in range(300):
        router.next(1, {"a": 1, f"gone {number}": 1})
    assert len(router._jobs[1].due) <= 24
    assert Counter(router.next(1, {"a": 1, "b": 3}) for _ in range(60_000))["a"] == pytest.approx(
        15_000, abs=8
    )


def test_jobs_are_remembered_up_to_a_number():
    router = WeightedTurns(random.Random(3), max_jobs=10)
    for job_id in range(30):
        router.next(job_id, {"a": 1})
    assert len(router._jobs) == 10
