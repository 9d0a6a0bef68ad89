"""Backfills: a past range of a job's slots is run now, one after another or several at a time, at a pace of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, Protocol

from gateway.core.model import Job, NewRun, TriggerKind
from gateway.core.submission import Submission, run_of

MAX_SLOTS = 10_000
MAX_PARALLEL = 1000
MAX_PER_MINUTE = 60_000


class BackfillState(IntEnum):
    """Stored as these numbers."""

    RUNNING = 1
    DONE = 2
    CANCELLED = 3

    @property
    def word(self) -> Literal["running", "done", "cancelled"]:
        return _WORDS[self]


_WORDS: dict[BackfillState, Literal["running", "done", "cancelled"]] = {
    BackfillState.RUNNING: "running",
    BackfillState.DONE: "done",
    BackfillState.CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Backfill:
    """`params` None means the job's own. `per_minute` 0: as fast as the others end.

    `started` of its `total` slots have a run; `last_start_ms` is when the last of them was made.
    """

    id: int
    job_id: int
    from_ms: int
    to_ms: int
    total: int
    max_parallel: int = 1
    per_minute: int = 0
    newest_first: bool = False
    params: str | None = None
    reason: str = ""
    author: str = ""
    state: BackfillState = BackfillState.RUNNING
    created_ms: int = 0
    last_start_ms: int = 0
    finished_ms: int = 0
    started: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)

    def room(self, open_runs: int, now_ms: int, look_ms: int) -> int:
        """How many runs to start at this look, the one before which was `look_ms` ago."""
        room = max(self.max_parallel - open_runs, 0)
        if not self.per_minute:
            return room
        gap_ms = 60_000 / self.per_minute
        earned = int((now_ms - self.last_start_ms) / gap_ms)
        return min(room, earned, max(int(look_ms / gap_ms), 1))


def run_for(backfill: Backfill, job: Job, slot_ms: int, run_id: int, now_ms: int) -> NewRun:
    """The waiting row of one of its slots; its data time is that of the slot."""
    wanted = Submission(params=backfill.params, author=backfill.author)
    run = run_of(wanted, job, run_id, now_ms, TriggerKind.BACKFILL)
    run.data_ms = slot_ms + 1000 * (job.timing.data_offset_s or 0)
    run.reason = f"backfill {backfill.id}"
    return run


class BackfillCatalog(Protocol):
    async def create(self, new: Backfill, slots: Sequence[int]) -> Backfill:
        """Store it with its slots. Raises `NotFound` for a job that is gone."""
        ...

    async def get(self, backfill_id: int) -> Backfill:
        """With the outcomes of its runs by state. Raises `NotFound`."""
        ...

    async def of_job(self, job_id: int, limit: int) -> list[Backfill]:
        """Newest first."""
        ...

    async def cancel(self, backfill_id: int) -> None:
        """Make no more runs for it. Raises `NotFound`, and `Conflict` when it is over."""
        ...


class BackfillStore(BackfillCatalog, Protocol):
    """And what the flow asks for."""

    async def running(self, parts: Collection[int]) -> list[Backfill]:
        """Those of jobs in these parts, and of jobs that were deleted."""
        ...

    async def open_runs(self, job_id: int, run_ids: Collection[int]) -> set[int]:
        """Those of these runs that have not ended, whatever attempt of them is open."""
        ...

    async def started_runs(self, backfill_id: int) -> set[int]: ...

    async def next_slots(self, backfill: Backfill, count: int) -> list[int]: ...

    async def start(self, backfill: Backfill, runs: Mapping[int, NewRun], now_ms: int) -> bool:
        """Insert these runs, by slot. False, and nothing, unless it runs on as it was read."""
        ...

    async def finish(self, backfill: Backfill, state: BackfillState) -> None: ...
