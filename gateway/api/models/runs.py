"""Runs and their logs."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.api.models.base import MAX_ID, MAX_RUN_ID, Answer, Instant, Iso, Paging, Query, refusal
from gateway.core.kills import ANSWER_S, KillState
from gateway.core.model import TriggerKind
from gateway.core.states import PUBLIC_WORDS, RunState

_STATES: dict[str, frozenset[RunState]] = {state.word: frozenset({state}) for state in RunState}
_STATUSES = {
    word: frozenset(state for state, public in PUBLIC_WORDS.items() if public == word)
    for word in dict.fromkeys(PUBLIC_WORDS.values())
}


def states_of(words: str) -> frozenset[RunState]:
    """The states that a comma list of state and status words names. `failed` is a state, `Failed` a status."""
    found: frozenset[RunState] = frozenset()
    for word in words.split(","):
        states = _STATES.get(word.strip()) or _STATUSES.get(word.strip())
        if states is None:
            raise refusal(f"one of {', '.join(_STATES)}; or of {', '.join(_STATUSES)}")
        found |= states
    return found


def _known_words(words: str) -> str:
    states_of(words)
    return words


_TRIGGERS = [kind.name.lower() for kind in TriggerKind]


def _known_trigger(word: str) -> str:
    if word not in _TRIGGERS:
        raise refusal(f"one of {', '.join(_TRIGGERS)}")
    return word


class RunQuery(Paging):
    job_id: int | None = Field(None, ge=1, le=MAX_ID)
    app: str | None = Field(None, description="The appname.")
    state: Annotated[str, AfterValidator(_known_words)] | None = Field(
        None,
        description=f"One or more, by comma, of the states {', '.join(_STATES)}; or statuses such as Failed.",
    )
    from_: Instant | None = Field(None, alias="from", description="Due at or after this.")
    to: Instant | None = Field(None, description="Due before this.")
    root_id: int | None = Field(
        None, ge=1, le=MAX_RUN_ID, description="All attempts and shards of this first run."
    )
    task_id: str | None = Field(
        None, max_length=128, description="All attempts of the submission of this name."
    )
    trigger: Annotated[str, AfterValidator(_known_trigger)] | None = Field(
        None, description=f"Why it exists: {', '.join(_TRIGGERS)}."
    )
    parent_id: int | None = Field(None, ge=1, le=MAX_RUN_ID, description="The run that caused it.")
    author: str | None = Field(None, description="Who asked for it: the name of a token.")


class Slots(Answer):
    """Consecutive slots that share one row because they were skipped for one reason."""

    first: Iso
    first_ms: int
    last: Iso
    last_ms: int
    count: int


class KillAnswer(Answer):
    """What became of a stop that an executor was asked for."""

    state: KillState = Field(
        description=f"asked; confirmed by a final result; or ignored: none came within {ANSWER_S} s."
    )
    asked: Iso
    asked_ms: int


class ShardCounts(Answer):
    """How far the shards of a parent are."""

    total: int
    pending: int = Field(description="Their last attempt has not ended.")
    completed: int
    succeeded: int
    failed: int
    stopped: int


class RunAnswer(Answer):
    id: int
    job_id: int
    app: str | None
    state: str
    status: str = Field(description="The public word for the state.")
    attempt: int
    shard: int
    shard_total: int
    shard_name: str | None
    root_id: int
    parent_id: int | None = Field(
        description="The run that caused this one: a parent's end, or a run run again."
    )
    trigger: str
    priority: int
    task_id: str | None = Field(
        description="The name of the chain of attempts, of the caller's choice or `run-<root_id>`; null for a slot."
    )
    slot: Iso | None = Field(description="The instant of the schedule; null for a triggered run.")
    slot_ms: int | None
    data_time: Iso | None = Field(
        description="The business time, from when the run is claimed; see `data_offset_s`."
    )
    data_time_ms: int | None
    due: Iso
    due_ms: int
    created: Iso
    created_ms: int
    expires: Iso | None = Field(description="It ends as expired if it still waits then.")
    expires_ms: int | None
    claimed: Iso | None
    claimed_ms: int | None
    sent: Iso | None
    sent_ms: int | None
    answered: Iso | None
    answered_ms: int | None
    finished: Iso | None
    finished_ms: int | None
    lateness_ms: int | None = Field(description="From due to sent.")
    result_code: int | None
    message: str | None = Field(description="What the executor said.")
    reason: str | None = Field(description="Why it is in this state, where the scheduler decided.")
    address: str | None
    addresses: list[str] | None = Field(description="Those it may run on; null for all of the app.")
    params: str | None = Field(description="Those of this run; null if it runs with the job's own.")
    rerun_id: int | None = Field(description="The run that ran this one again.")
    job_version: int | None = Field(description="The version it was claimed with.")
    slots: Slots | None
    kill: KillAnswer | None
    shards: ShardCounts | None = Field(description="Of a parent that is asked for by its id; null in lists.")


class RunList(Answer):
    """Newest first. A page may be short, or empty, and still have a `next_cursor`: follow it until it is null."""

    items: list[RunAnswer]
    next_cursor: str | None


class LogQuery(Query):
    from_line: int = Field(1, ge=1, le=2_000_000_000)


class LogAnswer(Answer):
    run_id: int
    from_line: int
    to_line: int
    content: str
    is_end: bool = Field(description="No more lines will come.")


class StopAnswer(Answer):
    run_id: int
    state: str
    status: str
    also_stopped: list[int] = Field(description="Runs of the same job on that executor that go with it.")
