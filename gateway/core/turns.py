"""A queue that serves its groups in turn, so that a burst of one does not hold up the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """First in, first out within a group; one item a group and turn."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[T]] = {}
        self._order: deque[Hashable] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues.values():
            yield from queue

    def push(self, group: Hashable, item: T) -> None:
        queue = self._queues.get(group)
        if queue is None:
            self._queues[group] = deque((item,))
            self._order.append(group)
        else:
            queue.append(item)
        self._size += 1

    def pop(self) -> T:
        """The next item in turn. Raises `IndexError` when there is none."""
        group = self._order[0]
        queue = self._queues[group]
        item = queue.popleft()
        if queue:
            self._order.rotate(-1)
        else:
            self._order.popleft()
            del self._queues[group]
        self._size -= 1
        return item

    def take_out(self, wanted: Callable[[T], bool]) -> list[T]:
        """Remove and return the items that `wanted` names."""
        taken = [item for item in self if wanted(item)]
        if taken:
            kept = [
                (group, item) for group, queue in self._queues.items() for item in queue if not wanted(item)
            ]
            self._queues.clear()
            self._order.clear()
            self._size = 0
            for group, item in kept:
                self.push(group, item)
        return taken
