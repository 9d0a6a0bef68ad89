"""Runs that wait for their instant, by due time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from gateway.core.model import NewRun

BUCKET_MS = 10


class Agenda:
    """A calendar queue: buckets of 10 ms in a heap, so that a fire costs no heap operation of its own."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[NewRun]] = {}
        self._heap: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, runs: Iterable[NewRun]) -> None:
        for run in runs:
            index = run.due_ms // BUCKET_MS
            bucket = self._buckets.get(index)
            if bucket is None:
                self._buckets[index] = [run]
                heapq.heappush(self._heap, index)
            else:
                bucket.append(run)
            self._size += 1

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
        self._size -= len(taken)
        return taken

    def until(self, until_ms: int) -> Iterator[NewRun]:
        """Look at the runs that are due by then, in no particular order."""
        for index, bucket in self._buckets.items():
            if index * BUCKET_MS <= until_ms:
                yield from bucket
