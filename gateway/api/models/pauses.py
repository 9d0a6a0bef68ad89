"""Pauses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway.api.models.base import Answer, Body, Instant, Iso, Seconds, Text, refusal


class PauseBody(Body):
    """Why, and until when."""

    reason: Text = Field("", max_length=1000)
    until: Instant | None = Field(None, description="When it ends by itself; never if left out.")
    for_s: Seconds | None = Field(None, ge=1, description="Instead of `until`: how long it lasts.")

    @model_validator(mode="after")
    def _one_end(self) -> PauseBody:
        if self.until is not None and self.for_s is not None:
            raise refusal("left out: `until` says when it ends", at="for_s", value=self.for_s)
        return self


class PauseAnswer(Answer):
    scope: Literal["all", "app", "job"]
    app: str | None = Field(description="The appname, for the scope `app`.")
    job_id: int | None = Field(description="For the scope `job`.")
    reason: str
    author: str
    created: Iso
    created_ms: int
    until: Iso | None
    until_ms: int | None


class PauseList(Answer):
    items: list[PauseAnswer]
