"""What follows the end of a run: the next attempt, children."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gateway.api.models.base import MAX_ID, Answer, Body, Duration, refusal
from gateway.core.children import On
from gateway.core.retry import MAX_ATTEMPTS

RETRY_INTERVAL_S = 30


class RetryBody(Body):
    """Without intervals the next attempt is made at once."""

    max_attempts: int | None = Field(
        None,
        ge=1,
        le=MAX_ATTEMPTS,
        description="All attempts, the first one included. 1 if left out, or one more than there are intervals.",
    )
    intervals_s: list[Duration] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Each wait; the last value is that of all that follow.",
    )
    initial_interval_s: Duration | None = Field(
        None,
        description="Wait i (from 0) is min(initial_interval_s * backoff_coefficient^i, maximum_interval_s). "
        f"{RETRY_INTERVAL_S} if left out where any of the others is given.",
    )
    backoff_coefficient: float | None = Field(
        None, ge=1, le=1000, allow_inf_nan=False, description="1 if left out."
    )
    maximum_interval_s: Duration | None = None
    jitter: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="The share of each wait that chance may take away."
    )
    on: list[Literal["failed", "timed_out", "lost"]] | None = Field(
        None, min_length=1, description="The outcomes that are tried again; all three if left out."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("intervals_s") is not None:
            for name in ("initial_interval_s", "backoff_coefficient", "maximum_interval_s"):
                if values.get(name) is not None:
                    raise refusal("null: intervals_s gives all waits", at=name, value=values[name])
        return values


class ChildBody(Body):
    """A job that the end of this one starts, with its own params and policies."""

    job: int = Field(ge=1, le=MAX_ID, description="The id of a job that exists.")
    on: On = Field(On.SUCCESS, strict=False, description="`end`: success, failure or a stop.")


def each_once(children: list[ChildBody]) -> list[ChildBody]:
    seen: set[int] = set()
    for child in children:
        if child.job in seen:
            raise refusal(f"each job once: {child.job} is there twice; `end` is for success and failure")
        seen.add(child.job)
    return children


class RetryAnswer(Answer):
    max_attempts: int
    intervals_s: list[float] | None
    initial_interval_s: float | None
    backoff_coefficient: float | None
    maximum_interval_s: float | None
    jitter: float
    on: list[str]


class ChildAnswer(Answer):
    job: int
    on: On
