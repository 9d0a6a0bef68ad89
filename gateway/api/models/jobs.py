"""Jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.api.models.base import Answer, Body, Iso, Later, Paging, Priority, Query, Seconds, Text, refusal
from gateway.api.models.executors import PlacementFields
from gateway.api.models.outcomes import ChildAnswer, ChildBody, RetryAnswer, RetryBody, each_once
from gateway.api.models.schedules import ScheduleAnswer, Schedules
from gateway.api.models.tasks import ShardAnswer, ShardBody, TaskAnswer, TaskBody, named_once
from gateway.api.models.timing import TimingAnswer, TimingFields
from gateway.core.children import MOST as MOST_CHILDREN
from gateway.core.children import Join
from gateway.core.deadlines import LOST_AFTER_S, MAX_DEADLINE_S, OnDeadline
from gateway.core.job_state import JobState
from gateway.core.misfire import DAY_OF_100, MAX_MOST, MAX_WINDOW_S
from gateway.core.model import MOST_NAME, BlockStrategy, Guarantee, Route
from gateway.core.named_shards import MOST as MOST_SHARDS
from gateway.core.overlap import MAX_CONCURRENCY, MAX_QUEUE, QUEUE_LIMIT, Overlap
from gateway.core.placement import Fallback

MAX_BATCH = 10_000
XXL_MISFIRE_AFTER_S = 5
MISFIRE_AFTER_S = 60
MIN_LOST_AFTER_S = 30
# So that ids are left for those who come later.
MOST_WISHED_ID = 1 << 30
WishedId = Annotated[int, Field(ge=1, le=MOST_WISHED_ID)] | None


class ContactBody(Body):
    """Who answers for a job, in the words of xxl-job-admin, whose endpoints show and set the same."""

    author: Text = Field("", max_length=64)
    alarm_email: Text = Field("", max_length=255, description="Addresses separated by commas.")
    remark: Text = Field("", max_length=128, description="What was said of the last change of `glue_source`.")


class JobBody(TimingFields, PlacementFields):
    """What to run, when, and under which policies."""

    app: str = Field(min_length=1, max_length=64, description="The appname. Cannot be changed.")
    name: Text = Field(min_length=1, max_length=MOST_NAME)
    description: Text = Field("", max_length=2000)
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
    alert: Later = None
    on_deadline: OnDeadline = Field(
        OnDeadline.ALERT, description="`alert` tells of it; `kill` stops the run, which ends as timed_out."
    )
    lost_after_s: Seconds = Field(
        LOST_AFTER_S,
        ge=MIN_LOST_AFTER_S,
        le=MAX_DEADLINE_S,
        description="How long the executor must say that it runs nothing of the job, or be gone, until a run is lost.",
    )
    hold_limit_on_lost: bool = Field(
        False,
        description="A run that is given up without a word of its executor keeps its place in `max_concurrency` and "
        "`max_running` until that executor says that it runs nothing of the job, or is gone.",
    )
    retry: RetryBody = RetryBody()
    shards: Annotated[list[ShardBody], AfterValidator(named_once)] = Field(
        [],
        max_length=MOST_SHARDS,
        description="Each run becomes a parent with these shards, which the route spreads over the executors.",
    )
    children: Annotated[list[ChildBody], AfterValidator(each_once)] = Field(
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
    contact: ContactBody = ContactBody()
    template: Literal["sae_job", "schedulerx"] | None = Field(
        None,
        description="Choose other defaults for what is left out. `sae_job`: timeout 3600 s, 4 attempts. `schedulerx`: one "
        "run at a time, a deadline of 7200 s that tells, 30 s between attempts. Not kept.",
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
    ids: list[WishedId] | None = Field(
        None,
        max_length=MAX_BATCH,
        description="As many as jobs: the ids that they get where no other job has or had them, as when they come from "
        "another gateway; null for any. The answer tells which ids they got.",
    )
    known: list[int] | None = Field(
        None,
        max_length=MAX_BATCH,
        description="Ids of the jobs that the caller knows of: if another one has the app and name of one of `jobs`, 409 and "
        "nothing is created, so that who sends the same jobs twice makes them once. Null: names are not looked at.",
    )


class JobHead(Answer):
    """What names a job: first in answers, as people read it first."""

    id: int
    app: str | None
    name: str
    description: str
    enabled: bool
    state: JobState = Field(
        description="done: enabled, and its schedule has no slot left that has no run. paused: enabled, and `pause` "
        "says what keeps it from starting."
    )
    version: int


class JobPause(Answer):
    """The widest of the pauses that cover a job."""

    level: Literal["everything", "app", "job"]
    reason: str
    author: str
    created: Iso
    created_ms: int
    until: Iso | None
    until_ms: int | None


class ContactAnswer(Answer):
    author: str
    alarm_email: str
    remark: str


class JobAnswer(TimingAnswer, JobHead):
    pause: JobPause | None = Field(description="What pauses it, also while it is disabled.")
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
    hold_limit_on_lost: bool
    guarantee: Guarantee
    misfire_after_s: int
    misfire_window_s: int
    misfire_max: int
    retention_days: int | None
    contact: ContactAnswer
    glue_updated: Iso | None = Field(
        description="When `glue_source` was last changed: executors load it again when this has changed."
    )
    glue_updated_ms: int | None
    counts_from: Iso | None = Field(
        description="For a fixed_rate without an `anchor`: the instant that its slots are counted from."
    )
    counts_from_ms: int | None
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
    state: JobState | None = Field(
        None, description="As in the answer. A page may be short and still have a cursor."
    )
