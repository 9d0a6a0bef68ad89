"""States of a run and the moves allowed between them. Nothing else may move a run."""

from __future__ import annotations

from enum import IntEnum


class RunState(IntEnum):
    """Stored as these numbers: they are part of the schema and never change."""

    PLANNED = 1
    QUEUED = 2
    DISPATCHING = 3
    RUNNING = 4
    STOPPING = 5
    SUCCEEDED = 10
    FAILED = 11
    TIMED_OUT = 12
    LOST = 13
    STOPPED = 14
    RETRYING = 15
    SKIPPED = 16
    EXPIRED = 17
    INVALID = 18

    @property
    def word(self) -> str:
        """The name used in answers, filters and docs."""
        return self.name.lower()


_S = RunState

WAITING = frozenset({_S.PLANNED, _S.QUEUED})
IN_FLIGHT = frozenset({_S.DISPATCHING, _S.RUNNING, _S.STOPPING})
OPEN = WAITING | IN_FLIGHT
FINAL = frozenset(_S) - OPEN
ENDED_BY_RESULT = frozenset({_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.STOPPED, _S.RETRYING})

_NEVER_STARTED = frozenset({_S.SKIPPED, _S.EXPIRED, _S.INVALID, _S.STOPPED})

MOVES: dict[RunState, frozenset[RunState]] = {
    _S.PLANNED: frozenset({_S.QUEUED, _S.DISPATCHING, _S.RUNNING, _S.FAILED, _S.RETRYING}) | _NEVER_STARTED,
    # A result may still come for a run that was queued again after a doubtful send.
    _S.QUEUED: frozenset({_S.QUEUED, _S.DISPATCHING, _S.RUNNING}) | _NEVER_STARTED | ENDED_BY_RESULT,
    # Back to queued: claimed, but provably never received.
    _S.DISPATCHING: frozenset(
        {_S.QUEUED, _S.DISPATCHING, _S.RUNNING, _S.STOPPING, _S.LOST, _S.SKIPPED, _S.INVALID}
    )
    | ENDED_BY_RESULT,
    _S.RUNNING: frozenset({_S.RUNNING, _S.STOPPING, _S.LOST}) | ENDED_BY_RESULT,
    _S.STOPPING: frozenset({_S.RUNNING, _S.STOPPING, _S.LOST}) | ENDED_BY_RESULT,
    # A late result corrects what was only presumed.
    _S.LOST: ENDED_BY_RESULT,
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.TIMED_OUT: frozenset(),
    _S.STOPPED: frozenset(),
    _S.RETRYING: frozenset(),
    _S.SKIPPED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.INVALID: frozenset(),
}

# By hand only, never by a result: a person says that what failed has been dealt with.
MARKABLE = frozenset({_S.FAILED, _S.TIMED_OUT, _S.LOST, _S.STOPPED})

# Only together with what that means for the next attempt (`core.late`): its executor was heard of after all.
LATE = frozenset({_S.RETRYING})

SOURCES: dict[RunState, frozenset[RunState]] = {
    to: frozenset(source for source, targets in MOVES.items() if to in targets) for to in RunState
}

PUBLIC_WORDS: dict[RunState, str] = {
    _S.PLANNED: "Enqueued",
    _S.QUEUED: "Enqueued",
    _S.DISPATCHING: "Processed",
    _S.RUNNING: "Running",
    _S.STOPPING: "Stopping",
    _S.SUCCEEDED: "Succeeded",
    _S.FAILED: "Failed",
    _S.TIMED_OUT: "Failed",
    _S.LOST: "Failed",
    _S.STOPPED: "Stopped",
    _S.RETRYING: "Retrying",
    _S.SKIPPED: "Expired",
    _S.EXPIRED: "Expired",
    _S.INVALID: "Invalid",
}


def allowed(source: RunState, target: RunState) -> bool:
    """Whether a run may move from one state to the other."""
    return target in MOVES[source]


def rank(attempt: int, state: RunState) -> tuple[bool, int]:
    """The largest of its attempts speaks for a run, or for a shard: a success is the last word, whoever reports it."""
    return state is RunState.SUCCEEDED, attempt
