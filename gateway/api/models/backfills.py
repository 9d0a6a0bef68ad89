"""Backfills."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway.api.models.base import Answer, Body, Instant, Iso, Query, Text, refusal
from gateway.api.models.tasks import MAX_PARAMS
from gateway.core.backfill import MAX_PARALLEL, MAX_PER_MINUTE, MAX_SLOTS

Overlap = Literal["one_after_another", "parallel"]
Order = Literal["oldest_first", "newest_first"]


class BackfillBody(Body):
    """Which slots of a job, and how fast."""

    from_: Instant = Field(alias="from", description="The first instant.")
    to: Instant = Field(
        description="The first instant that does not belong to it any more; not in the future."
    )
    overlap: Overlap = "one_after_another"
    max_parallel: int | None = Field(
        None,
        ge=1,
        le=MAX_PARALLEL,
        description="For `parallel`: how many of its runs at once; 10 if left out.",
    )
    per_minute: int | None = Field(
        None, ge=1, le=MAX_PER_MINUTE, description="How many of its runs start in a minute at most."
    )
    order: Order = "oldest_first"
    params: Text | None = Field(
        None,
        max_length=MAX_PARAMS,
        description="Instead of the job's own. `${data_time}` and its other forms stand for the slot.",
    )
    reason: Text = Field("", max_length=1000)
    dry_run: bool = Field(default=False, description="Count the slots, and start nothing.")

    @model_validator(mode="after")
    def _fits(self) -> BackfillBody:
        if self.from_ >= self.to:
            raise refusal("an instant after `from`", at="to", value=self.to)
        if self.overlap != "parallel" and self.max_parallel is not None:
            raise refusal(
                "left out: only the overlap 'parallel' has it", at="max_parallel", value=self.max_parallel
            )
        return self


class BackfillPlan(Answer):
    """What a dry run found."""

    dry_run: Literal[True] = True
    total: int = Field(description=f"At most {MAX_SLOTS}: a range with more is refused.")
    first: Iso
    first_ms: int
    last: Iso
    last_ms: int


class BackfillAnswer(Answer):
    id: int
    job_id: int
    state: Literal["running", "done", "cancelled"]
    from_: Iso = Field(serialization_alias="from")
    from_ms: int
    to: Iso
    to_ms: int
    overlap: Overlap
    max_parallel: int
    per_minute: int | None
    order: Order
    params: str | None
    reason: str
    author: str
    total: int
    started: int = Field(description="Slots that have a run.")
    runs: dict[str, int] | None = Field(description="These runs by state, their last attempt; null in lists.")
    created: Iso
    created_ms: int
    finished: Iso | None
    finished_ms: int | None


class BackfillList(Answer):
    items: list[BackfillAnswer]


class BackfillQuery(Query):
    limit: int = Field(50, ge=1, le=500)
