"""The 5-field dialect of cron (Vixie, Debian): minute hour day-of-month month day-of-week.

The fields are checked and spelled out here as plain lists of numbers; croniter then only searches, on local
times without a zone. Left to itself it reads more than this dialect has (`?`, `L`, `#`, ranges that wrap) and
takes `5-5` for the whole field.
"""

from __future__ import annotations

import re
from copy import copy
from datetime import MAXYEAR, date
from typing import Final

from croniter import CroniterBadDateError, croniter

from gateway.core.errors import InvalidValue
from gateway.core.quartz import Field, split_fields
from gateway.core.zones import DAY_S, EPOCH_ORDINAL, HORIZON_YEARS, Zone, next_instant

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_MINUTE = Field("minute", 0, 59, 59)
_HOUR = Field("hour", 0, 23, 23)
_DAY = Field("day of month", 1, 31, 31)
_MONTH = Field("month", 1, 12, 12, {name: n for n, name in enumerate(_MONTHS, 1)})
_WEEKDAY = Field("day of week", 0, 7, 7, {name: n for n, name in enumerate(_WEEKDAYS)})
_FIELDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)

_MEMBER = re.compile(r"(?:(\*)|(\d+|[A-Z]+)(?:-(\d+|[A-Z]+))?)(?:/(\d+))?")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_END_S = (date(MAXYEAR - 1, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_S


class UnixExpression:
    """An immutable expression. Costly to build (some 100 µs) and to step: keep it."""

    __slots__ = ("_every_hour", "_search", "notes", "text")

    dialect: Final = "unix"

    def __init__(self, text: str, *, field: str = "expression") -> None:
        """Parse. What this dialect does not have raises InvalidValue, which names the part and what would be right."""
        self.text = text
        self.notes: tuple[str, ...] = ()
        try:
            self._parse(split_fields(text))
        except ValueError as error:
            raise InvalidValue(field, text, str(error)) from None

    def __repr__(self) -> str:
        return f"UnixExpression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnixExpression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def next_after(self, epoch_s: int, zone: Zone) -> int | None:
        """The first instant after `epoch_s` at which it fires; None when there is none within 100 years."""
        return next_instant(zone, epoch_s, self._next_local, both_passes=self._every_hour)

    def _next_local(self, local_s: int, last_year: int) -> int | None:
        last_s = (date(last_year, 12, 31).toordinal() - EPOCH_ORDINAL + 1) * DAY_S - 1
        try:
            # A search moves the object it runs on; the copy is shallow and keeps this one shareable.
            found = int(copy(self._search).get_next(float, start_time=local_s - 1))
        except CroniterBadDateError:
            return None
        return found if found <= last_s else None

    def _parse(self, fields: list[str]) -> None:
        if len(fields) != len(_FIELDS):
            msg = f"it has {len(fields)} fields, not 5: minute hour day-of-month month day-of-week"
            raise ValueError(msg)
        minutes, hours, days, months, weekdays = (
            _values(field, text) for field, text in zip(_FIELDS, fields, strict=True)
        )
        weekdays = {weekday % 7 for weekday in weekdays}
        # Either day field matches, but as soon as one of them starts with a star both must (also with `*/2`).
        either = not (fields[2].startswith("*") or fields[4].startswith("*"))
        if not either and min(days) > max(_LONGEST[month - 1] for month in months):
            msg = f"day of month {fields[2]!r}: no such day in month {fields[3]!r}"
            raise ValueError(msg)
        if either and (len(days) == 31 or len(weekdays) == 7):
            days, weekdays = set(range(1, 32)), set(range(7))
        self._every_hour = len(hours) == 24
        spelled = " ".join(
            _spell(values, count)
            for values, count in ((minutes, 60), (hours, 24), (days, 31), (months, 12), (weekdays, 7))
        )
        self._search = croniter(
            spelled,
            start_time=0,
            day_or=either,
            max_years_between_matches=HORIZON_YEARS,
            implement_cron_bug=True,
        )


def _values(field: Field, text: str) -> set[int]:
    values: set[int] = set()
    for member in text.split(","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise _bad(field, member)
        star, start, end, step = match.groups()
        first = field.low if star else _value(field, start, member)
        last = _value(field, end, member) if end else first
        if star or (step and last == first):
            last = field.high  # `n/s`, and so `n-n/s`, goes on to the end of the field
        if last < first:
            msg = f"{field.name} {member!r}: the range ends before it starts; write two ranges"
            raise ValueError(msg)
        if step is not None and int(step) == 0:
            msg = f"{field.name} {member!r}: the step must be 1 or more"
            raise ValueError(msg)
        values.update(range(first, last + 1, int(step or 1)))
    return values


def _value(field: Field, text: str, member: str) -> int:
    value = int(text) if text.isdigit() else field.names.get(text)
    if value is None or not field.low <= value <= field.high:
        raise _bad(field, member)
    return value


def _spell(values: set[int], count: int) -> str:
    return "*" if len(values) == count else ",".join(map(str, sorted(values)))


def _bad(field: Field, member: str) -> ValueError:
    names = f" or {next(iter(field.names))} to {list(field.names)[-1]}" if field.names else ""
    return ValueError(f"{field.name} {member!r} should hold values from {field.low} to {field.high}{names}")
