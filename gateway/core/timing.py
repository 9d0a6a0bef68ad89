"""What bounds a job's schedule as a whole: its window, exclusions, calendar, jitter, data offset. Values of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from gateway.core.calendar_days import CalendarMode, CalendarUse
from gateway.core.exclusions import Exclusion, parse_exclusion
from gateway.core.zones import resolve_zone

MAX_JITTER_MS = 86_400_000
_UTC = resolve_zone("UTC")


@dataclass(frozen=True, slots=True)
class Window:
    """From `start_ms` to `end_ms`, outside; at most `max_fires` slots. 0 for none."""

    start_ms: int = 0
    end_ms: int = 0
    max_fires: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    window: Window = Window()
    exclusions: tuple[Exclusion, ...] = ()
    calendars: tuple[CalendarUse, ...] = ()
    jitter_ms: int = 0
    data_offset_s: int | None = None

    @property
    def bounds(self) -> tuple[object, ...]:
        """What decides which instants are slots."""
        return self.window, self.exclusions, self.calendars

    def due_ms(self, job_id: int, slot_ms: int) -> int:
        """When a slot's run is due: later by a part of the jitter that is always the same for this slot."""
        if not self.jitter_ms:
            return slot_ms
        digest = blake2b(b"%d/%d" % (job_id, slot_ms), digest_size=8).digest()
        return slot_ms + int.from_bytes(digest) % (self.jitter_ms + 1)


PLAIN = Timing()


def stored(timing: Timing) -> dict[str, Any]:
    """As the definition of a job keeps it: without what is not used."""
    window = {name: getattr(timing.window, name) for name in ("start_ms", "end_ms", "max_fires")}
    found: dict[str, Any] = {
        "window": {name: value for name, value in window.items() if value},
        "exclusions": [one.stored() for one in timing.exclusions],
        "jitter_ms": timing.jitter_ms,
    }
    found = {name: value for name, value in found.items() if value}
    if timing.calendars:
        # Apart from the first, since there was but one in earlier versions.
        found["calendar"], *others = [{"name": use.name, "mode": use.mode.value} for use in timing.calendars]
        if others:
            found["calendars"] = others
    if timing.data_offset_s is not None:
        found["data_offset_s"] = timing.data_offset_s
    return found


def timing_of(kept: Mapping[str, Any]) -> Timing:
    """What `stored` has made."""
    if not kept:
        return PLAIN
    calendars = [kept["calendar"], *kept.get("calendars", ())] if "calendar" in kept else []
    return Timing(
        window=Window(**kept.get("window", {})),
        exclusions=tuple(
            parse_exclusion(one, _UTC, field="exclusions") for one in kept.get("exclusions", ())
        ),
        calendars=tuple(CalendarUse(one["name"], CalendarMode(one["mode"])) for one in calendars),
        jitter_ms=kept.get("jitter_ms", 0),
        data_offset_s=kept.get("data_offset_s"),
    )
