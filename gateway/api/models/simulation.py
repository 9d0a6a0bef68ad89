"""Simulations."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import MAX_ID, Answer, Body, Duration, Instant, Iso, refusal
from gateway.api.models.jobs import JobBody
from gateway.core.scenario import MOST_FIRES

MOST_LISTED = 5000
MOST_DRAFTS = 1000


class OutageBody(Body):
    """A span in which the gateway is not there."""

    from_: Instant = Field(alias="from")
    to: Instant

    @model_validator(mode="after")
    def _forward(self) -> OutageBody:
        if self.to <= self.from_:
            raise refusal("an instant after from", at="to", value=self.to)
        return self


class TriedLimit(Body):
    """Limits of an app instead of its own; what is left out stays, null is none."""

    app: str = Field(description="The appname.")
    max_running: int | None = Field(None, ge=1, le=1_000_000)
    starts_per_second: float | None = Field(None, gt=0, le=1_000_000, allow_inf_nan=False)


def _in_order(spans: list[OutageBody]) -> list[OutageBody]:
    for before, span in pairwise(spans):
        if span.from_ < before.to:
            raise refusal("spans in order, none beginning before the last has ended")
    return spans


class SimulationBody(Body):
    """What to simulate. Without `app`, `job_ids` and `jobs`: all that is stored."""

    from_: Instant | None = Field(None, alias="from", description="Now, if left out.")
    to: Instant = Field(description=f"The end, outside. At most {MOST_FIRES} runs.")
    app: str | None = Field(None, description="The appname: only its jobs.")
    job_ids: list[Annotated[int, Field(ge=1, le=MAX_ID)]] | None = Field(
        None, min_length=1, max_length=1000, description="Only these jobs."
    )
    jobs: list[JobBody] | None = Field(
        None,
        min_length=1,
        max_length=MOST_DRAFTS,
        description="Jobs that are not stored; only they, unless app or job_ids names others.",
    )
    duration_s: Duration | None = Field(
        None, description="How long each run takes. If left out: as the last runs of the job, or 1 s."
    )
    limits: list[TriedLimit] = Field([], max_length=100, description="Limits of apps to be tried.")
    outages: Annotated[list[OutageBody], AfterValidator(_in_order)] = Field(
        [], max_length=20, description="When the gateway is not there: shows what misfire makes of it."
    )
    fires: int = Field(
        1000, ge=0, le=MOST_LISTED, description="As many of the first runs are told one by one."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> SimulationBody:
        if self.app is not None and self.job_ids is not None:
            raise refusal("null: app chooses already", at="job_ids", value=self.job_ids)
        return self


class FireAnswer(Answer):
    run: int = Field(description="Counts the runs of this simulation.")
    job_id: int = Field(description="Negative for the jobs of the body: -1 is the first.")
    job: str
    app: str
    trigger: str
    slot: Iso | None
    slot_ms: int | None
    slots: int = Field(description="How many slots were skipped together.")
    due: Iso
    due_ms: int
    start: Iso | None
    start_ms: int | None
    end: Iso | None
    end_ms: int | None
    wait_ms: int | None = Field(description="From due to start; null if it did not start.")
    state: str
    shard: int | None = Field(description="Of a broadcast; -1 is its parent.")
    reason: str | None = Field(description="Why it waited, or did not start.")


class CountsAnswer(Answer):
    """`fires` = `started` + `skipped` + `expired` + `waiting`."""

    fires: int
    started: int
    skipped: int
    expired: int
    stopped: int = Field(description="Of the started ones.")
    waiting: int = Field(description="Still, when the range ends.")
    waited: int = Field(description="How many started late.")
    wait_max_ms: int
    wait_mean_ms: int = Field(description="Of those that waited.")


class AppCountsAnswer(CountsAnswer):
    app: str
    max_running: int | None
    starts_per_second: float | None
    queue_max: int = Field(description="Most runs that waited at once.")
    queue_max_at: Iso | None
    queue_max_at_ms: int | None
    running_max: int = Field(description="Most runs under way at once.")
    running_max_at: Iso | None
    running_max_at_ms: int | None


class JobCountsAnswer(CountsAnswer):
    job_id: int
    job: str
    app: str
    duration_ms: int = Field(description="How long each run was assumed to take.")


class ReasonCount(Answer):
    reason: str
    count: int


class SimulationAnswer(Answer):
    from_: Iso = Field(alias="from", serialization_alias="from")
    from_ms: int
    to: Iso
    to_ms: int
    total: CountsAnswer
    apps: list[AppCountsAnswer]
    jobs: list[JobCountsAnswer] = Field(description="Those with fires, longest wait first; at most 1000.")
    reasons: list[ReasonCount] = Field(description="Why slots did not start.")
    fires: list[FireAnswer] = Field(description="In the order in which they were due.")
    more_fires: bool = Field(description="Whether there are runs that are counted but not told.")
    notes: list[str] = Field(description="What was assumed, and what was left out.")
