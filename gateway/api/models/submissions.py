"""Submissions: runs that somebody asks for, one at a time or thousands."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import Address, Answer, Body, Duration, Instant, Priority, Text, refusal
from gateway.api.models.system import WrongField
from gateway.core.submission import (
    DAY_MS,
    DEFAULT_NAME,
    HIGH,
    LOW,
    MEDIUM,
    MOST_AHEAD_MS,
    VERY_HIGH,
    root_of_default,
)

MAX_SUBMISSIONS = 10_000
MAX_PARAMS = 65_000
MAX_NAME = 128


def _name(value: str) -> str:
    """What every database tells from every other name: MySQL ignores blanks at the end."""
    if value != value.strip() or not value.isprintable():
        raise refusal("text without control characters, and without blanks at its ends")
    if root_of_default(value) is not None:
        raise refusal(f"another name: {DEFAULT_NAME} and a number name runs that have no name of their own")
    return value


TaskId = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_name)]


def _bounded(value_ms: int) -> int:
    if value_ms > MOST_AHEAD_MS:
        raise refusal(f"at most {MOST_AHEAD_MS // DAY_MS} days")
    return value_ms


Delay = Annotated[Duration, AfterValidator(_bounded)]


def _some(value_ms: int) -> int:
    if value_ms == 0:
        raise refusal("more than 0: left out, or null, it may wait for as long as the job says")
    return value_ms


TimeToLive = Annotated[Delay, AfterValidator(_some)]


class TriggerBody(Body):
    params: Text | None = Field(None, max_length=MAX_PARAMS, description="Instead of the job's own.")
    task_id: TaskId | None = Field(None, description="A name of your own: submitted twice, it runs once.")
    addresses: list[Address] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Instead of the app's executors; one pins the run to it.",
    )
    run_at: Instant | None = Field(None, description="Not before this instant, at most 366 days ahead.")
    delay_s: Delay | None = Field(None, description="Not before so long from now, at most 366 days.")
    ttl_s: TimeToLive | None = Field(
        None,
        description="How long it may wait from its instant on, at most 366 days; then it ends as expired.",
    )
    priority: Priority | None = Field(
        None,
        description=f"Instead of the job's own: {LOW} low, {MEDIUM} medium, {HIGH} high, {VERY_HIGH} very high.",
    )

    @model_validator(mode="after")
    def _one_instant(self) -> TriggerBody:
        if self.run_at is not None and self.delay_s is not None:
            raise refusal("null or left out: run_at says when", at="delay_s", value=self.delay_s / 1000)
        return self


class TriggerAnswer(Answer):
    run_id: int


class SubmissionsBody(Body):
    """Submissions of one job, each taken or refused for itself."""

    submissions: list[TriggerBody] = Field(min_length=1, max_length=MAX_SUBMISSIONS)


class SubmissionResult(Answer):
    """`status` is what a single trigger would have answered: 202, 409 with the run that has the name, or 422."""

    status: int
    run_id: int | None = None
    task_id: str | None = Field(None, description="As it was given.")
    detail: str | None = None
    errors: list[WrongField] | None = None


class SubmissionsAnswer(Answer):
    accepted: int
    results: list[SubmissionResult] = Field(description="One for each submission, in their order.")
