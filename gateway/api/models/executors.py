"""Executors, what people set for them, and which of them a job may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import Address, Answer, Body, Iso, Text, refusal
from gateway.core.placement import LABEL, MAX_LABELS, MAX_WEIGHT, WEIGHT, Fallback, address_key

MAX_ADDRESS = 255
Label = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=LABEL,
        description="Letters, digits, `.`, `_`, `:`, `=`, `/`, `-`.",
    ),
]


def _fits(value: str) -> str:
    if len(address_key(value)) > MAX_ADDRESS:
        raise refusal(f"at most {MAX_ADDRESS} characters with a slash at its end")
    return value


class ExecutorBody(Body):
    """What people set for an executor. What is left out stays; null takes it back to its default."""

    address: Annotated[Address, AfterValidator(_fits)] = Field(
        description="Whether or not somebody is there now; with or without a slash at its end."
    )
    labels: list[Label] | None = Field(
        None, max_length=MAX_LABELS, description="All of them; jobs ask for one by `label`. Default none."
    )
    weight: int | None = Field(
        None,
        ge=0,
        le=MAX_WEIGHT,
        description=f"Its share of the runs of jobs with the route WEIGHTED; 0 for none of them. Default {WEIGHT}.",
    )
    draining: bool | None = Field(
        None, description="No new runs; those that run finish. Holds with the answer. Default false."
    )
    note: Text | None = Field(None, max_length=255, description="Why, for people. Default empty.")

    @model_validator(mode="after")
    def _something(self) -> ExecutorBody:
        if self.model_fields_set == {"address"}:
            raise refusal("labels, weight, draining or note beside it", at="address", value=self.address)
        return self


class ExecutorAnswer(Answer):
    """`offline`: it was removed, fell silent or never came, and is listed for what is set for it."""

    address: str
    state: Literal["online", "offline"]
    draining: bool
    draining_since: Iso | None
    draining_since_ms: int | None
    labels: list[str]
    weight: int
    note: str
    running: int = Field(description="Runs that were sent to it, or are about to be, and have not ended.")
    dialect: str | None = Field(description="The protocol generation it speaks.")
    releases: str | None = Field(description="The releases of XXL-JOB that speak it.")
    client: str | None
    last_beat: Iso | None
    last_beat_ms: int | None
    registered: Iso | None
    registered_ms: int | None


class ExecutorList(Answer):
    items: list[ExecutorAnswer]
    next_cursor: None = None


class PlacementFields(Body):
    """Which executors a job may use."""

    label: Label | None = Field(None, description="Only executors with this label, whatever the route.")
    label_fallback: Fallback = Field(
        Fallback.FAIL,
        strict=False,
        description="While no executor has the label: the run fails, or goes to any of the app.",
    )
