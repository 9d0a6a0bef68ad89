"""What people are told of a calendar that was changed after the instant they ask about."""

from __future__ import annotations

from gateway.core.facts import Fact, when
from gateway.core.model import Job
from gateway.core.zones import Zone


def changed_since(job: Job, changed_ms: int, zone: Zone) -> Fact:
    """The days of then are known."""
    text = (
        f"Calendar {_names(job)} was changed at {when(changed_ms, zone)}, after that: its days of then count."
    )
    return Fact("calendar", text, {"changed": changed_ms})


def not_kept(job: Job, changed_ms: int, zone: Zone) -> str:
    return (
        f"Nothing is known of it any more: calendar {_names(job)} was changed at {when(changed_ms, zone)}, "
        "and its days of that time are not kept."
    )


def _names(job: Job) -> str:
    return " or ".join(repr(use.name) for use in job.timing.calendars)
