"""Whether the schedules seem to be read on another clock than the old admin's."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.confine import Slots

_STEP_MS = 1_800_000
_MOST_STEPS = 52
_ENOUGH = 2


def zone_hint(differ: Sequence[tuple[Slots | None, int]], compared: int) -> str:
    """A sentence, if next times that are no slots all become slots when they are moved by the same hours."""
    if len(differ) < _ENOUGH or len(differ) * 20 < compared:
        return ""
    for step in sorted(range(-_MOST_STEPS, _MOST_STEPS + 1), key=abs):
        by_ms = step * _STEP_MS
        if step and all(
            slots is not None and slots.next_after(at_ms + by_ms - 1) == at_ms + by_ms
            for slots, at_ms in differ
        ):
            hours = f"{abs(by_ms) / 3_600_000:g} h"
            way = "behind" if step < 0 else "ahead of"
            return (
                f"the old admin's clock seems to be {hours} {way} the time zone that was taken: give its zone with "
                "--timezone"
            )
    return ""
