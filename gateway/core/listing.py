"""What lists are asked for, and the pages they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.core.model import DEFAULT_NAMESPACE, TriggerKind
from gateway.core.states import RunState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What to list; None means any. Times bound `due_ms`: from inclusive, to exclusive."""

    namespace_id: int = DEFAULT_NAMESPACE
    job_id: int | None = None
    app_id: int | None = None
    states: frozenset[RunState] | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    root_id: int | None = None
    trigger: TriggerKind | None = None
    parent_id: int | None = None
    author: str | None = None
    # Without those that are shards, without those that were run again.
    no_shards: bool = False
    not_rerun: bool = False


@dataclass(frozen=True, slots=True)
class Covered:
    """What pauses cover: all, or these apps and jobs."""

    everything: bool = False
    apps: frozenset[int] = frozenset()
    jobs: frozenset[int] = frozenset()


NOTHING = Covered()


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What to list; None means any. `name` is a part of the name, in any case.

    `has_next`: whether a slot, or the end of a run that sets one, lies ahead. `paused`: whether `pauses` cover it.
    """

    namespace_id: int = DEFAULT_NAMESPACE
    app_id: int | None = None
    name: str | None = None
    enabled: bool | None = None
    has_next: bool | None = None
    paused: bool | None = None
    pauses: Covered = NOTHING


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list and the cursor of what follows, None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None = None
