"""Pure decisions about a run: what a result means, whether to try again, what to do with a late slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.core.chain import is_chained
from gateway.core.model import ExecutorResult, Job, Misfire, NewRun, Run, TriggerKind
from gateway.core.retry import FAILURES
from gateway.core.states import OPEN, RunState, rank

TIMED_OUT_CODE = 502
SUCCESS_CODE = 200
MAX_MESSAGE = 60_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ends. `outcome` is what happened even where the state says `retrying`."""

    state: RunState
    outcome: RunState
    retry: bool

    @property
    def is_final_failure(self) -> bool:
        """Whether the last attempt has failed: what people are to be told of, and children on failure start by."""
        return self.state in FAILURES


def came_first(result: ExecutorResult) -> bool:
    """Whether a run that a kill was to take along had come to its end before that.

    Executors that repeat the log time they were given report a killed run as failed; others may call it a success.
    """
    return result.code == SUCCESS_CODE and result.strict_time


def outcome_of(code: int, *, stop: RunState | None) -> RunState:
    """What a result code means. Some clients report success for a killed run, so the outcome of a `stop` wins."""
    if stop is not None:
        return stop
    if code == SUCCESS_CODE:
        return RunState.SUCCEEDED
    return RunState.TIMED_OUT if code == TIMED_OUT_CODE else RunState.FAILED


def ending(outcome: RunState, attempt: int, job: Job | None, *, again: bool = False) -> Ending:
    """Whether another attempt follows; a run that was stopped, or whose job is gone, gets none.

    `attempt` counts those of the job's policy, `again` wants one beside them.
    """
    if job is not None and (again or (attempt < job.max_attempts and outcome in job.retry.on)):
        return Ending(RunState.RETRYING, outcome, retry=True)
    return Ending(outcome, outcome, retry=False)


def next_attempt(seed: NewRun, run_id: int, now_ms: int, due_ms: int) -> NewRun:
    """The row of the next attempt: same slot, same shard. It waits as any other row, whatever becomes of its node."""
    return NewRun(
        id=run_id,
        namespace_id=seed.namespace_id,
        job_id=seed.job_id,
        app_id=seed.app_id,
        part=seed.part,
        slot_key=seed.slot_key,
        due_ms=due_ms,
        created_ms=now_ms,
        trigger_kind=TriggerKind.RETRY,
        state=RunState.QUEUED,
        root_id=seed.root_id,
        shard=seed.shard,
        shard_total=seed.shard_total,
        attempt=seed.attempt + 1,
        priority=seed.priority,
        params=seed.params,
        addresses=seed.addresses,
        data_ms=seed.data_ms,
        parent_id=seed.parent_id,
        shard_name=seed.shard_name,
        author=seed.author,
        starts_children=seed.starts_children,
        uncounted=seed.uncounted,
    )


def seed_of(run: Run) -> NewRun:
    """A stored row as the value that the stages work with."""
    return NewRun(
        id=run.id,
        namespace_id=run.namespace_id,
        job_id=run.job_id,
        app_id=run.app_id,
        part=run.part,
        slot_key=run.slot_key,
        due_ms=run.due_ms,
        created_ms=run.created_ms,
        trigger_kind=run.trigger_kind,
        state=run.state,
        root_id=run.root_id,
        shard=run.shard,
        shard_total=run.shard_total,
        attempt=run.attempt,
        priority=run.priority,
        params=run.params,
        addresses=run.addresses,
        trigger_ms=run.trigger_ms,
        data_ms=run.data_ms,
        expires_ms=run.expires_ms,
        parent_id=run.parent_id,
        queue_rank=run.queue_rank,
        bypass=bool(run.bypass),
        waiting_ms=run.waiting_ms,
        shard_name=run.shard_name,
        author=run.author,
        starts_children=bool(run.starts_children),
        uncounted=run.uncounted,
    )


def is_misfire(due_ms: int, now_ms: int, job: Job) -> bool:
    """Whether a slot is found too late; never so for one of a chain, which is due at any time after its instant."""
    return now_ms - due_ms > job.misfire_after_s * 1000 and not is_chained(job)


def late_before(now_ms: int, job: Job) -> int:
    """Slots before that are late, whatever part of the jitter is theirs. Those of a chain never are."""
    return 0 if is_chained(job) else now_ms - job.misfire_after_s * 1000 - job.timing.jitter_ms


def misfire_reason(due_ms: int, now_ms: int, job: Job) -> str:
    return (
        f"misfire: found {(now_ms - due_ms) / 1000:.1f} s late, more than the {job.misfire_after_s} s of "
        f"misfire_after_s; policy {job.misfire.value}"
        + (job.misfire_limits.words if job.misfire is Misfire.FIRE_ALL else "")
    )


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What becomes of a job's slots: those to skip as one row, and those to run."""

    skipped: Sequence[int]
    runs: Sequence[int]


def plan_slots(slots: Sequence[int], now_ms: int, job: Job, *, further: int) -> SlotPlan:
    """Divide due slots by the misfire policy. `further`: how many later slots that are missed as well will follow."""
    limit = late_before(now_ms, job)
    if not slots or slots[0] >= limit:
        return SlotPlan((), slots)
    missed = [slot for slot in slots if slot < limit]
    on_time = slots[len(missed) :]
    spared = 0
    if job.misfire is Misfire.FIRE_ONCE:
        spared = 0 if further else 1
    elif job.misfire is Misfire.FIRE_ALL:
        spared = job.misfire_limits.spared(missed, now_ms, further=further)
    first = len(missed) - spared
    return SlotPlan(missed[:first], [*missed[first:], *on_time])


def matches_run(result: ExecutorResult, trigger_ms: int) -> bool:
    """Whether a result is for this run and not for one of the same id of another admin.

    Java executors return the `logDateTime` they were given; others send a time of their own.
    """
    return not result.strict_time or result.log_time_ms is None or result.log_time_ms == trigger_ms


def matches_old_run(result: ExecutorResult, trigger_ms: int) -> bool:
    """As `matches_run` for a run of an old admin, whose database kept whole seconds, up or down."""
    return (
        not result.strict_time or result.log_time_ms is None or abs(result.log_time_ms - trigger_ms) <= 1000
    )


def parent_ending(shards: Iterable[Run]) -> RunState | None:
    """How a broadcast ends: None while a shard is open, succeeded when the last attempt of every shard did."""
    last: dict[int, Run] = {}
    for run in shards:
        if run.shard < 0:
            continue
        if run.state in OPEN:
            return None
        rival = last.get(run.shard)
        if rival is None or rank(rival.attempt, rival.state) < rank(run.attempt, run.state):
            last[run.shard] = run
    states = {run.state for run in last.values()}
    if states <= {RunState.SUCCEEDED}:
        return RunState.SUCCEEDED
    return RunState.STOPPED if states <= {RunState.SUCCEEDED, RunState.STOPPED} else RunState.FAILED


def clip(message: str | None) -> str | None:
    """A message short enough to keep; executors cut theirs at 50,000 characters."""
    if message is None or len(message) <= MAX_MESSAGE:
        return message
    return message[:MAX_MESSAGE] + "…"
