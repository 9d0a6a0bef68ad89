"""What callers ask for when they submit a run, and the run that is made of it."""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.clock import iso_utc
from gateway.core.data_time import data_ms_at
from gateway.core.envs import Envs, merged, with_envs
from gateway.core.errors import InvalidValue
from gateway.core.model import BROADCAST_PARENT, Job, NewRun, TriggerKind
from gateway.core.shards import REPLICAS, first_row
from gateway.core.states import RunState

DAY_MS = 24 * 3_600_000
NAME_KEPT_MS = 7 * DAY_MS
MOST_AHEAD_MS = 366 * DAY_MS
LOW, MEDIUM, HIGH, VERY_HIGH = 1, 5, 10, 15
DEFAULT_NAME = "run-"


class Submission(NamedTuple):
    """One run that somebody wants. None means the job's own params and priority, the app's executors, now.

    A tuple, because thousands are made for one call. `ttl_ms` counts from the instant at which it is due; 0 is no
    limit. `envs` go over the job's own. With `replicas` it is a parent of so many shards.
    """

    params: str | None = None
    addresses: tuple[str, ...] | None = None
    task_id: str | None = None
    run_at_ms: int | None = None
    delay_ms: int = 0
    ttl_ms: int = 0
    priority: int | None = None
    author: str = ""
    envs: Envs = ()
    replicas: int = 0


NOW = Submission()


class Submitted(NamedTuple):
    """What became of a submission: `first_id` is another run's where its task id was used before."""

    run_id: int
    first_id: int

    @property
    def is_new(self) -> bool:
        return self.run_id == self.first_id


def wrong_time(wanted: Submission, now_ms: int, field: str = "run_at") -> InvalidValue | None:
    """Why a submission cannot be taken at this instant, or None."""
    at = wanted.run_at_ms
    if at is None:
        return None
    if at < now_ms:
        return InvalidValue(
            field, iso_utc(at), f"an instant that is not in the past: it is {iso_utc(now_ms)}"
        )
    if at > now_ms + MOST_AHEAD_MS:
        return InvalidValue(field, iso_utc(at), f"an instant at most {MOST_AHEAD_MS // DAY_MS} days ahead")
    return None


def run_of(wanted: Submission, job: Job, run_id: int, now_ms: int, kind: TriggerKind) -> NewRun:
    """The waiting row of a submission that was taken at this instant."""
    due_ms = now_ms + wanted.delay_ms if wanted.run_at_ms is None else wanted.run_at_ms
    run = first_row(job, run_id, kind, slot_key=-run_id, due_ms=due_ms, now_ms=now_ms, state=RunState.QUEUED)
    if wanted.replicas:
        run.shard, run.shard_total, run.shard_name = BROADCAST_PARENT, wanted.replicas, REPLICAS
    if wanted.priority is not None:
        run.priority = wanted.priority
    run.params = _params_of(wanted, job)
    run.addresses = wanted.addresses
    run.data_ms = data_ms_at(job, due_ms)
    run.expires_ms = due_ms + wanted.ttl_ms if wanted.ttl_ms else 0
    run.author = wanted.author
    return run


def _params_of(wanted: Submission, job: Job) -> str | None:
    """The whole parameter; None for what the job itself is sent with."""
    own = job.task.envs
    if not wanted.envs and (wanted.params is None or not own):
        return wanted.params
    params = job.task.params if wanted.params is None else wanted.params
    return with_envs(params, merged(own, wanted.envs))


def default_task_id(root_id: int) -> str:
    """The name of a chain of attempts that nobody has named; callers cannot give one of this form."""
    return f"{DEFAULT_NAME}{root_id}"


def root_of_default(task_id: str) -> int | None:
    """The first run behind a default name, None for any other."""
    number = task_id.removeprefix(DEFAULT_NAME)
    is_default = number != task_id and number.isascii() and number.isdigit() and len(number) < 19
    return int(number) if is_default else None
