"""Which shards a parent gets, and how far they are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import NewRun, Route, Task, TriggerKind
from gateway.core.named_shards import NamedShard
from gateway.core.policy import parent_ending
from gateway.core.shards import Shard, is_pinned, is_shard, shard_rows, shards_of, tally
from gateway.core.states import FINAL, OPEN, RunState

HERE = ("http://a/", "http://b/")


def parent(shard_total=1, addresses=None, params="p"):
    return NewRun(
        7,
        1,
        2,
        3,
        4,
        99,
        1000,
        900,
        TriggerKind.API,
        RunState.QUEUED,
        7,
        -1,
        shard_total,
        1,
        5,
        params,
        addresses,
    )


def a_job(route=Route.ROUND, *shards):
    return SimpleNamespace(route=route, shards=shards, task=Task("handler"))


@pytest.mark.parametrize(
    ("run", "job", "expected"),
    [
        (parent(), a_job(Route.SHARDING_BROADCAST), [Shard(addresses=(one,)) for one in HERE]),
        (
            parent(),
            a_job(Route.ROUND, NamedShard("eu", "x"), NamedShard("us")),
            [Shard("eu", "x"), Shard("us")],
        ),
        (parent(shard_total=3), a_job(), [Shard()] * 3),
        (parent(3, HERE[:1]), a_job(Route.SHARDING_BROADCAST), [Shard(addresses=HERE[:1])] * 3),
        (parent(), a_job(), [Shard()]),
    ],
)
def test_which_shards_a_parent_gets(run, job, expected):
    assert shards_of(run, job, HERE) == expected


def test_a_shard_is_told_from_a_plain_run_and_its_place_from_any():
    shards = [Shard("eu", "own"), Shard("us", addresses=HERE[:1], index=4)]
    first, second = shard_rows(parent(), shards, (8, 9), 950, total=5)
    assert [(one.shard, one.shard_total, one.shard_name, one.params) for one in (first, second)] == [
        (0, 5, "eu", "own"),
        (4, 5, "us", "p"),
    ]
    assert is_shard(first)
    assert is_shard(second)
    assert not is_shard(parent(shard_total=5))
    (single,) = shard_rows(parent(), [Shard()], (8,), 950, total=1)
    assert is_shard(single)
    child = NewRun(8, 1, 2, 3, 4, -7, 0, 0, TriggerKind.CHILD, RunState.QUEUED, 8, parent_id=7)
    assert not is_shard(child)
    assert [is_pinned(one) for one in (first, second, single)] == [False, True, False]


rows = st.lists(
    st.tuples(st.integers(-1, 4), st.integers(1, 3), st.sampled_from(sorted(RunState))), max_size=20
)


@given(rows)
def test_counts_and_the_parents_end_agree(rows):
    """Against the definition: a shard is what its largest attempt is, unless an earlier one has succeeded after all."""
    unique = {(shard, attempt): state for shard, attempt, state in rows}
    found = tally((shard, attempt, state) for (shard, attempt), state in unique.items())
    states = []
    for shard in {shard for shard, _ in unique if shard >= 0}:
        mine = {attempt: state for (one, attempt), state in unique.items() if one == shard}
        states.append(RunState.SUCCEEDED if RunState.SUCCEEDED in mine.values() else mine[max(mine)])
    assert found.total == len(states)
    assert found.pending == len([one for one in states if one in OPEN])
    assert found.completed == len([one for one in states if one in FINAL])
    assert found.succeeded == states.count(RunState.SUCCEEDED)
    assert found.completed == found.succeeded + found.failed + found.stopped
    runs = [
        SimpleNamespace(shard=shard, attempt=attempt, state=state)
        for (shard, attempt), state in unique.items()
        if state not in OPEN or attempt == max(other for one, other in unique if one == shard)
    ]
    end = parent_ending(runs)
    if found.pending:
        assert end is None
    elif found.total and end is not None:
        assert (end is RunState.SUCCEEDED) == (found.succeeded == found.total)
        assert (end is RunState.FAILED) == (found.failed > 0)
