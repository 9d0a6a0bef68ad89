"""Runs that are run again, marks, failures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import MAX_ID, Answer, Body, Instant, Paging, Text, refusal
from gateway.core.reruns import MOST
from gateway.core.retry import FAILURES

_MAX_RUN_ID = (1 << 63) - 1
_WORDS = sorted(state.word for state in FAILURES)


class RerunBody(Body):
    children: bool = Field(default=True, description="Whether its end starts the job's children.")
    only_failed: bool = Field(
        default=False, description="Of a parent of shards: a new parent with those that did not succeed."
    )


class RerunAnswer(Answer):
    run_id: int


class MarkBody(Body):
    reason: Text = Field(min_length=1, max_length=1000, description="Kept with the run, as is who says so.")


def _known_states(words: str) -> str:
    for word in words.split(","):
        if word.strip() not in _WORDS:
            raise refusal(f"one or more, by comma, of {', '.join(_WORDS)}")
    return words


States = Annotated[str, AfterValidator(_known_states)]


class FailureQuery(Paging):
    job_id: int | None = Field(None, ge=1, le=MAX_ID)
    app: str | None = Field(None, description="The appname.")
    state: States | None = Field(None, description=f"By comma, of {', '.join(_WORDS)}; all if left out.")
    from_: Instant | None = Field(None, alias="from", description="Due at or after this.")
    to: Instant | None = Field(None, description="Due before this.")
    again: Literal["without", "with"] = Field("without", description="Those that were run again already.")


class FailureFilter(Body):
    """Which failures; those that were run again already are never meant."""

    job_id: int | None = Field(None, ge=1, le=MAX_ID)
    app: str | None = Field(None, description="The appname.")
    state: States | None = None
    from_: Instant | None = Field(None, alias="from")
    to: Instant | None = None


class RedriveBody(Body):
    """Either `ids` or a `filter`."""

    ids: list[Annotated[int, Field(ge=1, le=_MAX_RUN_ID)]] | None = Field(None, min_length=1, max_length=MOST)
    filter: FailureFilter | None = None
    limit: int = Field(MOST, ge=1, le=MOST, description="With a filter: the most to run again, newest first.")
    cursor: str | None = Field(None, description="With a filter: `next_cursor` of the answer before.")
    children: bool = Field(default=True, description="Whether their ends start the jobs' children.")
    only_failed: bool = Field(
        default=True, description="Of parents of shards: only the shards that did not succeed."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> RedriveBody:
        if (self.ids is None) == (self.filter is None):
            raise refusal("either ids or a filter, which may be {}", at="ids", value=self.ids)
        if self.ids is not None and self.cursor is not None:
            raise refusal("null with ids", at="cursor", value=self.cursor)
        return self


class RedriveResult(Answer):
    """`new_run_id`, or the `error` that says why there is none."""

    run_id: int
    new_run_id: int | None
    error: str | None


class RedriveAnswer(Answer):
    results: list[RedriveResult]
    again: int = Field(description="How many are run again.")
    next_cursor: str | None = Field(description="Go on here: there may be more.")
