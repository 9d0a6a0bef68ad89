"""Pure pieces of admission: why a run must not start, and the moves that claim or skip it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from gateway.core.chain import chain_end, is_chained
from gateway.core.confine import is_slot
from gateway.core.inflight import Flight
from gateway.core.model import Job, Misfire, NewRun, TriggerKind
from gateway.core.policy import is_misfire, misfire_reason
from gateway.core.specs import Spec
from gateway.core.states import WAITING, RunState
from gateway.core.work import After, Move, Value

DELETED = "the job was deleted"
DISABLED = "the job is disabled"
OF_SCHEDULE = frozenset({TriggerKind.SCHEDULE, TriggerKind.MISFIRE})
_GRACE_MS = 60_000
CHANGED = "the schedule was changed before this slot was sent"


def why_not(run: NewRun, job: Job | None) -> str | None:
    """Why this run must not start, or None."""
    if job is None:
        return DELETED
    if not job.enabled and run.trigger_kind in OF_SCHEDULE:
        return DISABLED
    return None


def why_not_any_more(run: NewRun, spec: Spec) -> str | None:
    """Why a shard must not start whose job was changed after it was made and before its slot was due, or None.

    Shards are made a moment ahead, so that they start on time.
    """
    if run.trigger_kind is not TriggerKind.SHARD or run.slot_key < 0:
        return None
    if not run.created_ms <= spec.job.updated_ms < run.due_ms:
        return None
    if not spec.job.enabled:
        return DISABLED
    return None if is_slot(spec.job, spec.schedule, run.slot_key) else CHANGED


def why_not_back(flight: Flight, spec: Spec | None, now_ms: int) -> str | None:
    """Why a claimed run that was not sent must not wait again, or None."""
    run = flight.seed
    reason = why_not(run, spec.job if spec else None)
    ahead = run.trigger_kind is TriggerKind.SCHEDULE and run.due_ms > now_ms and run.shard <= 0
    if reason is not None or spec is None or not ahead:
        return reason
    if is_chained(spec.job) and spec.job.schedule != flight.order.job.schedule:
        return CHANGED
    return None if is_slot(spec.job, spec.schedule, run.slot_key) else CHANGED


def is_late(run: NewRun, job: Job, now_ms: int) -> bool:
    return run.trigger_kind in OF_SCHEDULE and not run.waiting_ms and is_misfire(run.due_ms, now_ms, job)


class Late:
    """Runs of the schedule that are late, of those at hand and those that still wait, by job."""

    def __init__(self, runs: Iterable[NewRun], job_of: Callable[[int], Job | None], now_ms: int) -> None:
        self._late: dict[int, list[tuple[int, int]]] = {}
        for run in runs:
            if run.trigger_kind in OF_SCHEDULE:
                job = job_of(run.job_id)
                if job is None or is_misfire(run.due_ms, now_ms, job):
                    self._late.setdefault(run.job_id, []).append((run.due_ms, run.id))
        for late in self._late.values():
            late.sort()

    def after(self, run: NewRun) -> int:
        """How many of its job are late and due after it."""
        late = self._late.get(run.job_id, [])
        return len(late) - bisect_right(late, (run.due_ms, run.id))


def late_reason(run: NewRun, job: Job, now_ms: int, late: Late | None, catch_ups: CatchUps) -> str | None:
    """Why a late run is skipped, or None for one that makes up for what was missed.

    By `fire_once` that is the last; by `fire_all` as many of the last ones as its limits allow.
    """
    after = late.after(run) if late is not None else 0
    if job.misfire is Misfire.FIRE_ONCE and after == 0 and not catch_ups.covers(run):
        return None
    # One that was planned as a catch-up was judged a moment ago.
    asked_ms = now_ms - _GRACE_MS if run.trigger_kind is TriggerKind.MISFIRE else now_ms
    if job.misfire is Misfire.FIRE_ALL and job.misfire_limits.spared([run.due_ms], asked_ms, further=after):
        return None
    return misfire_reason(run.due_ms, now_ms, job)


class CatchUps:
    """The last slot of each job that was fired late to make up for all before it.

    Slots of one outage do not always come back together: what had been claimed as it began returns when the
    claim has proved too old, which may be after the catch-up fire.
    """

    MOST = 100_000

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def note(self, run: NewRun) -> None:
        if len(self._last) >= self.MOST:
            self._last.clear()  # at worst a job fires once more after an outage
        self._last[run.job_id] = max(run.due_ms, self._last.get(run.job_id, 0))

    def covers(self, run: NewRun) -> bool:
        return run.due_ms < self._last.get(run.job_id, 0)


def skip_move(
    run: NewRun,
    reason: str,
    now_ms: int,
    job: Job | None,
    *,
    sources: frozenset[RunState] = WAITING,
    claim: int | None = None,
) -> Move:
    """It does not start; where its job is gone, it never could."""
    to = RunState.INVALID if reason == DELETED else RunState.SKIPPED
    values: dict[str, Value] = {"reason": reason, "finished_ms": now_ms}
    return Move(run.id, to, sources, values, claim=claim, chain=chain_end(run, job, now_ms))


def stop_move(run: NewRun, reason: str, now_ms: int, job: Job | None) -> Move:
    values: dict[str, Value] = {"finished_ms": now_ms, "reason": reason}
    return Move(run.id, RunState.STOPPED, WAITING, values, chain=chain_end(run, job, now_ms))


def claim_move(flight: Flight, now_ms: int, send_deadline_ms: int) -> Move:
    order = flight.order
    values: dict[str, Value] = {
        "job_version": order.job.version,
        "address": order.address,
        "dialect": order.dialect,
        "claim_token": flight.claim,
        "claimed_ms": now_ms,
        "send_deadline_ms": send_deadline_ms,
        "trigger_ms": After("due_ms", order.trigger_ms - order.due_ms),
    }
    if order.data_ms:
        values["data_ms"] = order.data_ms
    if flight.seed.reshaped:
        values["shard"] = flight.seed.shard
    return Move(
        order.run_id,
        RunState.DISPATCHING,
        WAITING,
        values,
        job_id=order.job.id,
        job_version=order.job.version,
    )
