"""Tasks: what executors are told to run, as a whole and in shards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway.api.models.base import Answer, Body, Text, refusal
from gateway.api.models.trigger_urls import EnvBodies

MAX_PARAMS = 65_000


class TaskBody(Body):
    """What an executor is told to run."""

    kind: Literal["xxl"] = "xxl"
    handler: Text = Field("", max_length=255, description="Required for BEAN.")
    params: Text = Field("", max_length=MAX_PARAMS)
    glue_type: str = Field("BEAN", pattern=r"^[A-Z][A-Z0-9_]{0,31}$")
    glue_source: Text = Field("", max_length=1_000_000, description="Required for every type but BEAN.")
    envs: EnvBodies = Field(
        [], description='Values by name; with any, executors get the params as JSON, {"params", "Envs"}.'
    )

    @model_validator(mode="after")
    def _runnable(self) -> TaskBody:
        if self.glue_type == "BEAN" and not self.handler.strip():
            raise refusal("the name of a handler: glue_type BEAN needs one", at="handler", value=self.handler)
        if self.glue_type != "BEAN" and not self.glue_source:
            raise refusal(f"the source: glue_type {self.glue_type} needs it", at="glue_source", value="")
        return self


class ShardBody(Body):
    """One part of a job's work, a run of its own."""

    name: Text = Field(min_length=1, max_length=128, description="What people read.")
    params: Text | None = Field(None, max_length=MAX_PARAMS, description="Instead of the run's or the job's.")


def named_once(shards: list[ShardBody]) -> list[ShardBody]:
    seen: set[str] = set()
    for shard in shards:
        if shard.name in seen:
            raise refusal(f"a name of its own for each shard: {shard.name!r} is there twice")
        seen.add(shard.name)
    return shards


class EnvAnswer(Answer):
    name: str
    value: str


class TaskAnswer(Answer):
    kind: Literal["xxl"] = "xxl"
    handler: str
    params: str
    glue_type: str
    glue_source: str
    envs: list[EnvAnswer]


class ShardAnswer(Answer):
    name: str
    params: str | None
