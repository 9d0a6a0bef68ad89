"""Who waits in an app, why, and when each may start."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.holding import GIVEN_UP, held_words
from gateway.core.model import App, Run
from gateway.core.pauses import Pause
from gateway.core.places import Place

DEFAULT_RUN_MS = 1000
_WAITS_FOR_JOB = " runs of this job are under way"


@dataclass(frozen=True, slots=True)
class Waiting:
    """`predicted_ms` is None where nobody can say: the run waits for its job, or there is no limit to wait for."""

    run: Run
    position: int
    reason: str
    predicted_ms: int | None


@dataclass(frozen=True, slots=True)
class Queue:
    """The first of those that wait, `count` of them in all; `running` runs of the app are under way."""

    running: int
    count: int
    first: tuple[Waiting, ...]


class QueueReader(Protocol):
    async def waiting(self, app_id: int, now_ms: int, limit: int) -> tuple[list[Run], int]:
        """Due runs of an app that wait, in the order in which they will start, and how many there are."""
        ...

    async def durations_ms(self, job_ids: Sequence[int]) -> dict[int, int]:
        """How long the last successful runs of these jobs took on the average; jobs without any are left out."""
        ...

    async def highest_rank(self, app_id: int) -> int:
        """Of all open runs of the app."""
        ...


class QueueDesk(Protocol):
    """What people ask of a queue. Called by the API."""

    async def view(self, app: App, limit: int) -> Queue: ...

    async def move_to_front(self, run_id: int) -> Run:
        """Raises `NotFound`, and `Conflict` for a run that does not wait."""
        ...

    async def bypass(self, run_id: int) -> Run:
        """Let a waiting run start whatever the limits. Raises as `move_to_front`."""
        ...


def reason_of(run: Run, app: App, running: Sequence[Place], pause: Pause | None) -> str:
    """Why it waits: what its row says, or what can be seen now; and which of those that have a place are over."""
    if pause is not None:
        return pause.words
    is_full = app.max_running is not None and len(running) >= app.max_running
    if run.reason is not None and run.reason.startswith("waits: "):
        text = run.reason.removeprefix("waits: ").split(GIVEN_UP)[0]
        by_job = _WAITS_FOR_JOB in text
        held = [
            place.run_id for place in running if place.held and (not by_job or place.job_id == run.job_id)
        ]
        return text + held_words(held if by_job or is_full else ())
    if is_full:
        held = [place.run_id for place in running if place.held]
        text = f"{len(running)} of {app.max_running} runs of app {app.appname!r} are under way"
        return text + held_words(held)
    if app.starts_per_second is not None:
        return f"app {app.appname!r} starts at most {app.starts_per_second:g} runs a second"
    return "it is about to start, or waits for its job"


def predict(
    waiting: Sequence[Run],
    running: Sequence[Place],
    app: App,
    durations_ms: Mapping[int, int],
    now_ms: int,
    paused: Collection[int] = (),
) -> list[int | None]:
    """When each will start if every run takes as long as those before it did. An estimate, and no promise.

    `paused` are the runs that a pause holds up: nobody can say.
    """
    if not app.limited:
        return [None] * len(waiting)
    gap_ms = 1000 / app.starts_per_second if app.starts_per_second is not None else 0.0
    ends = [max(place.since_ms + _duration(place.job_id, durations_ms), now_ms) for place in running]
    heapq.heapify(ends)
    starts: list[int | None] = []
    next_ms = float(now_ms)
    for run in waiting:
        if run.id in paused or (run.reason is not None and _WAITS_FOR_JOB in run.reason):
            starts.append(None)
            continue
        while app.max_running is not None and len(ends) >= app.max_running:
            next_ms = max(next_ms, heapq.heappop(ends))
        starts.append(int(next_ms))
        heapq.heappush(ends, int(next_ms) + _duration(run.job_id, durations_ms))
        next_ms += gap_ms
    return starts


def _duration(job_id: int, durations_ms: Mapping[int, int]) -> int:
    return durations_ms.get(job_id, DEFAULT_RUN_MS)
