"""What people and programs ask of the scheduler: a port of the flow, called by the API and by `compat`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.core.errors import InvalidValue
from gateway.core.idempotency import IdempotencyKey
from gateway.core.model import Executor, LogPage, TriggerKind
from gateway.core.ports import Health, StopReport
from gateway.core.submission import NOW, Submission, Submitted


class Operations(Protocol):
    """What people and programs ask of the scheduler. Called by the API and by `compat`."""

    async def trigger(
        self, job_id: int, wanted: Submission = NOW, *, kind: TriggerKind = TriggerKind.API
    ) -> int:
        """The id of a new run, durable.

        Raises `NotFound`, `Conflict`, `InvalidValue`, and `AlreadySubmitted` when the task id was used before.
        """
        ...

    async def submit(
        self,
        job_id: int,
        wanted: Sequence[Submission],
        *,
        kind: TriggerKind = TriggerKind.API,
        key: IdempotencyKey | None = None,
    ) -> list[Submitted | InvalidValue]:
        """Many runs, each for itself. With a `key` that was used before, what that call was answered.

        Raises `NotFound`, `Conflict`, and `KeyReused` when the key was used for another request.
        """
        ...

    async def jobs_changed(self, job_ids: Collection[int]) -> None:
        """Called after a change of these jobs was committed; returns when unsent claims follow it."""
        ...

    def backfills_changed(self) -> None:
        """Called after a backfill was made, so that it begins at once if its job is this node's."""
        ...

    async def pauses_changed(self) -> None:
        """Called after a pause, or its end, was committed; returns when no node sends any more what it covers."""
        ...

    async def app_changed(self, app_id: int, moved: Collection[int] = ()) -> None:
        """Called after an app was created, changed or deleted, and the change was committed.

        `moved`: its jobs, where they went to other parts. Returns when unsent claims follow the new limits.
        """
        ...

    async def access_changed(self) -> None:
        """Called after a change of access tokens was committed; this node follows it with the answer."""
        ...

    async def stop(self, run_id: int) -> StopReport:
        """Raises `NotFound`, `Conflict` for a run that is over, `Unreachable`."""
        ...

    async def log(self, run_id: int, from_line: int) -> LogPage:
        """Raises `NotFound`, `Conflict` for a run that was never sent, `Unreachable`."""
        ...

    def live_executors(self, app_id: int) -> list[Executor]: ...

    def health(self) -> Health: ...
