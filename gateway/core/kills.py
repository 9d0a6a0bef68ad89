"""What became of a kill, as far as anyone can know."""

from __future__ import annotations

from enum import StrEnum

from gateway.core.model import BROADCAST_PARENT, Run
from gateway.core.states import OPEN

ANSWER_S = 30


class KillState(StrEnum):
    """`ignored`: no final result came in time; code that does not look at interrupts goes on."""

    ASKED = "asked"
    CONFIRMED = "confirmed"
    IGNORED = "ignored"


def kill_state(run: Run, now_ms: int) -> KillState | None:
    """None for a run that nobody has asked an executor to stop. A parent's is confirmed by the end of its shards."""
    if not run.stop_asked_ms:
        return None
    if run.result_code or (run.shard == BROADCAST_PARENT and run.state not in OPEN):
        return KillState.CONFIRMED
    if run.state in OPEN and now_ms - run.stop_asked_ms <= 1000 * ANSWER_S:
        return KillState.ASKED
    return KillState.IGNORED
