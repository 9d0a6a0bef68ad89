"""The line of a fixed rate, followed along the rows of the log.

The old admin counts the next run from the planned instant while it is on time, and from *now* once it is late: the phase of
its job moves for good. So a slot here is one interval after the one before, and a row that comes late says only with the row
after it whether the phase has moved.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from importer.shadow.slotted import FOREVER_MS
from importer.shadow.values import PRE_READ_MS, SECOND_MS, Judged, Kind, Outcome, Row

_COARSE_MS = 10_000


class RatedLine:
    """From `start_ms` until `end_ms`, outside. `due_ms`: a slot of its phase, or None: the first row sets it."""

    def __init__(
        self, rate_ms: int, due_ms: int | None, start_ms: int, reach_ms: int, *, fresh: bool = False
    ) -> None:
        """`fresh`: it was started, or given another rate, just then: the first run is an interval later."""
        self.end_ms = FOREVER_MS
        self.start_ms = start_ms
        self._rate_ms = rate_ms
        self._reach_ms = reach_ms
        first_ms = start_ms + rate_ms - SECOND_MS if fresh else start_ms
        self._due_ms = None if due_ms is None else _aligned(due_ms, rate_ms, first_ms)
        # Where the next slot is if the phase moved with the last row.
        self._moved_ms: int | None = None
        self._shards: set[int] = set()
        self._told_ms = start_ms
        self._rows: list[Row] = []

    @property
    def next_ms(self) -> int | None:
        """The next slot of the present phase that has not been told as due."""
        at_ms = self._untold_slot()
        return None if at_ms is None or at_ms >= self.end_ms else at_ms

    @property
    def has_no_phase(self) -> bool:
        return self._due_ms is None

    @property
    def is_idle(self) -> bool:
        return not self._rows

    def extend(self, upto_ms: int) -> Iterator[int]:
        while (at_ms := self.next_ms) is not None and at_ms <= upto_ms:
            self._told_ms = at_ms + 1
            yield at_ms

    def feed(self, row: Row) -> list[Judged]:
        """Nothing can be said of a row before all that stand around it are there."""
        insort(self._rows, row, key=lambda one: (one.at_ms, one.id))
        return []

    def settle(self, upto_ms: int) -> Iterator[Judged]:
        """What the rows before that instant tell."""
        count = bisect_left(self._rows, upto_ms, key=lambda row: row.at_ms)
        rows, self._rows = self._rows[:count], self._rows[count:]
        for row in rows:
            yield from self._follow(row)

    def _follow(self, row: Row) -> list[Judged]:
        if row.kind is Kind.MISFIRE:
            return self._begin_anew(row)
        if self._due_ms is None:
            self._take(row)
            return [Judged(Outcome.AGREED, row.at_ms, row)]
        found = []
        if self._moved_ms is not None and abs(row.at_ms - self._moved_ms) < abs(row.at_ms - self._due_ms):
            found.append(Judged(Outcome.DRIFT, row.at_ms, row, off_ms=self._moved_ms - self._due_ms))
            self._due_ms = self._moved_ms
        late_ms = row.at_ms - self._due_ms
        if late_ms < -SECOND_MS:
            return [*found, *self._too_early(row)]
        count, rest_ms = divmod(max(late_ms, 0), self._rate_ms)
        if self._rate_ms - rest_ms <= SECOND_MS and self._rate_ms >= _COARSE_MS:
            # A second before the next slot it is that one's: the log shows whole seconds.
            count, rest_ms = count + 1, 0
        if row.kind is Kind.UNTOLD and rest_ms > max(PRE_READ_MS, self._rate_ms // 10):
            return [*found, Judged(Outcome.EXTRA, row.at_ms, row)]
        if count:
            last_ms = self._due_ms + (count - 1) * self._rate_ms
            found.append(Judged(Outcome.MISSING, self._due_ms, count=count, to_ms=last_ms))
            self._due_ms = last_ms + self._rate_ms
            if rest_ms > PRE_READ_MS:
                # It began anew while it was late: this is its next run after that, on time.
                found.append(Judged(Outcome.DRIFT, row.at_ms, row, off_ms=rest_ms))
                self._due_ms, rest_ms = row.at_ms, 0
        found.append(Judged(Outcome.AGREED, self._due_ms, row, off_ms=rest_ms))
        self._take(row, self._due_ms)
        return found

    def overdue(self, upto_ms: int) -> Judged | None:
        """Slots of the present phase before that instant that have no row."""
        if self._due_ms is None:
            return None
        upto_ms = min(upto_ms, self.end_ms)
        if self._rows:
            # The next row has a slot already.
            ahead_ms = max(self._rows[0].at_ms - self._due_ms, 0)
            upto_ms = min(upto_ms, self._due_ms + ahead_ms // self._rate_ms * self._rate_ms)
        return self._missed(upto_ms)

    def _missed(self, upto_ms: int) -> Judged | None:
        """Slots of the present phase before that instant, from the next on."""
        if self._due_ms is None or self._due_ms >= upto_ms:
            return None
        count = (upto_ms - 1 - self._due_ms) // self._rate_ms + 1
        return Judged(
            Outcome.MISSING, self._due_ms, count=count, to_ms=self._due_ms + (count - 1) * self._rate_ms
        )

    def waiting(self) -> int:
        return len(self._rows)

    def _untold_slot(self) -> int | None:
        if self._due_ms is None:
            return None
        return _aligned(self._due_ms, self._rate_ms, max(self._told_ms, self._due_ms))

    def _take(self, row: Row, slot_ms: int | None = None) -> None:
        slot_ms = row.at_ms if slot_ms is None else slot_ms
        self._due_ms = slot_ms + self._rate_ms
        # A second is what the log rounds away.
        late = row.at_ms - slot_ms > SECOND_MS
        self._moved_ms = row.at_ms + self._rate_ms if late else None
        self._shards = {row.shard}

    def _too_early(self, row: Row) -> list[Judged]:
        """A row between two slots: it belongs to the one before, or to none."""
        assert self._due_ms is not None  # only such a line has rows that are early
        before_ms = self._due_ms - self._rate_ms
        off_ms = row.at_ms - before_ms
        close = off_ms <= min(self._reach_ms, self._rate_ms // 2) and bool(self._shards)
        if close and row.shard not in self._shards:
            self._shards.add(row.shard)
            return []
        if close and row.kind is Kind.SCHEDULE:
            return [Judged(Outcome.DUPLICATE, before_ms, row, off_ms=off_ms)]
        if row.kind is Kind.SCHEDULE:
            self._moved_ms = row.at_ms + self._rate_ms
        return [Judged(Outcome.EXTRA, row.at_ms, row)]

    def _begin_anew(self, row: Row) -> list[Judged]:
        """A misfire: one run at once for all that was missed, and the next an interval after it."""
        found = []
        missed = self._missed(row.at_ms)
        if missed is not None and self._due_ms is not None:
            found.append(missed)
            off_ms = (row.at_ms - self._due_ms) % self._rate_ms
            if off_ms:
                found.append(Judged(Outcome.DRIFT, row.at_ms, row, off_ms=off_ms))
        found.append(Judged(Outcome.MADE_UP, row.at_ms, row))
        self._due_ms, self._moved_ms, self._shards = row.at_ms + self._rate_ms, None, set()
        return found


def _aligned(slot_ms: int, rate_ms: int, from_ms: int) -> int:
    """The first instant from `from_ms` on of the phase that has that slot, in whole seconds."""
    slot_ms -= slot_ms % SECOND_MS
    return slot_ms - (slot_ms - from_ms) // rate_ms * rate_ms
