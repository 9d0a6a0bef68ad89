"""Runs that are run again, or marked as succeeded by hand; failures that nobody has dealt with yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.data_time import data_ms_of
from gateway.core.errors import Conflict
from gateway.core.listing import RunFilter
from gateway.core.model import BROADCAST_PARENT, Job, NewRun, Run, TriggerKind
from gateway.core.policy import seed_of
from gateway.core.shards import Shard, first_row, is_shard
from gateway.core.states import MARKABLE, OPEN, WAITING, RunState, rank
from gateway.core.work import After, Move, Value

MOST = 10_000
# What stands for its shards in a parent that waits: those of the run before which did not succeed.
ONLY_FAILED = "only_failed"


@dataclass(frozen=True, slots=True)
class Rerun:
    """`only_failed`: of a parent the shards that did not succeed; of any other run it means nothing."""

    children: bool = True
    only_failed: bool = False


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of one failure: the new run, or why there is none."""

    run_id: int
    new_run_id: int = 0
    error: str = ""


class RerunDesk(Protocol):
    async def rerun(self, run_id: int, how: Rerun) -> int:
        """The id of the new run, durable. Raises `NotFound`, and `Conflict` for a run that cannot be run again."""
        ...

    async def mark_succeeded(self, run_id: int, reason: str) -> Run:
        """Raises `NotFound`, and `Conflict` for a run that has not failed."""
        ...

    async def redrive(self, run_ids: Sequence[int], how: Rerun) -> list[Redriven]:
        """Run these failures again, each once at most; a result each, in their order."""
        ...

    async def redrive_where(
        self, wanted: RunFilter, how: Rerun, limit: int, cursor: str | None
    ) -> tuple[list[Redriven], str | None]:
        """Up to `limit` of these failures, newest first, and where to go on if there may be more."""
        ...


def require_rerunnable(run: Run) -> None:
    """Raises `Conflict`."""
    if run.state in OPEN:
        raise Conflict(f"run {run.id} is {run.state.word}: only a run that has ended can be run again")
    _require_last(run, "run again")


def require_failed_shards(run: Run) -> None:
    """Of a parent of which only those are to be run again. Raises `Conflict`."""
    if run.shard == BROADCAST_PARENT and run.outcome is RunState.SUCCEEDED:
        raise Conflict(f"run {run.id} has succeeded: none of its shards has failed")


def require_markable(run: Run) -> None:
    """Raises `Conflict`."""
    _require_last(run, "marked")
    if run.state not in MARKABLE:
        raise Conflict(f"run {run.id} is {run.state.word}: only one that failed or was stopped can be marked")


def _require_last(run: Run, what: str) -> None:
    if run.state is RunState.RETRYING:
        raise Conflict(f"run {run.id} was tried again: its last attempt can be {what}")
    if is_shard(seed_of(run)):
        raise Conflict(f"run {run.id} is a shard: its parent, run {run.root_id}, can be {what}")


def rerun_row(run: Run, job: Job, how: Rerun, run_id: int, now_ms: int, author: str) -> NewRun:
    """The first row of the new run: params, executors and business time are those of the old one."""
    row = first_row(
        job,
        run_id,
        TriggerKind.MANUAL,
        slot_key=-run_id,
        due_ms=now_ms,
        now_ms=now_ms,
        state=RunState.QUEUED,
    )
    if run.shard == BROADCAST_PARENT:
        if row.shard != BROADCAST_PARENT:  # replicas, which its submission asked for
            row.shard, row.shard_total = BROADCAST_PARENT, run.shard_total
        row.shard_name = ONLY_FAILED if how.only_failed else ""
    row.priority, row.params, row.addresses = run.priority, run.params, run.addresses
    row.data_ms = data_ms_of(seed_of(run), job)
    row.parent_id, row.author, row.starts_children = run.id, author, how.children
    return row


def rerun_move(run: Run, row: NewRun, token: int) -> Move:
    """The new row exists if nobody else has run this one again meanwhile: its claim token, which has no other use any
    more, is given out anew each time.
    """
    values: dict[str, Value] = {
        "rerun_id": row.id,
        "claim_token": token,
        "open_part": After("open_part", 0),  # it may keep its place
    }
    return Move(run.id, run.state, frozenset({run.state}), values, claim=run.claim_token, then=(row,))


@dataclass(frozen=True, slots=True)
class Replay:
    """Shards of a parent that has `total` of them; 0 if these are all. None at all: it never came to have any."""

    shards: Sequence[Shard]
    total: int = 0


def failed_shards(family: Sequence[Run], live: Sequence[str]) -> Replay:
    """The shards of this family that did not succeed. One that belongs to an executor which has left gets another."""
    last: dict[int, Run] = {}
    total = 1
    for run in family:
        if run.shard == BROADCAST_PARENT:
            total = max(total, run.shard_total)
        elif (rival := last.get(run.shard)) is None or rank(rival.attempt, rival.state) < rank(
            run.attempt, run.state
        ):
            last[run.shard] = run
    shards = [
        Shard(run.shard_name, run.params, _addresses(run, live), index)
        for index, run in sorted(last.items())
        if run.state is not RunState.SUCCEEDED
    ]
    return Replay(shards, total if shards else 0)


def _addresses(run: Run, live: Sequence[str]) -> tuple[str, ...] | None:
    if run.addresses is None or len(run.addresses) > 1 or not live or run.addresses[0] in live:
        return run.addresses
    return (live[run.shard % len(live)],)


def is_replay(run: NewRun) -> bool:
    return run.shard == BROADCAST_PARENT and run.shard_name == ONLY_FAILED and run.state in WAITING
