"""Instants as people write them: `2026-12-24 18:00:00` on the clock of a zone, ISO 8601, or milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.core.errors import InvalidValue
from gateway.core.zones import Zone

_MAX_MS = 253_402_300_799_999  # the end of the year 9999
_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*", re.ASCII)
_EXPECTED = (
    "an instant: 'yyyy-MM-dd HH:mm:ss' in the job's time zone, ISO 8601 such as 2026-12-24T18:00:00+08:00, "
    "or milliseconds since 1970"
)


def parse_moment(value: object, zone: Zone, *, field: str) -> int:
    """Milliseconds since the epoch. A local time that occurs twice is the first of both. Raises InvalidValue."""
    if isinstance(value, str):
        text = value.strip()
        if not (text.isascii() and text.isdigit()):
            return _of_text(text, value, zone, field)
        number: object = int(text[:20])
    else:
        number = value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= _MAX_MS:
        raise InvalidValue(field, value, _EXPECTED)
    return number


def _of_text(text: str, value: object, zone: Zone, field: str) -> int:
    try:
        moment = datetime.fromisoformat(text) if _DATE_AND_TIME.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidValue(field, value, _EXPECTED)
    ms = moment.microsecond // 1000
    seconds = int(moment.replace(tzinfo=moment.tzinfo or UTC, microsecond=0).timestamp())
    if moment.tzinfo is None:
        instants = zone.instants(seconds)
        if not instants:
            raise InvalidValue(
                field, value, f"a time that the clocks of {zone.name} show: they go forward over this one"
            )
        seconds = instants[0]
    at_ms = seconds * 1000 + ms
    if not 0 < at_ms <= _MAX_MS:
        raise InvalidValue(field, value, "an instant from 1970 to 9999")
    return at_ms
