"""Calendar objects: `{"dayOfWeek": "MON-FRI", "hour": [9, "12-15"], "minute": "*/20"}`, each field by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.errors import InvalidValue
from gateway.core.quartz import Field, QuartzExpression

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LAST_YEAR = 9999

# The fields in the order in which they are told, and what one that is left out means.
_FIELDS: dict[str, tuple[Field, str]] = {
    "year": (Field("year", 1970, _LAST_YEAR, _LAST_YEAR), "*"),
    "month": (Field("month", 1, 12, 12, {name: n for n, name in enumerate(_MONTHS, 1)}), "*"),
    "dayOfMonth": (Field("day of month", 1, 31, 31), "*"),
    "dayOfWeek": (Field("day of week", 0, 7, 7, {name: n for n, name in enumerate(_WEEKDAYS)}), "*"),
    "hour": (Field("hour", 0, 23, 23), "0"),
    "minute": (Field("minute", 0, 59, 59), "0"),
    "second": (Field("second", 0, 59, 59), "0"),
}
_KEYS = (*_FIELDS, "comment")
_MAX_COMMENT = 200
_MAX_MEMBERS = 100
_MEMBER = re.compile(r"(?:(\*)|(\d{1,4}|[A-Z]{3})(?:-(\d{1,4}|[A-Z]{3}))?)(?:/(\d{1,4}))?", re.ASCII)
_EVERY_HOUR = (1 << 24) - 1


class CalendarExpression(QuartzExpression):
    """A calendar object, searched like a cron expression; unlike there, both kinds of day must match."""

    __slots__ = ("_month_days",)

    def __init__(self, fields: object, *, field: str = "expression") -> None:
        """Raises InvalidValue, which names the field within, its value and what would be right."""
        if not isinstance(fields, Mapping):
            raise InvalidValue(field, fields, "an object such as {'dayOfWeek': 'MON-FRI', 'hour': 9}")
        for key in fields:
            if key not in _KEYS:
                raise InvalidValue(f"{field}.{key}", fields[key], f"the fields are {', '.join(_KEYS)}")
        comment = fields.get("comment")
        if comment is not None and not (isinstance(comment, str) and len(comment) <= _MAX_COMMENT):
            raise InvalidValue(f"{field}.comment", comment, f"a text of at most {_MAX_COMMENT} characters")
        self.text = json.dumps(dict(fields), ensure_ascii=False)
        self.notes = ()
        ranges = {name: tuple(_ranges(name, fields.get(name), f"{field}.{name}")) for name in _FIELDS}
        self._seconds = _mask(ranges["second"])
        self._minutes = _mask(ranges["minute"])
        self._hours = _mask(ranges["hour"])
        self._month_days = _mask(ranges["dayOfMonth"])
        self._months = _mask(ranges["month"])
        self._years = None if fields.get("year") in (None, "*") else ranges["year"]
        self._days = 0
        self._special_days = ()
        self._nth_weekdays = ()
        weekdays = weekdays_of(fields.get("dayOfWeek"), f"{field}.dayOfWeek")
        self._weekdays = weekdays << 1  # that dialect counts from Sunday = 1
        self._every_hour = self._hours == _EVERY_HOUR
        self._first_second = (
            _lowest(self._hours) * 3600 + _lowest(self._minutes) * 60 + _lowest(self._seconds)
        )
        self._forget()

    def _days_of(self, year: int, month: int) -> int:
        return super()._days_of(year, month) & self._month_days


def weekdays_of(value: object, field: str) -> int:
    """Weekdays alone, written as `dayOfWeek`: one bit each, Sunday the lowest. Raises InvalidValue."""
    bits = _mask(tuple(_ranges("dayOfWeek", value, field)))
    return bits & 0x7F | bits >> 7


def _ranges(name: str, value: object, path: str) -> Iterator[range]:
    field, default = _FIELDS[name]
    members = [default] if value is None else value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(members) <= _MAX_MEMBERS:
        raise InvalidValue(path, f"{len(members)} members", f"1 to {_MAX_MEMBERS} values or ranges")
    for member in members:
        if isinstance(member, str):
            for part in member.split(","):
                yield _range_of_text(field, part.strip().upper(), member, path)
        elif isinstance(member, Mapping):
            yield _range_of_object(field, member, path)
        else:
            value_of = _number(field, member, member, path)
            yield range(value_of, value_of + 1)


def _range_of_text(field: Field, text: str, shown: str, path: str) -> range:
    match = _MEMBER.fullmatch(text)
    if match is None:
        raise InvalidValue(path, shown, _expected(field))
    star, start, end, step = match.groups()
    first = field.low if star else _number(field, start, shown, path)
    last = (
        _number(field, end, shown, path)
        if end
        else first
        if step is None and not star
        else _end(field, first)
    )
    if end == "SUN" and first > last:
        last = 7
    return _range(first, last, int(step or 1), shown, path)


def _range_of_object(field: Field, member: Mapping[Any, Any], path: str) -> range:
    """`{"start", "end", "step"}`, as programs write it: without an end one value, or all up to the field's with a step."""
    for key in member:
        if key not in ("start", "end", "step"):
            raise InvalidValue(path, member, "a range has start, and may have end and step")
    first = _number(field, member.get("start"), member, path)
    step = member.get("step", 1)
    if not isinstance(step, int) or isinstance(step, bool):
        raise InvalidValue(path, member, "a step that is a whole number")
    if member.get("end") is not None:
        last = _number(field, member["end"], member, path)
    else:
        last = _end(field, first) if "step" in member else first
    return _range(first, last, step, member, path)


def _end(field: Field, first: int) -> int:
    """Where a step ends that names no end: a week ends with Saturday, unless it begins with the Sunday after it."""
    return max(first, 6) if field.high == 7 else field.high


def _range(first: int, last: int, step: int, shown: object, path: str) -> range:
    if last < first:
        raise InvalidValue(path, shown, "a range that does not end before it starts; write two ranges")
    if step < 1:
        raise InvalidValue(path, shown, "a step of 1 or more")
    return range(first, last + 1, step)


def _number(field: Field, value: object, shown: object, path: str) -> int:
    number = value
    if isinstance(value, str):
        number = int(value) if value.isdigit() else field.names.get(value.upper())
    if not isinstance(number, int) or isinstance(number, bool) or not field.low <= number <= field.high:
        raise InvalidValue(path, shown, _expected(field))
    return number


def _expected(field: Field) -> str:
    names = f" or {next(iter(field.names))} to {list(field.names)[-1]}" if field.names else ""
    return (
        f"values from {field.low} to {field.high}{names}: one, '*', a range '1-5', a step '*/2' or '1-9/2', "
        "or a list of them"
    )


def _mask(ranges: tuple[range, ...]) -> int:
    mask = 0
    for one in ranges:
        for value in one:
            mask |= 1 << value
    return mask


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
