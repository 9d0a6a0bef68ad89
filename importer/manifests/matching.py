"""Which document is which job: by app and name, as ids differ from gateway to gateway; and which jobs children are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Key: TypeAlias = tuple[str, str]
"""App and name."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a document says of who it is. `where` is for people."""

    where: str
    id: int | None
    app: str
    name: str

    @property
    def key(self) -> Key:
        return self.app, self.name


@dataclass(frozen=True, slots=True)
class Match:
    """`ids`: the job of each document, None for a new one. `unclear`: documents that could be one of several jobs.

    `renames`: documents whose id is that of a job of the same app with another name, which `rename` would take.
    """

    ids: tuple[int | None, ...]
    unclear: tuple[tuple[int, tuple[int, ...]], ...] = ()
    renames: tuple[tuple[int, int], ...] = ()


def match(wanted: Sequence[Named], jobs: Mapping[int, Any], *, rename: bool = False) -> Match:
    """First those that agree in all, then by app and name, last (with `rename`) by the id alone."""
    found: list[int | None] = [None] * len(wanted)
    taken: set[int] = set()

    def take(index: int, job_id: int) -> None:
        found[index] = job_id
        taken.add(job_id)

    for index, one in enumerate(wanted):
        if one.id is not None and one.id not in taken and _key(jobs.get(one.id)) == one.key:
            take(index, one.id)
    documents: dict[Key, list[int]] = {}
    for index, one in enumerate(wanted):
        if found[index] is None:
            documents.setdefault(one.key, []).append(index)
    there: dict[Key, list[int]] = {}
    for job_id in sorted(jobs):
        if job_id not in taken and _key(jobs[job_id]) in documents:
            there.setdefault(_known(jobs[job_id]), []).append(job_id)
    unclear: list[tuple[int, tuple[int, ...]]] = []
    for key, indices in documents.items():
        candidates = there.get(key, [])
        if len(candidates) > len(indices):
            unclear += [(index, tuple(candidates)) for index in indices]
            continue
        # Several of one name keep their order: that of their ids.
        ordered = sorted(indices, key=lambda index: (wanted[index].id is None, wanted[index].id or 0, index))
        for index, job_id in zip(ordered, candidates, strict=False):
            take(index, job_id)
    renames: list[tuple[int, int]] = []
    open_ = {index for index, _ in unclear}
    for index, one in enumerate(wanted):
        if found[index] is not None or index in open_ or one.id is None or one.id in taken:
            continue
        if one.id in jobs and jobs[one.id]["app"] == one.app:
            renames.append((index, one.id))
            if rename:
                take(index, one.id)
    return Match(tuple(found), tuple(unclear), tuple(renames))


def _key(job: Mapping[str, Any] | None) -> Key | None:
    return None if job is None else _known(job)


def _known(job: Mapping[str, Any]) -> Key:
    return job["app"], job["name"]


# ------------------------------------------------------------ children


@dataclass(frozen=True, slots=True)
class Ref:
    """A child as a document names it: by id, by name, or by both. `app` is its own, unless it says another."""

    job: int | None
    app: str
    name: str | None
    on: str


@dataclass(frozen=True, slots=True)
class Link:
    """A child that was found: a job that is there, or the one that document `index` will make."""

    job_id: int | None
    index: int | None
    on: str


class Finder:
    """Who is meant. Documents go before jobs that are there, and a name before an id that says another."""

    def __init__(self, wanted: Sequence[Named], ids: Sequence[int | None], jobs: Mapping[int, Any]) -> None:
        self._wanted = wanted
        self._ids = ids
        self._jobs = jobs
        self._by_id = {one.id: index for index, one in enumerate(wanted) if one.id is not None}
        self._documents: dict[Key, list[int]] = {}
        for index, one in enumerate(wanted):
            self._documents.setdefault(one.key, []).append(index)
        self._there: dict[Key, list[int]] = {}
        for job_id, job in jobs.items():
            self._there.setdefault(_known(job), []).append(job_id)

    def find(self, ref: Ref) -> Link | None:
        """None where nobody, or more than one, is meant."""
        index = self._document(ref)
        if index is not None:
            return Link(self._ids[index], index, ref.on)
        job_id = self._job(ref)
        return None if job_id is None else Link(job_id, None, ref.on)

    def _document(self, ref: Ref) -> int | None:
        index = None if ref.job is None else self._by_id.get(ref.job)
        if index is not None and (ref.name is None or self._wanted[index].key == (ref.app, ref.name)):
            return index
        named = [] if ref.name is None else self._documents.get((ref.app, ref.name), [])
        return named[0] if len(named) == 1 else None

    def _job(self, ref: Ref) -> int | None:
        job = None if ref.job is None else self._jobs.get(ref.job)
        if job is not None and (ref.name is None or _known(job) == (ref.app, ref.name)):
            return ref.job
        named = [] if ref.name is None else self._there.get((ref.app, ref.name), [])
        return named[0] if len(named) == 1 else None


def cycle_in(children: Mapping[Any, Sequence[Any]]) -> list[Any] | None:
    """A way that leads back to where it began, or None."""
    done: set[Any] = set()
    for start in children:
        if start in done:
            continue
        way: list[Any] = [start]
        on_way = {start}
        stack = [iter(children[start])]
        while stack:
            following = next(stack[-1], None)
            if following is None:
                stack.pop()
                gone = way.pop()
                on_way.discard(gone)
                done.add(gone)
            elif following in on_way:
                return [*way[way.index(following) :], following]
            elif following not in done:
                way.append(following)
                on_way.add(following)
                stack.append(iter(children.get(following, ())))
    return None
