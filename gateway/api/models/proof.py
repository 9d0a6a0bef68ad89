"""Proof that no slot was lost or doubled."""

from __future__ import annotations

from pydantic import Field

from gateway.api.models.base import MAX_ID, Answer, Instant, Iso, Query

MOST_DAYS = 31


class ProofQuery(Query):
    from_: Instant | None = Field(None, alias="from", description="24 h before the end if left out.")
    to: Instant | None = Field(None, description="Now if left out, and at most.")
    job_id: int | None = Field(None, ge=1, le=MAX_ID)
    app: str | None = Field(None, description="The appname.")
    wrong: bool = Field(default=False, description="Show only jobs that something speaks against.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=200, description="Most jobs to look at in a call.")


class Instants(Answer):
    count: int
    first: list[Iso] = Field(description="At most 20 of them.")


class GapsAnswer(Answer):
    """Of a second_delay job: from the end of one run to the start of the next."""

    runs: int
    kept: int
    too_short: int
    unproven: int = Field(description="Something is not known of the end, or of what was between.")
    longest_extra_ms: int = Field(
        description="By how much the longest pause was longer than the delay and the job's bounds made it."
    )


class JobProofAnswer(Answer):
    job_id: int
    name: str
    right: bool = Field(
        description="Nothing is missing, duplicate, unexpected or early, and no gap is too short."
    )
    expected: int = Field(description="Slots that the versions of the job had in the range.")
    fired: int = Field(description="Sent once.")
    early: int = Field(description="Of these, before their slot.")
    late: int = Field(description="Of these, more than a second after they were due.")
    lateness_max_ms: int
    lateness_avg_ms: float | None
    waiting: int = Field(description="Planned or queued, or not planned yet.")
    skipped: dict[str, int] = Field(description="By reason.")
    not_sent: dict[str, int] = Field(description="Ended before they were sent, by state and reason.")
    missing: Instants
    duplicate: Instants
    unexpected: Instants = Field(description="Rows for instants that were no slots.")
    unproven: dict[str, int] = Field(description="Slots of which nothing can be said, by reason.")
    gaps: GapsAnswer | None


class TotalAnswer(Answer):
    """Sums over the jobs of this page."""

    jobs: int
    wrong: int
    expected: int
    fired: int
    early: int
    late: int
    lateness_max_ms: int
    waiting: int
    skipped: int
    not_sent: int
    missing: int
    duplicate: int
    unexpected: int
    unproven: int
    gaps_too_short: int


class ProofAnswer(Answer):
    from_: Iso = Field(serialization_alias="from")
    from_ms: int
    to: Iso
    to_ms: int
    total: TotalAnswer
    items: list[JobProofAnswer]
    next_cursor: str | None
