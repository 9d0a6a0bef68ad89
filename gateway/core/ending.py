"""How an attempt ended, as the stages tell `complete`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.late import Correction
from gateway.core.model import NewRun
from gateway.core.states import RunState


@dataclass(slots=True, eq=False)
class End:
    """`outcome` is what happened; whether another attempt follows is decided by `complete`.

    Zero times and None texts leave the row's columns as they are. `sources` and `claim` narrow the guard. `as_owner`:
    it is this node's judgement, not an executor's word, so it counts only while the node owns the run. `is_last`: no
    attempt follows, whatever the job says. `again`: one does, whatever it says (`core.sequel`). `holds`: its place stays taken (`core.holding`).
    `late`: there is a next attempt already (`core.late`).
    """

    seed: NewRun
    outcome: RunState
    code: int = 0
    message: str | None = None
    reason: str | None = None
    sent_ms: int = 0
    answered_ms: int = 0
    finished_ms: int = 0
    sources: frozenset[RunState] | None = None
    claim: int | None = None
    as_owner: bool = False
    is_last: bool = False
    again: bool = False
    holds: bool = False
    late: Correction | None = None
