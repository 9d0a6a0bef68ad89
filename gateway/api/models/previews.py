"""Previews: when a schedule fires next."""

from __future__ import annotations

from pydantic import Field

from gateway.api.models.base import Answer, Instant, Iso, Query
from gateway.api.models.schedules import ScheduleAnswer, Schedules
from gateway.api.models.timing import TimingFields

_TIMEZONE = "In which zone to show times; the schedule's if left out, UTC if it has several."


class PreviewQuery(Query):
    count: int = Field(5, ge=1, le=1000)
    from_: Instant | None = Field(None, alias="from", description="Now, if left out.")
    timezone: str | None = Field(None, description=_TIMEZONE)


class PreviewBody(TimingFields):
    schedule: Schedules
    from_: Instant | None = Field(None, alias="from", description="Now, if left out.")
    count: int = Field(5, ge=1, le=1000)
    timezone: str | None = Field(None, description=_TIMEZONE)


class Fire(Answer):
    time: Iso = Field(
        description="When the run is due: the slot, and the part of the jitter that is its own."
    )
    time_ms: int
    slot: Iso
    slot_ms: int
    data_time: Iso | None = None
    data_time_ms: int | None = None


class PreviewAnswer(Answer):
    schedule: ScheduleAnswer | list[ScheduleAnswer]
    timezone: str
    next: list[Fire] = Field(description="Fewer than asked for if the schedule ends.")
    warnings: list[str] = Field(
        description="What may not be meant: a schedule that never fires, and the like."
    )
