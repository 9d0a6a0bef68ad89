"""Events."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.api.models.base import Answer, Instant, Iso, Paging, refusal
from gateway.core.events import Level, Source

_LEVELS = {level.word: level for level in Level}


def levels_of(words: str) -> frozenset[Level]:
    """The levels that a comma list of words names."""
    found: set[Level] = set()
    for word in words.split(","):
        level = _LEVELS.get(word.strip())
        if level is None:
            raise refusal(f"one or more of {', '.join(_LEVELS)}, by comma")
        found.add(level)
    return frozenset(found)


def _known_levels(words: str) -> str:
    levels_of(words)
    return words


def _known_source(word: str) -> str:
    if word not in list(Source):
        raise refusal(f"one of {', '.join(Source)}")
    return word


class EventQuery(Paging):
    level: Annotated[str, AfterValidator(_known_levels)] | None = Field(
        None, description="One or more of info, warn, error, by comma."
    )
    source_type: Annotated[str, AfterValidator(_known_source)] | None = Field(
        None, description=f"One of {', '.join(Source)}."
    )
    source: str | None = Field(
        None, description="The id of a job, an appname, an executor's address, the name of a node or a token."
    )
    reason: str | None = Field(None, description="One word, such as `changed` or `run_lost`.")
    author: str | None = Field(None, description="The name of a token, or `system`.")
    text: str | None = Field(
        None, min_length=1, max_length=200, description="A part of the text or of the source's name."
    )
    from_: Instant | None = Field(None, alias="from", description="At or after this.")
    to: Instant | None = Field(None, description="Before this.")


class EventAnswer(Answer):
    id: int
    at: Iso
    at_ms: int
    level: str
    source_type: str
    source: str
    name: str = Field(description="What people call the source, where that is not its id.")
    reason: str
    text: str
    author: str


class EventList(Answer):
    """Newest first. A page may be short, or empty, and still have a `next_cursor`: follow it until it is null."""

    items: list[EventAnswer]
    next_cursor: str | None
