"""How long records are kept: what may be removed, and when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.daily import DAY_MS, day_of
from gateway.core.model import Run

RUN_DAYS = 30
EVENT_DAYS = 365
TASK_DAYS = 7
"""A name that a client gave to a submission is taken for as long, whatever else is removed."""
DAILY_DAYS = 400
PORTION = 500

# Where in a second a portion may begin: not when runs are claimed for the next one, nor when its own go out.
CALM_FROM_MS, CALM_TO_MS = 50, 700


def cut_ms(now_ms: int, days: int) -> int:
    """Runs that ended before this may go: whole days (UTC), so that at least `days` times 24 h are kept."""
    return (day_of(now_ms) - days) * DAY_MS


def calm_in_ms(now_ms: int) -> int:
    """How long to wait until a portion may begin."""
    within = now_ms % 1000
    return 0 if CALM_FROM_MS <= within < CALM_TO_MS else (CALM_FROM_MS - within) % 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is of a job's runs. `days` are its own, None for the server's; `oldest_ms` is when the first was made.

    `newest_id` is 0 for a job without runs, and grows with each newer one.
    """

    job_id: int
    app_id: int
    part: int
    days: int | None
    oldest_ms: int
    newest_id: int
    deleted: bool = False
    keep_history: bool = True

    def cut_ms(self, now_ms: int, days: int) -> int:
        """Runs that ended before this may go; all, if the job was deleted with its history."""
        if self.deleted and not self.keep_history:
            return now_ms + 1
        return cut_ms(now_ms, self.days or days)


class Removable(Protocol):
    id: int
    slot_key: int
    finished_ms: int


def removable(rows: Iterable[Removable], held: Collection[int], before_ms: int) -> list[int]:
    """The ids, ascending, of runs that may go. `held`: slots some run of which is open or ended later.

    A family, that is all attempts and shards of a slot, goes together: an attempt's row says why the next one exists.
    """
    return sorted(row.id for row in rows if row.finished_ms < before_ms and row.slot_key not in held)


@dataclass(frozen=True, slots=True)
class Portion:
    """What one look at a job's oldest runs has done. `last_id` is where the next one begins, None at the end.

    `held`: how many slots stay although some of their runs are old enough.
    """

    removed: int
    held: int
    last_id: int | None


class RunRemover(Protocol):
    async def remove_runs(self, runs: Sequence[Run]) -> int:
        """Remove these runs by hand, with all of their slots, as far as all of a slot have ended; how many rows."""
        ...


class History(Protocol):
    """What is kept, in the database."""

    async def kept(self, parts: Collection[int], after_id: int, limit: int, *, deleted: bool) -> list[Kept]:
        """Jobs of these parts with larger ids; or those that were deleted and are not forgotten yet."""
        ...

    async def remove(self, kept: Kept, before_ms: int, after_id: int) -> Portion:
        """Remove one portion of runs that ended before that instant, oldest first, and add them to their days."""
        ...

    async def settle(self, kept: Kept, before_ms: int) -> None:
        """Nothing that ended before that day is there any more: only what was removed counts for it."""
        ...

    async def count(self, kept: Kept) -> bool:
        """Count the days that are not counted for good. Whether the job still has open runs."""
        ...

    async def forget(self, kept: Kept) -> bool:
        """Remove what is left of a deleted job. False while it has runs."""
        ...

    async def adopt(self) -> int:
        """Find jobs that a node of an earlier version deleted; their runs are kept as long as others."""
        ...

    async def sweep(self, now_ms: int, run_days: int, event_days: int) -> bool:
        """Remove a portion of each of the other records that are too old. Whether there may be more."""
        ...

    async def note_pass(self, node: str, began_ms: int, ended_ms: int, removed: int) -> None:
        """Keep when this node last went through all that it owns."""
        ...
