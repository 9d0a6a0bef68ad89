"""Versions of a job: what it was, who made it so and when, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.core.model import Job


@dataclass(frozen=True, slots=True)
class JobVersion:
    """A job as one change left it. `job` has the definition, the name and the switch of that version."""

    job: Job
    author: str
    created_ms: int

    @property
    def number(self) -> int:
        return self.job.version


@dataclass(frozen=True, slots=True)
class Change:
    """One field by its path, such as `task.params`; `None` where a side does not have it."""

    field: str
    old: object
    new: object


def changes(old: object, new: object, path: str = "") -> list[Change]:
    """What differs between two definitions as JSON. Objects are compared field by field, and lists of one length."""
    return list(_changes(old, new, path))


def _changes(old: object, new: object, path: str) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(name), new.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _changes(one, other, f"{path}[{index}]")
    elif type(old) is not type(new) or old != new:
        yield Change(path, old, new)
