"""Explanations."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from gateway.api.models.base import Answer, Iso, Query


class ExplainQuery(Query):
    at: str | None = Field(
        None,
        description="`yyyy-MM-dd HH:mm:ss` in the job's time zone, ISO 8601 or milliseconds; now if left out.",
    )


class FactAnswer(Answer):
    """A sentence, and beside it what it is made of: instants as `name` and `name_ms`, all else as it is."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    kind: str
    text: str


class ExplainAnswer(Answer):
    job_id: int
    at: Iso
    at_ms: int
    verdict: str = Field(
        description="ran, failed, timed_out, lost, stopped, running, starting, waiting, planned, skipped, expired, "
        "did_not_run, will_run, paused, disabled, maximum, no_slot, no_job, deleted, not_planned_yet, not_kept, "
        "missing, unreadable."
    )
    answer: str
    slot: Iso | None
    slot_ms: int | None
    run_id: int | None
    facts: list[FactAnswer] = Field(description="In the order in which they were decided.")
