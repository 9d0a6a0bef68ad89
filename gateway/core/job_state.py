"""What people are told about a job in one word."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.core.model import Job
from gateway.core.schedule import is_timed

JobState: TypeAlias = Literal["enabled", "disabled", "done"]


def state_of(job: Job) -> JobState:
    """`done`: it is enabled, and every slot that its schedule will ever have has its run."""
    if not job.enabled:
        return "disabled"
    return "done" if job.next_fire_at is None and is_timed(job.schedule) else "enabled"
