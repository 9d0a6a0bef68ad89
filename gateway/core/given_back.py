"""What of a job was sent from here, when its slots are another scheduler's from some instant on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.claims import DELETED, DISABLED
from gateway.core.states import WAITING, RunState

_OUT_OF_USE = frozenset({DELETED, DISABLED})


@dataclass(frozen=True, slots=True)
class SlotRow:
    """Of a row of `run`: what it says of its slot. `shard`: below zero for a parent."""

    slot_key: int
    last_slot_ms: int
    shard: int
    state: RunState
    sent_ms: int
    reason: str


def last_handled(rows: Iterable[SlotRow], since_ms: int) -> int:
    """The last slot that is done with here: that instant, or one after it whose run had been claimed by then.

    The rows are those of slots after it. A parent is as its shards are: it starts a moment before they do.
    """
    by_slot: dict[int, list[SlotRow]] = defaultdict(list)
    for one in rows:
        by_slot[one.slot_key].append(one)
    last_ms = since_ms
    for some in by_slot.values():
        runs = [one for one in some if one.shard >= 0] or some
        if not all(map(_is_unsent, runs)):
            last_ms = max(last_ms, *(max(one.slot_key, one.last_slot_ms) for one in some))
    return last_ms


def _is_unsent(row: SlotRow) -> bool:
    """Nobody was sent it, nor will be: its job is not enabled any more. What was sent in doubt counts as sent."""
    return not row.sent_ms and (row.state in WAITING or row.reason in _OUT_OF_USE)
