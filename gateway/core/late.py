"""What a result means that comes when there is a next attempt already.

A success is the last word, whichever attempt reports it: one that was given up without a word of its executor may be
heard of after all. Its next attempt must not start then; where it has started, its own end has no consequences.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.model import ExecutorResult, Run
from gateway.core.policy import SUCCESS_CODE, came_first
from gateway.core.retry import FAILURES
from gateway.core.sequel import Sequel
from gateway.core.states import IN_FLIGHT, WAITING, RunState
from gateway.core.work import After, Move, Value

LATE = "the result came after the run had been given up"
TRIED_AGAIN = f"{LATE} and tried again"
AFTER_ALL = "has succeeded after all"
_GIVEN_UP = frozenset({RunState.LOST, RunState.TIMED_OUT, RunState.STOPPED})


def is_unheard(run: Run) -> bool:
    """Whether it was tried again without a word of the executor that had it."""
    return run.state is RunState.RETRYING and not run.result_code and run.outcome in _GIVEN_UP


def last_of(run: Run, family: list[Run]) -> Run:
    """The attempt after which there is none yet, of the same run or shard."""
    return max((one for one in family if one.shard == run.shard), key=lambda one: one.attempt, default=run)


@dataclass(frozen=True, slots=True)
class Correction:
    """What a late result does: `beside` is a move of the last attempt, made together with that of the result or not at all.

    `state` is RETRYING where it is only written down. `before`: the end that people had been told of, None for none.
    """

    state: RunState
    reason: str
    beside: Move | None = None
    before: RunState | None = None
    ends_chain: bool = False


def correction(run: Run, result: ExecutorResult, last: Run, now_ms: int) -> Correction:
    """For a run that `is_unheard`, and the last attempt that there is."""
    late = f"{TRIED_AGAIN} (run {last.id})"
    is_success = result.code == SUCCESS_CODE and (not run.stop_asked_ms or came_first(result))
    if not is_success or last.state is RunState.SUCCEEDED or last.id == run.id:
        return Correction(RunState.RETRYING, late)
    here = frozenset({last.state})
    if last.state in WAITING:
        words = f"not started: run {run.id}, an attempt before it, {AFTER_ALL}"
        values: dict[str, Value] = {"reason": words, "finished_ms": now_ms}
        return Correction(
            RunState.SUCCEEDED, late, Move(last.id, RunState.SKIPPED, here, values), ends_chain=True
        )
    dealt_with: dict[str, Value] = {"rerun_id": run.id}
    if last.state in IN_FLIGHT:
        values = {**dealt_with, "sequel": int(Sequel.NOTHING)}
        return Correction(RunState.SUCCEEDED, late, Move(last.id, last.state, here, values))
    beside = None
    if last.state in FAILURES and not last.rerun_id:
        values = {**dealt_with, "open_part": After("open_part", 0)}  # it may keep its place
        beside = Move(last.id, last.state, here, values)
    return Correction(RunState.SUCCEEDED, late, beside, before=last.state)
