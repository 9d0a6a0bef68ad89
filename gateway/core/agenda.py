"""Runs that wait for their instant, by due time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from gateway.core.model import NewRun

BUCKET_MS = 10


class Agenda:
    """A calendar queue: buckets of 10 ms in a heap, so that a fire costs no heap operation of its own."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[NewRun]] = {}
        self._heap: list[int] = []
        self._runs: dict[int, NewRun] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._runs

    def add(self, runs: Iterable[NewRun]) -> None:
        """One that is here already is not added again, for several may tell of it; but its row may say more by now."""
        known = self._runs
        for run in runs:
            if (old := known.get(run.id)) is not None:
                old.part, old.queue_rank, old.bypass = run.part, run.queue_rank, run.bypass
                continue
            known[run.id] = run
            index = run.due_ms // BUCKET_MS
            bucket = self._buckets.get(index)
            if bucket is None:
                self._buckets[index] = [run]
                heapq.heappush(self._heap, index)
            else:
                bucket.append(run)

    def next_due_ms(self) -> int | None:
        """The start of the earliest bucket."""
        return self._heap[0] * BUCKET_MS if self._heap else None

    def take(self, until_ms: int, limit: int) -> list[NewRun]:
        """Up to `limit` runs that are due by then, in the order of due time, priority and id."""
        taken: list[NewRun] = []
        while self._heap and self._heap[0] * BUCKET_MS <= until_ms and len(taken) < limit:
            index = self._heap[0]
            bucket = self._buckets[index]
            bucket.sort(key=lambda run: (run.due_ms, -run.priority, run.id))
            room = limit - len(taken)
            taken.extend(bucket[:room])
            if len(bucket) > room:
                self._buckets[index] = bucket[room:]
            else:
                heapq.heappop(self._heap)
                del self._buckets[index]
        for run in taken:
            del self._runs[run.id]
        return taken

    def drop(self, parts: Collection[int]) -> list[NewRun]:
        """Take out the runs of these parts: another node has them."""
        dropped: list[NewRun] = []
        for index, bucket in list(self._buckets.items()):
            kept = [run for run in bucket if run.part not in parts]
            if len(kept) == len(bucket):
                continue
            dropped += [run for run in bucket if run.part in parts]
            if kept:
                self._buckets[index] = kept
            else:
                del self._buckets[index]
        self._heap = sorted(self._buckets)
        for run in dropped:
            del self._runs[run.id]
        return dropped

    def until(self, until_ms: int) -> Iterator[NewRun]:
        """Look at the runs that are due by then, in no particular order."""
        for index, bucket in self._buckets.items():
            if index * BUCKET_MS <= until_ms:
                yield from bucket
