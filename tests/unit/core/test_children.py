"""Children, joins and cycles, against small models of their own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.children import Child, Marks, On, ParentEnd, join, path_back, started_by
from gateway.core.states import FINAL, RunState

S = RunState
WANTED = {  # written out, by what starts with which end
    S.SUCCEEDED: {On.SUCCESS, On.END},
    S.FAILED: {On.FAILURE, On.END},
    S.TIMED_OUT: {On.FAILURE, On.END},
    S.LOST: {On.FAILURE, On.END},
    S.STOPPED: {On.END},
}


@pytest.mark.parametrize("state", sorted(FINAL))
def test_which_end_starts_what(state):
    children = [Child(n, on) for n, on in enumerate(On)]
    assert {child.on for child in started_by(children, state, None)} == WANTED.get(state, set())


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.FAILED])
@pytest.mark.parametrize("before", [S.LOST, S.FAILED, S.STOPPED])
def test_a_corrected_end_starts_only_what_the_former_one_has_not(before, state):
    children = [Child(n, on) for n, on in enumerate(On)]
    both = started_by(children, before, None) + started_by(children, state, before)
    assert len({child.job_id for child in both}) == len(both)
    assert {child.on for child in both} == WANTED[before] | WANTED[state]


# ------------------------------------------------------------ joins

JOB = 100


def starts(parents: set[int], ends: list[tuple[int, int]]) -> list[int]:
    """The places of the ends with which a join starts: sets, and each root of a parent in a row counted once."""
    last_root: dict[int, int] = {}
    there: set[int] = set()
    found: list[int] = []
    for place, (parent, root) in enumerate(ends):
        if parent not in parents or last_root.get(parent) == root:
            continue
        last_root[parent] = root
        there.add(parent)
        if there == parents:
            found.append(place)
            there = set()
    return found


events = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), max_size=40)


@given(st.sets(st.integers(1, 3), min_size=1), events, st.data())
def test_a_join_starts_as_the_model_says_however_the_ends_are_batched(parents, ends, data):
    marks: Marks = {}
    found: list[int] = []
    place = 0
    while place < len(ends):
        size = data.draw(st.integers(1, 5))
        batch = [ParentEnd(JOB, parent, root) for parent, root in ends[place : place + size]]
        last = join(batch, {JOB: parents}, marks)
        found += [place + max(n for n, one in enumerate(batch) if one == end) for end in last]
        place += size
    assert len(found) == len(starts(parents, ends))
    if all(ends.count(one) == 1 for one in ends):
        assert found == starts(parents, ends)


def test_jobs_that_join_do_not_disturb_each_other():
    marks: Marks = {}
    ends = [ParentEnd(1, 5, 50), ParentEnd(2, 5, 50), ParentEnd(2, 6, 60)]
    assert join(ends, {1: {5, 6}, 2: {5, 6}}, marks) == [ends[2]]
    assert join([ParentEnd(1, 6, 60)], {1: {5, 6}, 2: {5, 6}}, marks) == [ParentEnd(1, 6, 60)]


# ------------------------------------------------------------ cycles

graphs = st.dictionaries(st.integers(1, 7), st.sets(st.integers(1, 7), max_size=3), max_size=7)


def reaches_itself(job_id: int, links: dict[int, set[int]]) -> bool:
    """By squaring: what is reachable in ever more steps."""
    reach = set(links.get(job_id, ()))
    for _ in range(8):
        reach |= {one for middle in reach for one in links.get(middle, ())}
    return job_id in reach


@given(graphs, st.integers(1, 7))
def test_a_cycle_is_found_where_there_is_one(links, job_id):
    path = path_back(job_id, links)
    assert (path is not None) == reaches_itself(job_id, links)
    if path is not None:
        assert path[0] == path[-1] == job_id
        assert len(set(path[1:])) == len(path) - 1
        assert all(after in links[before] for before, after in pairwise(path))
