"""Jobs and schedules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from gateway.api.models.base import (
    MAX_ID,
    Answer,
    Body,
    Duration,
    Iso,
    JsonObject,
    Paging,
    Priority,
    Query,
    Seconds,
    Text,
    refusal,
    take_along,
)
from gateway.api.models.executors import PlacementFields
from gateway.api.models.timing import TimingAnswer, TimingFields
from gateway.api.models.trigger_urls import EnvBodies
from gateway.core.children import MOST as MOST_CHILDREN
from gateway.core.children import Join, On
from gateway.core.deadlines import LOST_AFTER_S, MAX_DEADLINE_S, OnDeadline
from gateway.core.misfire import DAY_OF_100, MAX_MOST, MAX_WINDOW_S
from gateway.core.model import BlockStrategy, Guarantee, Route
from gateway.core.named_shards import MOST as MOST_SHARDS
from gateway.core.overlap import MAX_CONCURRENCY, MAX_QUEUE, QUEUE_LIMIT, Overlap
from gateway.core.placement import Fallback
from gateway.core.retry import MAX_ATTEMPTS

MAX_BATCH = 10_000
MAX_PARAMS = 65_000
XXL_MISFIRE_AFTER_S = 5
MISFIRE_AFTER_S = 60
RETRY_INTERVAL_S = 30
MIN_LOST_AFTER_S = 30


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


class TaskBody(Body):
    """What an executor is told to run."""

    kind: Literal["xxl"] = "xxl"
    handler: str = Field("", max_length=255, description="Required for BEAN.")
    params: Text = Field("", max_length=MAX_PARAMS)
    glue_type: str = Field("BEAN", pattern=r"^[A-Z][A-Z0-9_]{0,31}$")
    glue_source: str = Field("", max_length=1_000_000, description="Required for every type but BEAN.")
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


class RetryBody(Body):
    """Without intervals the next attempt is made at once."""

    max_attempts: int | None = Field(
        None,
        ge=1,
        le=MAX_ATTEMPTS,
        description="All attempts, the first one included. 1 if left out, or one more than there are intervals.",
    )
    intervals_s: list[Duration] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Each wait; the last value is that of all that follow.",
    )
    initial_interval_s: Duration | None = Field(
        None,
        description="Wait i (from 0) is min(initial_interval_s * backoff_coefficient^i, maximum_interval_s). "
        f"{RETRY_INTERVAL_S} if left out where any of the others is given.",
    )
    backoff_coefficient: float | None = Field(
        None, ge=1, le=1000, allow_inf_nan=False, description="1 if left out."
    )
    maximum_interval_s: Duration | None = None
    jitter: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="The share of each wait that chance may take away."
    )
    on: list[Literal["failed", "timed_out", "lost"]] | None = Field(
        None, min_length=1, description="The outcomes that are tried again; all three if left out."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> RetryBody:
        if self.intervals_s is not None:
            for name in ("initial_interval_s", "backoff_coefficient", "maximum_interval_s"):
                if getattr(self, name) is not None:
                    raise refusal("null: intervals_s gives all waits", at=name, value=getattr(self, name))
        return self


class ShardBody(Body):
    """One part of a job's work, a run of its own."""

    name: Text = Field(min_length=1, max_length=128, description="What people read.")
    params: Text | None = Field(None, max_length=MAX_PARAMS, description="Instead of the run's or the job's.")


def _named_once(shards: list[ShardBody]) -> list[ShardBody]:
    seen: set[str] = set()
    for shard in shards:
        if shard.name in seen:
            raise refusal(f"a name of its own for each shard: {shard.name!r} is there twice")
        seen.add(shard.name)
    return shards


class ChildBody(Body):
    """A job that the end of this one starts, with its own params and policies."""

    job: int = Field(ge=1, le=MAX_ID, description="The id of a job that exists.")
    on: On = Field(On.SUCCESS, strict=False, description="`end`: success, failure or a stop.")


def _each_once(children: list[ChildBody]) -> list[ChildBody]:
    seen: set[int] = set()
    for child in children:
        if child.job in seen:
            raise refusal(f"each job once: {child.job} is there twice; `end` is for success and failure")
        seen.add(child.job)
    return children


class JobBody(TimingFields, PlacementFields):
    """What to run, when, and under which policies."""

    app: str = Field(min_length=1, max_length=64, description="The appname. Cannot be changed.")
    name: Text = Field(min_length=1, max_length=128)
    description: str = Field("", max_length=2000)
    schedule: Schedules
    task: TaskBody
    route: Route = Route.ROUND
    block_strategy: BlockStrategy = BlockStrategy.SERIAL_EXECUTION
    overlap: Overlap | None = Field(
        None,
        description="What becomes of a run that is due while `max_concurrency` runs of the job are under way, over all "
        "executors. `skip` if only `max_concurrency` is given, `allow` if neither is.",
    )
    max_concurrency: int | None = Field(
        None, ge=1, le=MAX_CONCURRENCY, description="1 if only `overlap` is given; not with `allow`."
    )
    queue_limit: int | None = Field(
        None,
        ge=1,
        le=MAX_QUEUE,
        description=f"With `queue`: how many more may wait ({QUEUE_LIMIT} if left out); the next is skipped.",
    )
    ttl_s: Seconds = Field(
        0, description="A run that has waited this long since it was due expires; 0 for never."
    )
    priority: Priority = Field(
        5, description="1 low, 5 medium, 10 high, 15 very high, or any number between."
    )
    timeout_s: Seconds = Field(0, description="Sent to the executor, which stops the run; 0 for none.")
    deadline_s: Seconds | None = Field(
        None,
        le=MAX_DEADLINE_S,
        description="How long an attempt may run, counted from its send; null for any time.",
    )
    on_deadline: OnDeadline = Field(
        OnDeadline.ALERT, description="`alert` tells of it; `kill` stops the run, which ends as timed_out."
    )
    lost_after_s: Seconds = Field(
        LOST_AFTER_S,
        ge=MIN_LOST_AFTER_S,
        le=MAX_DEADLINE_S,
        description="How long the executor must say that it runs nothing of the job, or be gone, until a run is lost.",
    )
    retry: RetryBody = RetryBody()
    shards: Annotated[list[ShardBody], AfterValidator(_named_once)] = Field(
        [],
        max_length=MOST_SHARDS,
        description="Each run becomes a parent with these shards, which the route spreads over the executors.",
    )
    children: Annotated[list[ChildBody], AfterValidator(_each_once)] = Field(
        [], max_length=MOST_CHILDREN, description="Jobs that its end starts."
    )
    join: Join = Field(
        Join.ANY,
        description="For a job that is a child of several: start with the end of any, or when all have ended.",
    )
    guarantee: Guarantee = Field(
        Guarantee.AT_MOST_ONCE,
        description="What to do when nobody can tell whether the executor received a run.",
    )
    misfire_after_s: Seconds | None = Field(
        None,
        description=f"A slot found later than this follows its misfire policy; {MISFIRE_AFTER_S} if left out, "
        f"{XXL_MISFIRE_AFTER_S} with `xxl_style`.",
    )
    misfire_window_s: Seconds = Field(
        DAY_OF_100.window_s,
        ge=1,
        le=MAX_WINDOW_S,
        description="For `fire_all`: how old a missed slot may be.",
    )
    misfire_max: int = Field(
        DAY_OF_100.most,
        ge=1,
        le=MAX_MOST,
        description="For `fire_all`: how many missed slots run, the newest.",
    )
    retention_days: int | None = Field(
        None,
        ge=1,
        le=3650,
        description="How many days its finished runs are kept; the server's setting if left out.",
    )
    template: Literal["sae_job"] | None = Field(
        None,
        description="Choose the defaults of an SAE job for what is left out: timeout 3600 s, 4 attempts. Not kept.",
    )
    xxl_style: bool = Field(
        default=False, description="Choose XXL-JOB's defaults for what is left out. Not kept."
    )
    enabled: bool = True

    @model_validator(mode="after")
    def _overlap_fits(self) -> JobBody:
        if self.overlap is Overlap.ALLOW and self.max_concurrency is not None:
            raise refusal(
                "null with overlap 'allow': or choose overlap 'skip', 'queue' or 'replace'",
                at="max_concurrency",
                value=self.max_concurrency,
            )
        if self.overlap is not Overlap.QUEUE and self.queue_limit is not None:
            raise refusal("null unless overlap is 'queue'", at="queue_limit", value=self.queue_limit)
        return self


class BatchBody(Body):
    """Jobs to be created all or not at all."""

    jobs: list[JobBody] = Field(min_length=1, max_length=MAX_BATCH)


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


class RetryAnswer(Answer):
    max_attempts: int
    intervals_s: list[float] | None
    initial_interval_s: float | None
    backoff_coefficient: float | None
    maximum_interval_s: float | None
    jitter: float
    on: list[str]


class ShardAnswer(Answer):
    name: str
    params: str | None


class ChildAnswer(Answer):
    job: int
    on: On


class JobHead(Answer):
    """What names a job: first in answers, as people read it first."""

    id: int
    app: str | None
    name: str
    description: str
    enabled: bool
    state: Literal["enabled", "disabled", "done"] = Field(
        description="done: enabled, and its schedule has no slot left that has no run."
    )
    version: int


class JobAnswer(TimingAnswer, JobHead):
    schedule: ScheduleAnswer | list[ScheduleAnswer]
    task: TaskAnswer
    route: Route
    label: str | None
    label_fallback: Fallback
    block_strategy: BlockStrategy
    overlap: Overlap
    max_concurrency: int | None = Field(description="Null with `allow`.")
    queue_limit: int | None = Field(description="Null unless `queue`.")
    ttl_s: int
    priority: int
    timeout_s: int
    retry: RetryAnswer
    shards: list[ShardAnswer]
    children: list[ChildAnswer]
    join: Join
    deadline_s: int | None
    on_deadline: OnDeadline
    lost_after_s: int
    guarantee: Guarantee
    misfire_after_s: int
    misfire_window_s: int
    misfire_max: int
    retention_days: int | None
    next_fire: Iso | None = Field(
        description="The next slot that has no run yet: some seconds are planned ahead."
    )
    next_fire_ms: int | None
    created: Iso
    created_ms: int
    updated: Iso
    updated_ms: int


class JobList(Answer):
    items: list[JobAnswer]
    next_cursor: str | None


class JobIds(Answer):
    ids: list[int]


class DeleteQuery(Query):
    running: Literal["finish", "stop"] = Field(
        "finish",
        description="What becomes of its runs that are running: they end by themselves, or are stopped.",
    )
    keep_history: bool = Field(
        default=False, description="Keep its runs and versions for as long as those of other jobs."
    )


class DeleteAnswer(Answer):
    """What became of the runs that were running, with `running=stop`."""

    stopping: list[int] = Field(description="Their executors were told; they end as `stopped`.")
    still_running: list[int] = Field(
        description="Their executors could not be reached; they end by themselves."
    )


class JobQuery(Paging):
    app: str | None = Field(None, description="The appname.")
    name: str | None = Field(None, description="A part of the name, in any case.")
    enabled: bool | None = None
