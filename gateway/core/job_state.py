"""What people are told about a job in one word."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from gateway.core.chain import is_chained
from gateway.core.listing import JobFilter
from gateway.core.model import Job
from gateway.core.pauses import Pause, Pauses
from gateway.core.schedule import is_timed

JobState: TypeAlias = Literal["enabled", "disabled", "paused", "done"]


def state_of(job: Job, pause: Pause | None = None) -> JobState:
    """`done`: it is enabled, and every slot that its schedule will ever have has its run. `pause`: what pauses it."""
    if not job.enabled:
        return "disabled"
    goes_on = job.next_fire_at is not None or job.chain_run_id
    if not goes_on and (is_timed(job.schedule) or is_chained(job)):
        return "done"
    return "enabled" if pause is None else "paused"


def with_state(wanted: JobFilter, state: JobState, pauses: Pauses, now_ms: int) -> JobFilter:
    """Narrowed to jobs among which all in this state are; `state_of` tells which."""
    if state == "disabled":
        return replace(wanted, enabled=False)
    if state == "done":
        return replace(wanted, enabled=True, has_next=False)
    return replace(wanted, enabled=True, paused=state == "paused", pauses=pauses.covered(now_ms))
