"""What people are told of a second_delay: how its runs follow each other, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.chain import delay_of
from gateway.core.confine import next_slot
from gateway.core.facts import Fact, span, when
from gateway.core.model import Job
from gateway.core.zones import Zone


def chain_fact(job: Job) -> Fact:
    text = f"second_delay: each run is due {span(delay_of(job))} after the end of the one before."
    return Fact("schedule", text, fields={"schedule": "second_delay", "delay_ms": delay_of(job)})


def ahead_facts(job: Job, now: Job | None, zone: Zone) -> Iterator[Fact]:
    """Of the version in force, and of the job as it is now: None if it is deleted."""
    yield chain_fact(job)
    if now is None:
        return
    next_ms, most = next_slot(now), now.timing.window.max_fires
    if next_ms is not None:
        due_ms = now.timing.due_ms(now.id, next_ms)
        yield Fact("next", f"Its next run is due at {when(due_ms, zone)}.", {"next": due_ms})
    elif 0 < most <= now.fired:
        yield Fact("maximum", f"Its maximum of {most} fires is reached.", fields={"max_fires": most})
