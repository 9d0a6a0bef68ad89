"""A plan as values: what becomes of each calendar, app and job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.versions import Change
from importer.manifests.fires import FireChange
from importer.manifests.matching import Link
from importer.manifests.shapes import Value


class What(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    SAME = "unchanged"


class Kind(StrEnum):
    CALENDAR = "calendar"
    APP = "app"
    JOB = "job"


class Prune(StrEnum):
    """What is removed that no document names: nothing; jobs of the apps that documents hold; all of it."""

    NOTHING = "nothing"
    JOBS = "jobs"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Step:
    """One calendar, app or job. `mark` is what it was planned against: a version, or when an app was last changed.

    `body` is what the API is sent: all of it for a new one, the fields that differ for a change. `links` are the
    children of a job, where they are to be set; `kept` those of them that are there already.
    """

    kind: Kind
    what: What
    name: str
    app: str = ""
    job_id: int = 0
    document_id: int | None = None
    mark: int = 0
    body: Value | None = None
    changes: tuple[Change, ...] = ()
    links: tuple[Link, ...] | None = None
    kept: tuple[Link, ...] = ()
    loses_links: bool = False
    # Of a job that documents ask for: which of them, so that links can name it before it has an id.
    index: int | None = None
    # Of a new job: those of its app and name that were there, which it does not mean.
    namesakes: tuple[int, ...] = ()
    fires: FireChange | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` are calendars, then apps, then jobs. `affected`: jobs that only a calendar's change concerns."""

    steps: tuple[Step, ...]
    affected: tuple[Step, ...] = ()
    unlooked: int = 0

    def of(self, kind: Kind, what: What) -> list[Step]:
        return [one for one in self.steps if one.kind is kind and one.what is what]

    def count(self, what: What) -> int:
        return sum(one.what is what for one in self.steps)

    @property
    def is_empty(self) -> bool:
        return self.count(What.SAME) == len(self.steps)
