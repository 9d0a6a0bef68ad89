"""What the clock on the old admin's wall showed, as instants."""

from __future__ import annotations

from datetime import UTC, date, datetime

from gateway.core.zones import EPOCH_ORDINAL, Zone
from importer.source.signs import instant_ms

_HOUR_S = 3600
_MOST_HOURS = 10_000


class WallClock:
    """Quick for many times of the same hours, as rows of a log have them."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._hours: dict[datetime, int | None] = {}

    def ms(self, moment: datetime) -> int:
        if moment.tzinfo is not None:
            return instant_ms(moment, self._zone)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if hour not in self._hours:
            if len(self._hours) >= _MOST_HOURS:
                self._hours.clear()
            self._hours[hour] = self._start_s(hour)
        start_s = self._hours[hour]
        if start_s is None:
            return instant_ms(moment, self._zone)
        return (start_s + moment.minute * 60 + moment.second) * 1000 + moment.microsecond // 1000

    def _start_s(self, hour: datetime) -> int | None:
        """None for an hour in which, or around which, the clock was changed."""
        local_s = int(hour.replace(tzinfo=UTC).timestamp())
        first, last = (self._zone.instants(at) for at in (local_s, local_s + _HOUR_S - 1))
        if len(first) == len(last) == 1 and last[0] - first[0] == _HOUR_S - 1:
            return first[0]
        return None

    def date(self, at_ms: int) -> date:
        """What the calendar beside it showed at an instant."""
        at_s = at_ms // 1000
        return date.fromordinal((at_s + self._zone.offset_s(at_s)) // 86_400 + EPOCH_ORDINAL)
