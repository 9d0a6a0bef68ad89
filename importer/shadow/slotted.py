"""The line of a job whose slots are instants of their own: each row of the log is given to one of them.

A row belongs to the last slot before it. Where that has a row already and an earlier one has none, the rows between are late
rather than doubled: they move back, if the free slot is no more than `SHIFT_MS` before the doubled one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.core.confine import Slots
from importer.shadow.values import PRE_READ_MS, Judged, Kind, Outcome, Row

SHIFT_MS = 30_000
# A row that may have been made by hand belongs to a slot only if it is as close as this.
UNTOLD_MS = 30_000
FOREVER_MS = 1 << 62


@dataclass(slots=True)
class Slot:
    at_ms: int
    # By shard; -1 outside of broadcasts.
    rows: dict[int, Row] = field(default_factory=dict)
    again: list[Row] = field(default_factory=list)
    made_up: list[Row] = field(default_factory=list)


class SlottedLine:
    """From `start_ms` until `end_ms`, outside. Of slots and rows only those are kept that are not judged yet."""

    def __init__(self, slots: Slots, start_ms: int, reach_ms: int) -> None:
        self.end_ms = FOREVER_MS
        self.start_ms = start_ms
        self._slots = slots
        self._reach_ms = reach_ms
        self._next = slots.next_after(start_ms - 1)
        self._open: deque[Slot] = deque()

    @property
    def next_ms(self) -> int | None:
        """The next slot that is not known to be due yet."""
        return None if self._next is None or self._next >= self.end_ms else self._next

    @property
    def is_idle(self) -> bool:
        return not self._open

    def extend(self, upto_ms: int) -> Iterator[int]:
        """Slots up to that instant are due; each is told."""
        while self._next is not None and self._next <= upto_ms and self._next < self.end_ms:
            self._open.append(Slot(self._next))
            yield self._next
            self._next = self._slots.next_after(self._next)

    def feed(self, row: Row) -> list[Judged]:
        """A row, whose slots are known; answers what can be said of it at once."""
        slots = self._open
        index = bisect_right(slots, row.at_ms, key=lambda slot: slot.at_ms) - 1
        if row.kind is Kind.MISFIRE:
            if index < 0:
                return [Judged(Outcome.MADE_UP, row.at_ms, row)]
            slots[index].made_up.append(row)
            return []
        untold = row.kind is Kind.UNTOLD
        reach_ms = UNTOLD_MS if untold else self._reach_ms
        if index < 0 or row.at_ms - slots[index].at_ms > reach_ms:
            return [Judged(Outcome.EXTRA, row.at_ms, row)]
        if row.shard in slots[index].rows and not self._move_back(
            index, row.shard, PRE_READ_MS if untold else SHIFT_MS
        ):
            if untold:
                return [Judged(Outcome.EXTRA, row.at_ms, row)]
            slots[index].again.append(row)
            return []
        slots[index].rows[row.shard] = row
        return []

    def settle(self, upto_ms: int) -> Iterator[Judged]:
        """What became of the slots before that instant, in order."""
        while self._open and self._open[0].at_ms < upto_ms:
            slot = self._open.popleft()
            if not slot.rows:
                yield Judged(Outcome.MISSING, slot.at_ms, to_ms=slot.at_ms)
            for row in slot.made_up:
                yield Judged(Outcome.MADE_UP, row.at_ms, row)
            if not slot.rows:
                continue
            first = min(slot.rows.values(), key=lambda row: (row.at_ms, row.id))
            yield Judged(Outcome.AGREED, slot.at_ms, first, off_ms=first.at_ms - slot.at_ms)
            for row in slot.again:
                yield Judged(Outcome.DUPLICATE, slot.at_ms, row, off_ms=row.at_ms - slot.at_ms)

    def waiting(self) -> int:
        """How many slots are due and not judged."""
        return len(self._open)

    def _move_back(self, index: int, shard: int, most_ms: int) -> bool:
        """Whether rows could move to the slots before theirs, so that this one is free."""
        slots = self._open
        free = index - 1
        while free >= 0 and shard in slots[free].rows:
            free -= 1
        # So much later all of them become together.
        if free < 0 or slots[free].made_up or slots[index].at_ms - slots[free].at_ms > most_ms:
            return False
        moved = [slots[at].rows[shard] for at in range(free + 1, index + 1)]
        for n, row in enumerate(moved):
            slots[free + n].rows[shard] = row
        return True
