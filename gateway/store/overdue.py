"""Slots that were due but not planned when their job was changed: they keep a row, with the reason."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateway.core.confine import next_slot, schedule_of
from gateway.core.model import Job, TriggerKind
from gateway.core.ports import IdSource
from gateway.core.states import RunState

MOST = 10_000


def overdue_row(
    job: Job, now_ms: int, reason: str, ids: IdSource, present: Collection[int]
) -> dict[str, Any] | None:
    """One skipped row of `run` for all slots from the job's next fire to now that are not `present`.

    None when there are none. Counting stops at 10,000 slots (the planner must have stood still for hours);
    the row then says so.
    """
    schedule = schedule_of(job)
    slots: list[int] = []
    most = job.timing.window.max_fires
    slot = next_slot(job) if job.enabled else None
    while slot is not None and slot <= now_ms:
        if len(slots) == MOST:
            reason += f" (not counted beyond {MOST} slots)"
            break
        if most and job.fired + len(slots) >= most:
            break
        if slot not in present:
            slots.append(slot)
        slot = schedule.next_after(slot)
    if not slots:
        return None
    (run_id,) = ids.take(1)
    return {
        "id": run_id,
        "namespace_id": job.namespace_id,
        "job_id": job.id,
        "app_id": job.app_id,
        "part": job.part,
        "slot_key": slots[0],
        "root_id": run_id,
        "trigger_kind": int(TriggerKind.SCHEDULE),
        "state": int(RunState.SKIPPED),
        "priority": job.priority,
        "due_ms": slots[0],
        "created_ms": now_ms,
        "finished_ms": now_ms,
        "reason": reason,
        "last_slot_ms": slots[-1],
        "slot_count": len(slots),
    }
