"""Which slot of a job is the first that the old admin has not handled, from its rows alone; in doubt never one twice.

The old admin reads slots up to 5 s ahead, moves the job's row past them, and keeps them in memory until they are due: so
where it has died, the row says of up to 5 s of slots that they were handled although they never fired. Its log says
which: each attempt to trigger a job is a row there, written before the executor is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from gateway.core.confine import Slots

PRE_READ_MS = 5_000
# Slots that may have been read ahead and not fired: those of one pre-read, and of a pass that took its time.
AHEAD_MS = 2 * PRE_READ_MS
# What it had not done when it went on for so long is a hole of its own, not one of the switch.
WENT_ON_MS = 30_000
# So long before its end the log was written to at the latest, where it is to prove anything.
MOST_SILENCE_MS = 120_000
# Rows of the log that are further in the future tell that its clock, or its time zone, is not what we take it for: when
# they were written is not known, so they prove nothing.
MOST_AHEAD_MS = 60_000


class Logged(NamedTuple):
    """A row of the log: when the job was triggered, and whether it is known that an executor was called."""

    at_ms: int
    is_sent: bool = True


@dataclass(frozen=True, slots=True)
class OldState:
    """What the rows say of a job: its last slot that was read (0: none), the next one (0: not known); and its log.

    Rows of the log are needed from `End.log_from_ms` on. `is_rescheduled`: it went by another schedule there than the one
    that is gone on with, so that its next slot of then says nothing.
    """

    last_ms: int
    next_ms: int
    logged: Sequence[Logged] = ()
    is_rescheduled: bool = False


@dataclass(frozen=True, slots=True)
class LogSpan:
    """What is known of the log of all jobs: its newest row (0: none), and one before those that are asked for (0: none)."""

    newest_ms: int = 0
    older_ms: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The old admin was at work at `alive_ms` by its own clock, and was not any more at `dead_ms`.

    `is_log_whole`: a slot that has no row in the log did not fire. It must have been written to shortly before the end,
    or its time zone may be another one; and have older rows, or somebody may have emptied it.
    """

    alive_ms: int
    dead_ms: int
    is_log_whole: bool

    @classmethod
    def of(cls, states: Iterable[OldState], log: LogSpan, dead_ms: int) -> End:
        read_ms = max((state.last_ms for state in states), default=0) - PRE_READ_MS
        is_fresh = read_ms - MOST_SILENCE_MS <= log.newest_ms <= dead_ms + MOST_AHEAD_MS
        alive_ms = max(read_ms, log.newest_ms if is_fresh else 0, 0)
        return cls(alive_ms, dead_ms, is_fresh and 0 < log.older_ms < log_from(alive_ms))

    @property
    def log_from_ms(self) -> int:
        return log_from(self.alive_ms)


def log_from(alive_ms: int) -> int:
    """From when on rows of the log tell of slots in question."""
    return alive_ms - WENT_ON_MS - 1000


@dataclass(frozen=True, slots=True)
class Resumption:
    """`first_ms`: the slot to go on with; None where the schedule has ended.

    `unsure` are slots before it that were taken as handled although no row says so.
    """

    first_ms: int | None
    unsure: tuple[int, ...] = ()


def resume(schedule: Slots, state: OldState, end: End) -> Resumption:
    """Where to go on. A slot counts as handled from the row of it, or of a later one, in the log."""
    rows = sorted(row for row in state.logged if row.at_ms <= end.dead_ms + MOST_AHEAD_MS)
    newest_ms = rows[-1].at_ms if rows else 0
    unsure: list[int] = []
    start_ms = max(state.last_ms - AHEAD_MS, end.alive_ms - WENT_ON_MS)
    for slot in slots_between(schedule, start_ms, state.last_ms):
        if newest_ms < _second(slot) and (end.is_log_whole or _second(slot) > end.dead_ms):
            return Resumption(slot, tuple(unsure))
        if not _takes_its_row(rows, slot):
            unsure.append(slot)
    return Resumption(schedule.next_after(_known_ms(state, end) - 1), tuple(unsure))


def _known_ms(state: OldState, end: End) -> int:
    """Slots from then on are ours: the old admin has not read them, or was not there any more."""
    if state.is_rescheduled:
        return (max(state.last_ms, end.alive_ms) or end.dead_ms) + 1
    return state.next_ms if state.next_ms > state.last_ms else max(state.last_ms, end.dead_ms) + 1


def _takes_its_row(rows: list[Logged], slot: int) -> bool:
    """Whether there is a row that can be this slot's and says that an executor was called."""
    for index, row in enumerate(rows):
        if row.at_ms >= _second(slot):
            del rows[index]
            return row.is_sent
    return False


def _second(slot: int) -> int:
    """Fixed rates have slots between seconds, which fire with the whole ones; the log knows only these."""
    return slot - slot % 1000


def bounded(schedule: Slots, first_ms: int, now_ms: int, *, most: int = 500, span_ms: int = 3_600_000) -> int:
    """`first_ms`, or a later slot where more than `most` slots were missed and that for longer than `span_ms`."""
    start_ms = now_ms - span_ms
    if first_ms >= start_ms:
        return first_ms
    missed = slots_between(schedule, first_ms - 1, start_ms)
    if next(islice(missed, most, None), None) is None:
        return first_ms
    return schedule.next_after(start_ms) or first_ms


def slots_between(schedule: Slots, after_ms: int, to_ms: int) -> Iterator[int]:
    """All slots after one instant, up to another and with it."""
    slot = schedule.next_after(after_ms)
    while slot is not None and slot <= to_ms:
        yield slot
        slot = schedule.next_after(slot)
