"""Access tokens: what executors prove themselves by."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.api.models.base import Answer, Body, Iso, Seconds, refusal
from gateway.core.access import TEXT


def _can_be_sent(value: str) -> str:
    if not re.fullmatch(TEXT, value):
        raise refusal("1 to 255 printable ASCII characters without blanks: it is sent in a header")
    return value


class AccessTokenBody(Body):
    """A new token; the one before it goes on being valid for a while."""

    token: Annotated[str, AfterValidator(_can_be_sent)] | None = Field(
        None, description="Its text, such as the old admin's; made at random if left out.", repr=False
    )
    old_valid_s: Seconds | None = Field(
        None,
        description="How long the one before is still valid: 0 ends it now, null until it is removed. "
        "Before the first token this is what counted without it.",
    )


class AccessTokenAnswer(Answer):
    id: int
    kind: str = Field(description="own, or inherited: what would count without tokens of its own.")
    valid: bool
    executors: int | None = Field(
        description="Live executors of the app that have come with it; null for a namespace."
    )
    author: str
    created: Iso
    created_ms: int
    ends: Iso | None
    ends_ms: int | None


class NewAccessToken(AccessTokenAnswer):
    token: str = Field(description="Shown this once.")


class AccessTokenList(Answer):
    items: list[AccessTokenAnswer]
    next_cursor: None = None
