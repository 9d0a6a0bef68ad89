"""Runs that wait for a place."""

from __future__ import annotations

from pydantic import Field

from gateway.api.models.base import Answer, Iso, Query


class QueueQuery(Query):
    limit: int = Field(100, ge=1, le=500, description="How many of the first to show.")


class WaitingAnswer(Answer):
    run_id: int
    job_id: int
    position: int = Field(description="1 is the next to start.")
    priority: int
    attempt: int
    due: Iso
    due_ms: int
    waited_ms: int
    reason: str
    bypass: bool
    predicted_start: Iso | None = Field(
        description="If runs take as long as the last ones of their jobs did. An estimate."
    )
    predicted_start_ms: int | None


class QueueAnswer(Answer):
    app: str
    max_running: int | None
    starts_per_second: float | None
    running: int
    waiting: int = Field(description="How many wait in all.")
    items: list[WaitingAnswer]
