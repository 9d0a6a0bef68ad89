"""Events: what people changed and what the scheduler noticed, for people to search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from gateway.core.acting import SYSTEM
from gateway.core.listing import Page
from gateway.core.model import DEFAULT_NAMESPACE


class Level(IntEnum):
    """Stored as these numbers."""

    INFO = 1
    WARN = 2
    ERROR = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Source(StrEnum):
    """What an event is about."""

    JOB = "job"
    APP = "app"
    RUN = "run"
    EXECUTOR = "executor"
    NODE = "node"
    CALENDAR = "calendar"
    TOKEN = "token"  # noqa: S105 – a kind of thing, no secret
    NAMESPACE = "namespace"
    USER = "user"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Event:
    """`source_id` is what the source is called in addresses: a job's or run's id, an appname, an executor's address."""

    at_ms: int
    level: Level
    source_type: str
    source_id: str
    reason: str
    text: str
    source_name: str = ""
    author: str = SYSTEM
    namespace_id: int = DEFAULT_NAMESPACE
    id: int = 0


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What to list; None means any. `text` is a part of the text or of the source's name, in any case."""

    namespace_id: int = DEFAULT_NAMESPACE
    levels: frozenset[Level] | None = None
    source_type: str | None = None
    source_id: str | None = None
    reason: str | None = None
    author: str | None = None
    text: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class EventCatalog(Protocol):
    async def page(self, wanted: EventFilter, *, cursor: str | None, limit: int) -> Page[Event]:
        """Newest first. A page may be short, or empty, and still have a cursor: a page's work is bounded."""
        ...


class EventWriter(Protocol):
    async def save(self, events: Sequence[Event]) -> None: ...
