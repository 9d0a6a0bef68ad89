"""A parent run and its shards: which there are, the move that makes them, and which runs are shards.

A parent is never sent itself. Its shards are rows of the same job and slot, inserted by the move that starts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.core.chain import is_chained
from gateway.core.envs import with_envs
from gateway.core.model import BROADCAST_PARENT, Job, NewRun, Route, TriggerKind
from gateway.core.states import OPEN, WAITING, RunState, rank
from gateway.core.work import Move, Value


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard to be made. None means the parent's params, the executors that its parent may use.

    `index` is its number, where it is not its place in the list.
    """

    name: str = ""
    params: str | None = None
    addresses: tuple[str, ...] | None = None
    index: int | None = None


REPLICAS = "replicas"
"""The `shard_name` of a parent whose submission said how many shards it has, be it one."""


def first_shard(job: Job) -> int:
    """The `shard` of a job's first row: that of a parent, or 0 for a run that is sent itself."""
    return BROADCAST_PARENT if job.route is Route.SHARDING_BROADCAST or job.shards else 0


def in_shape(run: NewRun, job: Job) -> NewRun:
    """A run that waits, as the job is now: a parent of shards, or one that is sent itself.

    Shards and next attempts keep what they are, and so do parents whose submission said how many shards, runs of the
    failed shards of another, and the open run of a chain, which its job knows by what it is.
    """
    wanted = first_shard(job)
    if run.shard == wanted or run.attempt > 1 or run.shard_total > 1 or run.shard_name:
        return run
    if is_shard(run) or is_chained(job):
        return run
    return replace(run, shard=wanted, reshaped=True)


def first_row(
    job: Job, run_id: int, kind: TriggerKind, *, slot_key: int, due_ms: int, now_ms: int, state: RunState
) -> NewRun:
    """The first row of a run of this job as it is now; what else is known of it is the caller's to set."""
    return NewRun(
        id=run_id,
        namespace_id=job.namespace_id,
        job_id=job.id,
        app_id=job.app_id,
        part=job.part,
        slot_key=slot_key,
        due_ms=due_ms,
        created_ms=now_ms,
        trigger_kind=kind,
        state=state,
        root_id=run_id,
        shard=first_shard(job),
        priority=job.priority,
    )


def shards_of(run: NewRun, job: Job, addresses: Sequence[str]) -> list[Shard]:
    """The shards of a parent that waits: as many as its `shard_total` asks for, else those that the job names, else one
    a live executor. Only the last have an executor; the others are routed as plain runs are.
    """
    if run.shard_total > 1:
        return [Shard(addresses=run.addresses)] * run.shard_total
    if job.shards:
        envs = job.task.envs
        return [
            Shard(one.name, one.params and with_envs(one.params, envs), run.addresses) for one in job.shards
        ]
    if job.route is Route.SHARDING_BROADCAST:
        return [Shard(addresses=(address,)) for address in addresses]
    return [Shard(addresses=run.addresses)]  # its job has no shards any more


def expand_move(
    run: NewRun, job: Job, shards: Sequence[Shard], ids: Sequence[int], now_ms: int, total: int = 0
) -> Move:
    """A parent starts: all its shards are rows of the transaction that starts it. `total`: where they are but some."""
    total = total or len(shards)
    values: dict[str, Value] = {
        "job_version": job.version,
        "claimed_ms": now_ms,
        "sent_ms": max(now_ms, run.due_ms),
        "shard_total": total,
    }
    if run.reshaped:
        values["shard"] = run.shard
    return Move(
        run.id,
        RunState.RUNNING,
        WAITING,
        values,
        then=shard_rows(run, shards, ids, now_ms, total=total),
        job_id=job.id,
        job_version=job.version,
    )


def shard_rows(
    run: NewRun, shards: Sequence[Shard], ids: Sequence[int], now_ms: int, *, total: int
) -> tuple[NewRun, ...]:
    """The rows of these shards of a parent that has `total` of them."""
    return tuple(
        NewRun(
            id=shard_id,
            namespace_id=run.namespace_id,
            job_id=run.job_id,
            app_id=run.app_id,
            part=run.part,
            slot_key=run.slot_key,
            due_ms=run.due_ms,
            created_ms=now_ms,
            trigger_kind=TriggerKind.SHARD,
            state=RunState.QUEUED,
            root_id=run.root_id,
            shard=place if shard.index is None else shard.index,
            shard_total=total,
            priority=run.priority,
            params=run.params if shard.params is None else shard.params,
            addresses=shard.addresses,
            data_ms=run.data_ms,
            parent_id=run.root_id,
            shard_name=shard.name,
            author=run.author,
        )
        for place, (shard_id, shard) in enumerate(zip(ids, shards, strict=True))
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a parent's shards are: `pending` have not come to an end of their last attempt."""

    total: int
    pending: int
    succeeded: int
    failed: int
    stopped: int

    @property
    def completed(self) -> int:
        return self.total - self.pending


def tally(rows: Iterable[tuple[int, int, RunState]]) -> Tally:
    """From the (shard, attempt, state) of all rows of a parent's shards."""
    last: dict[int, tuple[int, RunState]] = {}
    for shard, attempt, state in rows:
        if shard >= 0 and (shard not in last or rank(*last[shard]) < rank(attempt, state)):
            last[shard] = (attempt, state)
    states = [state for _, state in last.values()]
    pending = sum(state in OPEN for state in states)
    succeeded = states.count(RunState.SUCCEEDED)
    stopped = states.count(RunState.STOPPED)
    return Tally(len(states), pending, succeeded, len(states) - pending - succeeded - stopped, stopped)


def is_shard(run: NewRun) -> bool:
    """Whether its end is a part of its parent's. A shard hangs on its own root, unlike any other run."""
    if run.shard == BROADCAST_PARENT:
        return False
    return run.shard_total > 1 or (run.parent_id != 0 and run.parent_id == run.root_id)


def is_pinned(run: NewRun) -> bool:
    """Whether it is the shard of one executor, as those of a broadcast are."""
    return run.addresses is not None and len(run.addresses) == 1 and is_shard(run)
