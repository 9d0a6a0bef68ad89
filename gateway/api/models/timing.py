"""What bounds a job's schedule."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from gateway.api.models.base import Answer, Body, Duration, Iso, SignedSeconds, Text, take_along
from gateway.core.calendar_days import CalendarMode
from gateway.core.exclusions import MAX_COMMENT, MOST

_MOMENT = "`yyyy-MM-dd HH:mm:ss` in the schedule's time zone, ISO 8601 or milliseconds"


class WindowBody(Body):
    """Slots outside of it do not exist."""

    start: str | int | None = Field(None, description=f"{_MOMENT}; the first instant.")
    end: str | int | None = Field(None, description=f"{_MOMENT}; the first instant that is outside again.")
    max_fires: int | None = Field(
        None, ge=1, le=1_000_000_000, description="As many slots at most, counted from when this is set."
    )

    @model_validator(mode="before")
    @classmethod
    def _twice(cls, values: Any) -> Any:
        return take_along(values, "start", "end")


class ExclusionBody(Body):
    """From a time of day to another, or from an instant to another; the end is outside."""

    from_: str | int = Field(alias="from", description=f"A time of day such as 22:00; or {_MOMENT}.")
    to: str | int = Field(description="The same; 24:00 for the end of a day.")
    weekdays: str | None = Field(
        None, max_length=100, description="For times of day: MON-FRI, or SAT,SUN; every day if left out."
    )
    comment: Text | None = Field(None, max_length=MAX_COMMENT)

    @model_validator(mode="before")
    @classmethod
    def _twice(cls, values: Any) -> Any:
        return take_along(values, "from", "to")


class CalendarUseBody(Body):
    """Which days of the schedule's zone have slots."""

    name: str = Field(min_length=1, max_length=64, description="That of a calendar.")
    mode: CalendarMode = Field(
        CalendarMode.INCLUDE, strict=False, description="Only the days it lists, or only all others."
    )


MOST_CALENDARS = 10
_ONE, _MANY = "calendar:one", "calendar:many"
CalendarUses = Annotated[
    Annotated[CalendarUseBody, Tag(_ONE)]
    | Annotated[list[CalendarUseBody], Field(min_length=1, max_length=MOST_CALENDARS), Tag(_MANY)],
    Discriminator(lambda value: _MANY if isinstance(value, list) else _ONE),
]


class TimingFields(Body):
    """Part of a job, and of what is previewed."""

    window: WindowBody | None = None
    exclusions: Annotated[list[ExclusionBody], Field(max_length=MOST)] | None = None
    jitter_s: Duration = Field(
        0, description="Each slot's run is due later by a part of this that is always the same for the slot."
    )
    calendar: CalendarUses | None = Field(
        None,
        description="A name alone means its days, and no others. A list: days that all of them leave.",
    )
    data_offset_s: SignedSeconds | None = Field(
        None,
        description="A run's data time is its slot and so much more or less; params name it as ${data_time}.",
    )

    @field_validator("calendar", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [{"name": one} if isinstance(one, str) else one for one in value]
        return {"name": value} if isinstance(value, str) else value


class CalendarUseAnswer(Answer):
    name: str
    mode: CalendarMode


class WindowAnswer(Answer):
    start: Iso | None
    start_ms: int | None
    end: Iso | None
    end_ms: int | None
    max_fires: int | None


class ExclusionAnswer(Answer):
    from_: str = Field(alias="from", serialization_alias="from")
    from_ms: int | None = None
    to: str
    to_ms: int | None = None
    weekdays: str | None = None
    comment: str | None = None


class TimingAnswer(Answer):
    """Part of a job's answer."""

    window: WindowAnswer | None
    exclusions: list[ExclusionAnswer]
    jitter_s: float | int
    calendar: CalendarUseAnswer | list[CalendarUseAnswer] | None
    data_offset_s: int | None
    fired: int | None = Field(description="Slots planned so far, for a job with a maximum.")
    warnings: list[str] = Field(
        description="What may not be meant: a schedule that never fires, and the like."
    )
