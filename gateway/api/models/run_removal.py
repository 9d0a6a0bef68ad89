"""Removing runs by hand."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import MAX_ID, Answer, Body, Instant, Query, refusal
from gateway.api.models.runs import states_of
from gateway.core.states import FINAL

MOST_REMOVED = 5000


def _final_words(words: str) -> str:
    if not states_of(words) <= FINAL:
        raise refusal("final states only: a run that is open is to be stopped first")
    return words


class RemovalQuery(Query):
    cursor: str | None = Field(None, description="`next_cursor` of the call before.")


class RemovalBody(Body):
    """Which finished runs to remove: those that fit everything given."""

    job_id: int | None = Field(None, ge=1, le=MAX_ID)
    app: str | None = Field(None, description="The appname.")
    state: Annotated[str, AfterValidator(_final_words)] | None = Field(
        None, description="One or more final states or statuses, by comma; all if left out."
    )
    from_: Instant | None = Field(None, alias="from", description="Due at or after this.")
    to: Instant | None = Field(None, description="Due before this.")
    limit: int = Field(1000, ge=1, le=MOST_REMOVED, description="How many to look at in this call.")

    @model_validator(mode="after")
    def _names_some(self) -> RemovalBody:
        if self.job_id is None and self.app is None and self.to is None:
            raise refusal("at least one of job_id, app and to", at="job_id", value=None)
        return self


class RemovalAnswer(Answer):
    removed: int = Field(description="With all attempts and shards of the same slot.")
    next_cursor: str | None = Field(description="Call again with this as `cursor` to go on; null at the end.")
