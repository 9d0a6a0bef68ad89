"""Facts as people read them: a sentence each, and what it is made of for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.clock import at_offset
from gateway.core.zones import Zone


@dataclass(frozen=True, slots=True)
class Fact:
    """`times` are instants in milliseconds, `fields` all else."""

    kind: str
    text: str
    times: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)


def when(ms: int, zone: Zone) -> str:
    """An instant on the clock of a zone, as precise as it is."""
    precision = "milliseconds" if ms % 1000 else "seconds"
    return at_offset(ms, zone.offset_s(ms // 1000)).isoformat(timespec=precision)


def span(ms: int) -> str:
    """A length of time, in the unit that fits."""
    if abs(ms) < 1000:
        return f"{ms} ms"
    if abs(ms) < 120_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
