"""Schedules: when a job is due."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gateway.api.models.base import Answer, Body, Iso, JsonObject, refusal, take_along


class ScheduleBody(Body):
    """When a job is due."""

    kind: Literal["cron", "fixed_rate", "second_delay", "interval", "calendar", "one_time", "api", "none"]
    expression: str | int | float | JsonObject | None = Field(
        None,
        description="cron: 5 fields are Unix, 6 or 7 Quartz. fixed_rate, interval: seconds, or text such as `90s`. "
        "second_delay: as fixed_rate, counted from the end of the run before. "
        "calendar: an object with year, month, dayOfMonth, dayOfWeek, hour, minute, second, comment. "
        "one_time: `yyyy-MM-dd HH:mm:ss`, ISO 8601 or milliseconds.",
    )
    timezone: str | None = Field(
        None, description="IANA name, or an offset such as `GMT+8`; the server's default if left out."
    )
    anchor: str | int | None = Field(
        None, description="fixed_rate: an instant of its phase; that of the job's creation if left out."
    )
    offset: str | int | float | None = Field(
        None, description="interval: how long after each multiple since 1970; less than the interval."
    )
    misfire: Literal["skip", "fire_once", "fire_all"] = Field(
        "skip", description="What becomes of a slot found more than `misfire_after_s` late."
    )
    rule: Literal["schedulerx"] | None = Field(
        None, description="For second_delay: refuse what SchedulerX refuses, all but 1 to 60 whole seconds."
    )
    dialect: Literal["unix", "quartz"] | None = Field(
        None, description="Told in answers. If given, it must be the one that the number of fields says."
    )

    @model_validator(mode="before")
    @classmethod
    def _twice(cls, values: Any) -> Any:
        return take_along(values, "anchor")

    @model_validator(mode="after")
    def _dialect_fits(self) -> ScheduleBody:
        if self.dialect is not None and self.dialect != dialect_of(self.kind, self.expression):
            raise refusal("5 fields are unix, 6 or 7 are quartz", at="dialect", value=self.dialect)
        return self


def dialect_of(kind: str, expression: object) -> Literal["unix", "quartz"] | None:
    """The dialect of a cron expression by its number of fields; None for other kinds."""
    if kind != "cron" or not isinstance(expression, str):
        return None
    return "unix" if len(expression.split()) == 5 else "quartz"


ONE, MANY = "schedule:one", "schedule:many"


Schedules = Annotated[
    Annotated[ScheduleBody, Tag(ONE)]
    | Annotated[list[ScheduleBody], Field(min_length=1, max_length=20), Tag(MANY)],
    Discriminator(lambda value: MANY if isinstance(value, list) else ONE),
]
"""One schedule, or a list: the job is due when any of them is."""


class ScheduleAnswer(Answer):
    kind: str
    expression: str | int | float | JsonObject | None
    timezone: str | None
    anchor: Iso | None = None
    anchor_ms: int | None = None
    offset: str | int | float | None = None
    misfire: str
    rule: str | None = None
    dialect: Literal["unix", "quartz"] | None
