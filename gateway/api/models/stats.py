"""Counts of days."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.api.models.base import MAX_ID, Answer, Iso, Query, refusal

MOST_DAYS = 400
_EPOCH = date(1970, 1, 1).toordinal()


def _day(value: object) -> int:
    try:
        return date.fromisoformat(str(value)).toordinal() - _EPOCH
    except ValueError:
        raise refusal("a day such as 2026-11-21 (of UTC)") from None


def day_text(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()


Day = Annotated[
    int, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date", "description": "UTC."})
]


class DailyQuery(Query):
    from_: Day | None = Field(
        None, alias="from", description="The first day; 29 before the last if left out."
    )
    to: Day | None = Field(None, description="The last day; today if left out.")
    app: str | None = Field(None, description="The appname.")
    job_id: int | None = Field(None, ge=1, le=MAX_ID)


class DayAnswer(Answer):
    """The runs that ended on a day of UTC. A broadcast counts as its parent and each of its shards."""

    day: str
    runs: int
    succeeded: int
    failed: int
    timed_out: int
    lost: int
    stopped: int
    retrying: int = Field(description="Attempts that another one followed.")
    skipped: int
    expired: int
    invalid: int
    skipped_slots: int = Field(description="Slots that the skipped runs stand for.")
    sent: int
    late: int = Field(description="Sent more than a second after they were due.")
    lateness_avg_ms: float | None
    lateness_max_ms: int | None
    duration_avg_ms: float | None = Field(description="From sent to finished.")
    duration_max_ms: int | None
    counted: Iso | None = Field(description="When its runs were last counted; null if none of them is kept.")
    counted_ms: int | None


class DailyAnswer(Answer):
    """One entry a day, also for those on which nothing ended."""

    days: list[DayAnswer]
