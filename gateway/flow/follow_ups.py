"""Follow-ups: the rows that exist because a run has ended, made for the transaction that ends it.

In: an attempt that ends, its job. Out: the row of the next attempt, or those of the children that the end starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.core.children import Child, Join, ParentEnd, started_by
from gateway.core.context import Context
from gateway.core.data_time import data_ms_at
from gateway.core.model import Job, NewRun, TriggerKind
from gateway.core.policy import next_attempt
from gateway.core.shards import first_row, is_shard
from gateway.core.states import OPEN, RunState
from gateway.core.work import JoinEnd, Move


@dataclass(slots=True, eq=False)
class FollowUps:
    """What one end causes. `waiting` are (parent's end, row) of children that may have to wait for other parents."""

    rows: tuple[NewRun, ...] = ()
    waiting: list[tuple[ParentEnd, NewRun]] = field(default_factory=list)
    note: str = ""

    def joins(self, move: Move, context: Context, *, instead: bool = False) -> Iterable[JoinEnd]:
        held = context.held
        return (JoinEnd(move, end, row, row.part not in held, instead) for end, row in self.waiting)


NONE = FollowUps()


def again_of(context: Context, seed: NewRun) -> FollowUps:
    """Another attempt at once, beside those of the job's policy."""
    (run_id,) = context.run_ids.take(1)
    now_ms = context.clock.now_ms()
    row = next_attempt(seed, run_id, now_ms, now_ms)
    row.uncounted += 1
    return FollowUps((row,))


def retry_of(context: Context, seed: NewRun, job: Job, finished_ms: int) -> FollowUps:
    (run_id,) = context.ids_of(seed.app_id).take(1)
    now_ms = context.clock.now_ms()
    wait_ms = job.retry.wait_ms(seed.attempt - 1 - seed.uncounted, context.chance.random())
    return FollowUps((next_attempt(seed, run_id, now_ms, max(now_ms, finished_ms + wait_ms)),))


def children_of(context: Context, seed: NewRun, job: Job, state: RunState) -> FollowUps:
    """The children that this end starts; of a shard none, for they follow its parent's end.

    Jobs that are not in memory were deleted: they are noted. `seed.state` tells what the end corrects.
    """
    if not seed.starts_children or is_shard(seed):
        return NONE
    before = None if seed.state in OPEN else seed.state
    found = FollowUps()
    rows: list[NewRun] = []
    deleted: list[Child] = []
    for child in started_by(job.children, state, before):
        its_job = context.specs.job(child.job_id)
        if its_job is None:
            deleted.append(child)
            continue
        row = _child_row(context, seed, its_job)
        if its_job.join is Join.ALL:
            found.waiting.append((ParentEnd(child.job_id, job.id, seed.root_id), row))
        else:
            rows.append(row)
    found.rows = tuple(rows)
    if deleted:
        ids = ", ".join(str(child.job_id) for child in deleted)
        found.note = f"not started, because it does not exist any more: child job {ids}"
    return found


def _child_row(context: Context, seed: NewRun, job: Job) -> NewRun:
    """Its key speaks of the first attempt of the parent: it starts once whichever attempt succeeds."""
    (run_id,) = context.ids_of(job.app_id).take(1)
    now_ms = context.clock.now_ms()
    row = first_row(
        job,
        run_id,
        TriggerKind.CHILD,
        slot_key=-seed.root_id,
        due_ms=now_ms,
        now_ms=now_ms,
        state=RunState.QUEUED,
    )
    row.data_ms, row.parent_id = data_ms_at(job, now_ms), seed.id
    return row
