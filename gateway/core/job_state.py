"""What people are told about a job in one word."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.core.chain import is_chained
from gateway.core.model import Job
from gateway.core.schedule import is_timed

JobState: TypeAlias = Literal["enabled", "disabled", "done"]


def state_of(job: Job) -> JobState:
    """`done`: it is enabled, and every slot that its schedule will ever have has its run."""
    if not job.enabled:
        return "disabled"
    goes_on = job.next_fire_at is not None or job.chain_run_id
    return "enabled" if goes_on or not (is_timed(job.schedule) or is_chained(job)) else "done"
