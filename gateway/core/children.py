"""Children: which jobs the end of a run starts, and what a job waits for that joins several parents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.retry import FAILURES
from gateway.core.states import RunState

MOST = 100


class On(StrEnum):
    """Which end of its parent starts a child."""

    SUCCESS = "success"
    FAILURE = "failure"
    END = "end"


class Join(StrEnum):
    """When a job with several parents starts: with each of them, or when all have ended since its last start."""

    ANY = "any"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Child:
    job_id: int
    on: On = On.SUCCESS

    def wants(self, state: RunState) -> bool:
        if self.on is On.SUCCESS:
            return state is RunState.SUCCEEDED
        if self.on is On.FAILURE:
            return state in FAILURES
        return state in FAILURES or state in (RunState.SUCCEEDED, RunState.STOPPED)


def started_by(children: Iterable[Child], state: RunState, before: RunState | None) -> list[Child]:
    """The children that this final state starts. `before`: the final state that it corrects, if it does.

    Those that the former one had started already are not started again.
    """
    return [child for child in children if child.wants(state) and not (before and child.wants(before))]


def path_back(job_id: int, links: Mapping[int, Iterable[int]]) -> list[int] | None:
    """A way along the links from a job to itself, as the ids on it from end to end, or None."""
    came_from: dict[int, int] = {}
    frontier = [job_id]
    while frontier:
        reached: list[int] = []
        for one in frontier:
            for child in links.get(one, ()):
                if child == job_id:
                    path = [job_id, one]
                    while path[-1] != job_id:
                        path.append(came_from[path[-1]])
                    return path[::-1]
                if child not in came_from:
                    came_from[child] = one
                    reached.append(child)
        frontier = reached
    return None


@dataclass(frozen=True, slots=True)
class ParentEnd:
    """An end, of a run with this first attempt, that counts for a job which joins its parents."""

    child_id: int
    parent_id: int
    root_id: int


Marks = dict[tuple[int, int], tuple[int, bool]]
"""By (child, parent): the first attempt of the last end that counted, and whether a start has been made of it."""


def join(ends: Sequence[ParentEnd], parents: Mapping[int, Collection[int]], marks: Marks) -> list[ParentEnd]:
    """Count these ends, one after the other, in `marks`; those that were the last that a start waited for.

    One run counts once, however often its end is corrected. Several ends of one parent count as one.
    """
    last: list[ParentEnd] = []
    for end in ends:
        key = (end.child_id, end.parent_id)
        wanted = parents.get(end.child_id, ())
        if end.parent_id not in wanted or marks.get(key, (0, True))[0] == end.root_id:
            continue
        marks[key] = (end.root_id, False)
        theirs = [(end.child_id, parent_id) for parent_id in wanted]
        if all(not marks.get(one, (0, True))[1] for one in theirs):
            marks.update({one: (marks[one][0], True) for one in theirs})
            last.append(end)
    return last
