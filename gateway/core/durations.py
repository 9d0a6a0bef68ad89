"""Durations as people write them: a number of the unit in the field's name, or text like `30s`, `1h30m`, `7 days`."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias

from gateway.core.errors import InvalidValue

Unit: TypeAlias = Literal["ms", "s", "m", "h", "d"]

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPELLINGS = {
    "ms": ("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "week", "weeks"),
}
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}

_NUMBER = re.compile(r"\d{1,18}(?:\.\d{1,9})?", re.ASCII)
_PART = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]+)\s*", re.ASCII)
_MAX_MS = 36_525 * _UNITS_MS["d"]  # a hundred years


def parse_duration_ms(value: object, *, field: str, unit: Unit = "s") -> int:
    """Whole milliseconds, zero or more. A bare number, also as text, counts `unit`. Raises InvalidValue."""
    expected = f"a duration: a number (of {unit}) or text such as '30s', '1h30m', '500ms', '7 days'"
    amount = _number_ms(value, unit) if not isinstance(value, str) else _text_ms(value.strip().lower(), unit)
    if amount is None:
        raise InvalidValue(field, value, expected)
    if amount > _MAX_MS:
        raise InvalidValue(field, value, "at most 100 years")
    if amount != int(amount):
        raise InvalidValue(field, value, "whole milliseconds")
    return int(amount)


def _number_ms(value: object, unit: Unit) -> Decimal | None:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))  # the shortest text of a float is the number that was meant
    except (InvalidOperation, ValueError):
        return None
    return number * _UNITS_MS[unit] if number.is_finite() and number >= 0 else None


def _text_ms(text: str, unit: Unit) -> Decimal | None:
    if _NUMBER.fullmatch(text):
        return Decimal(text) * _UNITS_MS[unit]
    total, at, smallest = Decimal(0), 0, _MAX_MS
    while at < len(text):
        part = _PART.match(text, at)
        size = _UNITS_MS.get(_UNIT_OF.get(part[2], "")) if part else None
        if part is None or size is None or size >= smallest:  # each unit once, from large to small
            return None
        total += Decimal(part[1]) * size
        at, smallest = part.end(), size
    return total if text else None
