"""Runs that wait for a pause to end, and which of those that meet one do."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.core.chain import is_chained
from gateway.core.claims import OF_SCHEDULE
from gateway.core.model import Job, NewRun
from gateway.core.pauses import Pause, Pauses


def waits_for_end(run: NewRun, job: Job | None) -> bool:
    """Whether a run that meets a pause waits for its end; a slot that the pause finds on its way is skipped.

    One that has waited for a place is no slot any more, and a chain's run is what its job goes on with.
    """
    return run.trigger_kind not in OF_SCHEDULE or bool(run.waiting_ms or (job and is_chained(job)))


class Paused:
    def __init__(self) -> None:
        self._runs: dict[int, NewRun] = {}
        self._until_ms: int | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[NewRun]:
        return iter(self._runs.values())

    def add(self, run: NewRun, pause: Pause, pauses: Pauses, now_ms: int) -> None:
        self._runs[run.id] = run
        run.paused_by = pause.words
        self._until_ms = pauses.next_end_ms(now_ms)

    def has_end(self, now_ms: int) -> bool:
        """Whether a pause has ended by itself while they waited."""
        return bool(self._runs) and self._until_ms is not None and self._until_ms <= now_ms

    def take_all(self) -> list[NewRun]:
        taken, self._runs = list(self._runs.values()), {}
        return taken

    def drop(self, parts: Collection[int]) -> list[NewRun]:
        return [self._runs.pop(run.id) for run in list(self) if run.part in parts]
