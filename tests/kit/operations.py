"""The scheduler as its callers see it, without a scheduler; and a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.errors import AlreadySubmitted, Conflict, InvalidValue, NotFound
from gateway.core.idempotency import IdempotencyKey
from gateway.core.listing import RunFilter
from gateway.core.model import FIRST_LONG_ID, App, Executor, LogPage, Run, TriggerKind
from gateway.core.ports import Health, StopReport
from gateway.core.reruns import Redriven, Rerun
from gateway.core.states import RunState
from gateway.core.submission import NOW, Submission, Submitted
from gateway.core.waiting import Queue


class StillClock:
    """Time that moves only when the test says so."""

    def __init__(self, now_ms: int = 1_795_000_000_000) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
        await asyncio.sleep(0)


@dataclass
class Triggered:
    job_id: int
    wanted: Submission
    kind: TriggerKind


@dataclass
class FakeOperations:
    """Implements `core.operations.Operations`: remembers what it was asked, answers what the test put in."""

    triggered: list[Triggered] = field(default_factory=list)
    changed_jobs: list[int] = field(default_factory=list)
    changed_apps: list[int] = field(default_factory=list)
    pauses_changed_times: int = 0
    access_changed_times: int = 0
    backfills_changed_times: int = 0
    stopped: list[int] = field(default_factory=list)
    executors: list[Executor] = field(default_factory=list)
    logs: dict[int, LogPage] = field(default_factory=dict)
    present: Health = field(default_factory=Health)
    known_jobs: set[int] | None = None
    fails: Exception | None = None
    next_run_id: int = FIRST_LONG_ID
    tasks: dict[str, int] = field(default_factory=dict)
    answers: dict[IdempotencyKey, list[Submitted | InvalidValue]] = field(default_factory=dict)

    async def trigger(
        self, job_id: int, wanted: Submission = NOW, *, kind: TriggerKind = TriggerKind.API
    ) -> int:
        if self.fails is not None:
            raise self.fails
        if self.known_jobs is not None and job_id not in self.known_jobs:
            raise NotFound("job", job_id)
        if wanted.task_id in self.tasks:
            raise AlreadySubmitted(wanted.task_id, self.tasks[wanted.task_id])
        run_id, self.next_run_id = self.next_run_id, self.next_run_id + 1
        if wanted.task_id is not None:
            self.tasks[wanted.task_id] = run_id
        self.triggered.append(Triggered(job_id, wanted, kind))
        return run_id

    async def submit(
        self,
        job_id: int,
        wanted: Sequence[Submission],
        *,
        kind: TriggerKind = TriggerKind.API,
        key: IdempotencyKey | None = None,
    ) -> list[Submitted | InvalidValue]:
        if key is not None and key in self.answers:
            return self.answers[key]
        outcomes: list[Submitted | InvalidValue] = []
        for one in wanted:
            try:
                run_id = await self.trigger(job_id, one, kind=kind)
            except AlreadySubmitted as error:
                outcomes.append(Submitted(0, error.run_id))
            else:
                outcomes.append(Submitted(run_id, run_id))
        if key is not None:
            self.answers[key] = outcomes
        return outcomes

    async def jobs_changed(self, job_ids: Collection[int]) -> None:
        self.changed_jobs.extend(job_ids)

    def backfills_changed(self) -> None:
        self.backfills_changed_times += 1

    async def pauses_changed(self) -> None:
        self.pauses_changed_times += 1

    async def app_changed(self, app_id: int, moved: Collection[int] = ()) -> None:
        self.changed_apps.append(app_id)

    async def stop(self, run_id: int) -> StopReport:
        if self.fails is not None:
            raise self.fails
        self.stopped.append(run_id)
        return StopReport(run_id, RunState.STOPPING, (run_id + 1,))

    async def log(self, run_id: int, from_line: int) -> LogPage:
        if run_id not in self.logs:
            raise NotFound("run", run_id)
        return self.logs[run_id]

    async def access_changed(self) -> None:
        self.access_changed_times += 1

    def live_executors(self, app_id: int) -> list[Executor]:
        return [executor for executor in self.executors if executor.app_id == app_id]

    def health(self) -> Health:
        return self.present


class FakeReruns:
    """Implements `core.reruns.RerunDesk`: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.run: Run | None = None
        self.next_cursor: str | None = None

    async def rerun(self, run_id: int, how: Rerun) -> int:
        self.asked.append(("rerun", run_id, how))
        if self.run is None:
            raise Conflict(f"run {run_id} is running: only a run that has ended can be run again")
        return run_id + 1

    async def mark_succeeded(self, run_id: int, reason: str) -> Run:
        self.asked.append(("mark", run_id, reason))
        if self.run is None:
            raise Conflict(f"run {run_id} is running: only one that failed or was stopped can be marked")
        return self.run

    async def redrive(self, run_ids: Sequence[int], how: Rerun) -> list[Redriven]:
        self.asked.append(("redrive", tuple(run_ids), how))
        return [Redriven(one, one + 1) if one % 2 else Redriven(one, error="gone") for one in run_ids]

    async def redrive_where(
        self, wanted: RunFilter, how: Rerun, limit: int, cursor: str | None
    ) -> tuple[list[Redriven], str | None]:
        self.asked.append(("where", wanted, how, limit, cursor))
        self.next_cursor, here = None, self.next_cursor
        return [Redriven(5, 6)], here


class FakeQueues:
    """A queue of one app, as somebody has set it up."""

    def __init__(self) -> None:
        self.queue = Queue(0, 0, ())
        self.changed: list[tuple[str, int]] = []
        self.run: Run | None = None

    async def view(self, app: App, limit: int) -> Queue:
        return replace(self.queue, first=self.queue.first[:limit])

    async def move_to_front(self, run_id: int) -> Run:
        return self._change("front", run_id)

    async def bypass(self, run_id: int) -> Run:
        return self._change("bypass", run_id)

    def _change(self, what: str, run_id: int) -> Run:
        if self.run is None:
            raise Conflict(f"run {run_id} is running: only a run that waits can be moved to the front")
        self.changed.append((what, run_id))
        return self.run
