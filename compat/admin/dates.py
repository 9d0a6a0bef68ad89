"""Dates that a call names, on the clock of the server's zone."""

from __future__ import annotations

from gateway.core.errors import InvalidValue
from gateway.core.moments import parse_moment
from gateway.core.zones import DAY_S, Zone


def span_of(text: str, zone: Zone, field: str) -> tuple[int | None, int | None]:
    """`yyyy-MM-dd HH:mm:ss - yyyy-MM-dd HH:mm:ss`, from and to in milliseconds; nothing for nothing."""
    if not text.strip():
        return None, None
    first, between, last = text.partition(" - ")
    if not between:
        raise InvalidValue(field, text[:100], "yyyy-MM-dd HH:mm:ss - yyyy-MM-dd HH:mm:ss")
    return instant(first, zone, field), instant(last, zone, field) + 1000


def instant(text: str, zone: Zone, field: str) -> int:
    """Raises `InvalidValue`."""
    try:
        return parse_moment(text, zone, field=field)
    except InvalidValue:
        raise InvalidValue(
            field, text[:100], "yyyy-MM-dd HH:mm:ss, on the clock of the server's zone"
        ) from None


def start_of(day: int, zone: Zone) -> int:
    """The instant at which a day of the zone begins, in milliseconds."""
    local = day * DAY_S
    guess = local - zone.offset_s(local)
    return (local - zone.offset_s(guess)) * 1000


def day_at(ms: int, zone: Zone) -> int:
    """The calendar day of the zone, numbered from 1970."""
    return (ms // 1000 + zone.offset_s(ms // 1000)) // DAY_S
