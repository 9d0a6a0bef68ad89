"""Who has a place: runs from their claim to their final state, of the jobs and apps that have a limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.core.model import BROADCAST_PARENT

Kind = Literal["app", "job"]


class Scope(NamedTuple):
    """What is counted: an app or a job. All of its runs are in one part."""

    kind: Kind
    id: int
    part: int


@dataclass(slots=True, eq=False)
class Place:
    """`settled`: the row says that the run has been claimed; until then only this node knows it. `held`: it is over."""

    run_id: int
    job_id: int
    app_id: int
    part: int
    root_id: int
    shard: int
    since_ms: int
    address: str = ""
    settled: bool = False
    asked_to_stop: bool = False
    held: bool = False


class Places:
    """By run, job and app. A scope is known once all its open runs have been read from the database."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._jobs: dict[int, dict[int, Place]] = {}
        self._apps: dict[int, dict[int, Place]] = {}
        self._known: dict[tuple[Kind, int], Scope] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._places

    def get(self, run_id: int) -> Place | None:
        return self._places.get(run_id)

    def knows(self, scope: Scope) -> bool:
        return self._known.get((scope.kind, scope.id)) == scope

    def learn(self, scope: Scope, found: Iterable[Place]) -> None:
        for place in found:
            if (mine := self._places.get(place.run_id)) is not None:
                mine.part, mine.held = place.part, place.held  # its job may have moved
            else:
                self.take(place)
        self._known[scope.kind, scope.id] = scope

    def unlearn(self, kind: Kind, id_: int) -> None:
        """Places are taken meanwhile that nobody counts."""
        self._known.pop((kind, id_), None)

    def take(self, place: Place) -> None:
        if place.run_id in self._places:
            return
        self._places[place.run_id] = place
        self._jobs.setdefault(place.job_id, {})[place.run_id] = place
        if place.shard != BROADCAST_PARENT:
            self._apps.setdefault(place.app_id, {})[place.run_id] = place

    def free(self, run_id: int) -> Place | None:
        place = self._places.pop(run_id, None)
        if place is not None:
            for groups, key in ((self._jobs, place.job_id), (self._apps, place.app_id)):
                group = groups.get(key)
                if group is not None and group.pop(run_id, None) is not None and not group:
                    del groups[key]
        return place

    def known_jobs(self) -> set[int]:
        return {id_ for kind, id_ in self._known if kind == "job"}

    def of_app(self, app_id: int) -> int:
        return len(self._apps.get(app_id, ()))

    def of_job(self, job_id: int) -> list[Place]:
        """The places that count for the job itself, the longest-held first: of a broadcast the parent's alone."""
        return [
            place
            for place in self._jobs.get(job_id, {}).values()
            if not self.is_covered(place.run_id, place.root_id)
        ]

    def is_covered(self, run_id: int, root_id: int) -> bool:
        """Whether it is part of a broadcast whose parent has the job's place."""
        root = self._places.get(root_id) if root_id != run_id else None
        return root is not None and root.shard == BROADCAST_PARENT

    def busy(self, job_id: int) -> set[str]:
        """Addresses at which a run of this job has a place."""
        return {place.address for place in self._jobs.get(job_id, {}).values()}

    def settle(self, run_id: int) -> None:
        place = self._places.get(run_id)
        if place is not None:
            place.settled = True

    def hold(self, run_id: int) -> None:
        place = self._places.get(run_id)
        if place is not None:
            place.held = True

    def held(self, *, job_id: int = 0, app_id: int = 0) -> list[int]:
        """The runs of this job or app that are over and keep their place."""
        group = self._jobs.get(job_id) if job_id else self._apps.get(app_id)
        return [place.run_id for place in (group or {}).values() if place.held]

    def settled(self) -> list[int]:
        """Runs whose rows must be open, or their place is free."""
        return [place.run_id for place in self._places.values() if place.settled]

    def drop(self, parts: Collection[int]) -> None:
        """Another node counts these."""
        for place in [place for place in self._places.values() if place.part in parts]:
            self.free(place.run_id)
        for scope in [scope for scope in self._known.values() if scope.part in parts]:
            self.unlearn(scope.kind, scope.id)
