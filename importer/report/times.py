"""Instants of a report, on the clock of the old admin."""

from __future__ import annotations

from collections.abc import Sequence

from importer.plan.values import Fires


class Times:
    """ISO 8601 with the offset of a zone; made for a million of them."""

    def __init__(self, zone_name: str) -> None:
        from gateway.core.zones import resolve_zone

        self._zone = resolve_zone(zone_name)
        self._days: dict[int, str] = {}
        self._times: dict[int, str] = {}
        self._offsets: dict[int, str] = {}

    def iso(self, ms: int) -> str:
        second = ms // 1000
        offset = self._zone.offset_s(second)
        day, rest = divmod(second + offset, 86_400)
        date = self._days.get(day) or self._date(day)
        time = self._times.get(rest) or self._time(rest)
        end = self._offsets.get(offset) or self._offset(offset)
        fraction = f".{ms % 1000:03}" if ms % 1000 else ""
        return f"{date}{time}{fraction}{end}"

    def isos(self, instants: Sequence[int]) -> list[str]:
        """Of ascending instants; mostly between two changes of the clocks, and of whole seconds."""
        if not instants:
            return []
        _, end, offset, _ = self._zone.span(instants[0] // 1000)
        if instants[-1] // 1000 >= end or any(ms % 1000 for ms in instants):
            return list(map(self.iso, instants))
        days, times = self._days, self._times
        behind = self._offsets.get(offset) or self._offset(offset)
        found = []
        for ms in instants:
            day, rest = divmod(ms // 1000 + offset, 86_400)
            found.append((days.get(day) or self._date(day)) + (times.get(rest) or self._time(rest)) + behind)
        return found

    def _date(self, day: int) -> str:
        from gateway.core.clock import at_offset

        text = self._days[day] = at_offset(day * 86_400_000, 0).date().isoformat()
        return text

    def _time(self, rest: int) -> str:
        text = self._times[rest] = f"T{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
        return text

    def _offset(self, offset: int) -> str:
        minutes = abs(offset) // 60
        text = self._offsets[offset] = f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
        return text


def differences(fires: Fires) -> list[tuple[int, bool]]:
    """The instants at which only one of both fires, and whether that is this scheduler; as far as both lists reach."""
    if fires.theirs is None or fires.differ_at is None:
        return []
    most = max(len(fires.ours), len(fires.theirs))
    # A list that is shorter than the other has come to its end; of two full ones, the first end is the horizon.
    horizon = min((times[-1] for times in (fires.ours, fires.theirs) if len(times) == most), default=0)
    ours, theirs = set(fires.ours), set(fires.theirs)
    return [(ms, ms in ours) for ms in sorted(ours ^ theirs) if ms <= horizon]
