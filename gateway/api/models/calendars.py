"""Calendars."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import Answer, Body, Iso, Paging, Text, refusal
from gateway.core.calendar_ics import LAST_YEAR

NAME = r"^\w[\w.-]*$"
_MAX_NAME = 64


def _short(value: str) -> str:
    if len(value.encode()) > 190:
        raise refusal("a shorter name")
    return value


CalendarName = Annotated[str, Field(min_length=1, max_length=_MAX_NAME, pattern=NAME), AfterValidator(_short)]


class DaysBody(Body):
    """Days in one of two ways: `days` themselves, or the text of a `file` with its `format`."""

    description: Text = Field("", max_length=255)
    days: list[Any] | dict[str, Any] | None = Field(
        None,
        description='A list of dates; or by year `{"2026": ["01-31", …]}`, or `{"2026": {"1": [31, …]}}`.',
    )
    file: Text | None = Field(None, description="The text of a file.")
    format: Literal["csv", "ics", "json"] | None = Field(None, description="That of `file`.")
    last_year: int | None = Field(
        None,
        ge=1970,
        le=LAST_YEAR,
        description="Up to the end of this year repeating events of an iCalendar file are read; ten years ahead if left out.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> DaysBody:
        if self.days is not None and self.file is not None:
            raise refusal("nothing: days are given as `days` already", at="file", value=self.file[:40])
        if (self.file is None) != (self.format is None):
            at = "file" if self.file is None else "format"
            raise refusal("both `file` and its `format`: csv, ics or json", at=at)
        if self.last_year is not None and self.format != "ics":
            raise refusal(
                "nothing: only iCalendar files have repeating events", at="last_year", value=self.last_year
            )
        return self


class CalendarBody(DaysBody):
    """A name for days."""

    name: CalendarName = Field(description="Letters, digits, '_', '.' and '-'. Cannot be changed.")


class CalendarAnswer(Answer):
    name: str
    description: str
    version: int
    count: int = Field(description="How many days it lists.")
    years: list[int]
    days: dict[str, list[str]] | None = Field(description="By year; left out (null) in lists.")
    created: Iso
    created_ms: int
    updated: Iso
    updated_ms: int


class CalendarList(Answer):
    """By name."""

    items: list[CalendarAnswer]
    next_cursor: str | None


class CalendarQuery(Paging):
    pass
