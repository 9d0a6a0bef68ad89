"""Tokens, probes and problems."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.api.models.base import Answer, Body, Iso


class TokenBody(Body):
    name: str = Field(min_length=1, max_length=64)


class LimitBody(Body):
    """So many submissions a second on average, and so many at once after a pause."""

    per_second: float = Field(ge=0.001, le=100_000, description="0.2 is one in 5 s.")
    burst: int | None = Field(
        None, ge=1, le=1_000_000, description="`per_second`, rounded up, if left out. A batch needs as many."
    )


class LimitAnswer(Answer):
    per_second: float | None = Field(description="Null: no limit.")
    burst: int | None


class TokenAnswer(Answer):
    id: int
    name: str
    created: Iso
    created_ms: int


class NewToken(TokenAnswer):
    token: str = Field(description="Shown this once; only its hash is kept.")


class TokenList(Answer):
    items: list[TokenAnswer]
    next_cursor: None = None


class NodeAnswer(Answer):
    """A node of this database. `parts` of 128 are its to schedule; `state` is live, draining, dead or stopped."""

    name: str
    state: str
    parts: int
    control_address: str
    version: str
    clock_offset_ms: int
    clock_right: bool
    started: Iso
    started_ms: int
    seen: Iso
    seen_ms: int


class NodeList(Answer):
    nodes: list[NodeAnswer]


class Alive(Answer):
    status: str


class Ready(Answer):
    status: str
    problems: list[str]


class WrongField(Answer):
    field: str
    value: Any
    expected: str


class Problem(Answer):
    """RFC 9457. `errors` names each wrong field; `run_id` the run that a task id already has."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[WrongField] | None = None
    run_id: int | None = None
