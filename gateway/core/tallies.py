"""What a simulation tells: its runs, and what it has counted by job and by app."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.core.model import TriggerKind
from gateway.core.states import RunState


@dataclass(slots=True, eq=False)
class Fire:
    """A run that was not: `run_id` counts from 1. 0 in a time means that it did not come to that.

    `slot_count` slots from `slot_ms` on share it where they are skipped together.
    """

    run_id: int
    job_id: int
    app_id: int
    cause: TriggerKind
    slot_ms: int
    due_ms: int
    state: RunState = RunState.QUEUED
    start_ms: int = 0
    end_ms: int = 0
    shard: int = 0
    slot_count: int = 1
    reason: str = ""

    @property
    def wait_ms(self) -> int | None:
        return self.start_ms - self.due_ms if self.start_ms else None


@dataclass(slots=True, eq=False)
class Tally:
    """Of one job, of an app, or of all.

    `fires` = `started` + `skipped` + `expired` + `waiting`; `stopped` are some of the started ones. A broadcast is one
    fire, whatever its shards; what these wait counts as well.
    """

    fires: int = 0
    started: int = 0
    skipped: int = 0
    expired: int = 0
    stopped: int = 0
    waiting: int = 0
    waited: int = 0
    wait_max_ms: int = 0
    wait_total_ms: int = 0

    def note_wait(self, wait_ms: int) -> None:
        if wait_ms > 0:
            self.waited += 1
            self.wait_total_ms += wait_ms
            self.wait_max_ms = max(self.wait_max_ms, wait_ms)


@dataclass(slots=True, eq=False)
class AppTally(Tally):
    """Also how many of its runs, shards included, waited and were under way at once; and when that was first so."""

    queue: int = 0
    queue_max: int = 0
    queue_max_at_ms: int = 0
    running: int = 0
    running_max: int = 0
    running_max_at_ms: int = 0

    def look(self, now_ms: int) -> None:
        """After all that happens at an instant."""
        if self.queue > self.queue_max:
            self.queue_max, self.queue_max_at_ms = self.queue, now_ms
        if self.running > self.running_max:
            self.running_max, self.running_max_at_ms = self.running, now_ms


@dataclass(slots=True, eq=False)
class Outcome:
    """`fires` are the first of all `runs`, as many as were asked for. `reasons`: why slots did not start, with counts."""

    total: Tally = field(default_factory=Tally)
    jobs: dict[int, Tally] = field(default_factory=dict)
    apps: dict[int, AppTally] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    fires: list[Fire] = field(default_factory=list)
    runs: int = 0
