"""The Quartz dialect of cron as XXL-JOB speaks it: 6 or 7 fields, seconds first, weekdays 1 = Sunday.

A parsed expression is a handful of bit masks, one bit a value. `docs/cron.md` describes the dialect for
users; `tests/data/cron` holds the cases it is measured by, and where the gateway differs on purpose.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import date
from typing import Final, NamedTuple

from gateway.core.errors import InvalidValue
from gateway.core.zones import DAY_S, EPOCH_ORDINAL, Zone, next_instant

MAX_LENGTH = 1000
_LAST_YEAR = 9999
_NO_DAY = -(1 << 60)

_MONTHS = (
    *("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE"),
    *("JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
)
_WEEKDAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")


def _numbered(names: tuple[str, ...], first: int) -> dict[str, int]:
    """Full names and their three letters, numbered from `first`."""
    return {key: n for n, name in enumerate(names, first) for key in (name, name[:3])}


class Field(NamedTuple):
    """A field: its values and what a step may be."""

    name: str
    low: int
    high: int
    max_step: int
    names: Mapping[str, int] = {}


_SECOND = Field("second", 0, 59, 59)
_MINUTE = Field("minute", 0, 59, 59)
_HOUR = Field("hour", 0, 23, 23)
_DAY = Field("day of month", 1, 31, 31)
_MONTH = Field("month", 1, 12, 12, _numbered(_MONTHS, 1))
_WEEKDAY = Field("day of week", 1, 7, 7, _numbered(_WEEKDAYS, 1))
_YEAR = Field("year", 0, _LAST_YEAR, _LAST_YEAR)

_EVERY_HOUR = (1 << 24) - 1
_BLANKS = re.compile(r"[ \t\r\n]+")
_NUMBERS = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)?(?:/(\d+))?")
_NAMES = re.compile(r"([A-Z]{3,})(?:-([A-Z]{3,}))?(/\d+)?")
_SPECIAL_DAY = re.compile(r"(?:L(?:-(\d+))?|(\d+)(?=W))(W)?")
_SPECIAL_WEEKDAY = re.compile(r"(?:([1-7])|([A-Z]{3,}))(?:(L)|#([1-5]))")

# Days 1, 8, 15, 22, 29: shifted by d - 1, every day of a month that has the weekday of day d.
_SAME_WEEKDAY = 1 << 1 | 1 << 8 | 1 << 15 | 1 << 22 | 1 << 29
_IN_MONTH = tuple((1 << length + 1) - 2 for length in range(32))


class _SpecialDay(NamedTuple):
    """`L-n`, `nW` or both: a day counted from the end or the start of a month, perhaps moved to a weekday."""

    number: int
    from_end: bool
    nearest_weekday: bool


class QuartzExpression:
    """An expression, immutable but for what it remembers of the last answer."""

    __slots__ = (
        "_day_in_use",
        "_days",
        "_every_hour",
        "_first_second",
        "_hours",
        "_minutes",
        "_month_in_use",
        "_months",
        "_nth_weekdays",
        "_seconds",
        "_special_days",
        "_weekdays",
        "_years",
        "notes",
        "text",
    )

    dialect: Final = "quartz"

    def __init__(self, text: str, *, field: str = "expression") -> None:
        """Parse. What cannot be read safely raises InvalidValue, which names the part and what would be right."""
        self.text = text
        self.notes: tuple[str, ...] = ()  # where the meaning may surprise who knows XXL-JOB or Quartz
        try:
            self._parse(split_fields(text))
        except ValueError as error:
            raise InvalidValue(field, text, str(error)) from None
        self._forget()

    def __repr__(self) -> str:
        return f"QuartzExpression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuartzExpression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def _forget(self) -> None:
        self._day_in_use = _NO_DAY  # the day, counted from 1970, of the last answer
        self._month_in_use = (0, 0, 0)  # year, month and days of the last question

    def next_after(self, epoch_s: int, zone: Zone) -> int | None:
        """The first instant after `epoch_s` at which it fires; None when there is none within 100 years."""
        at = epoch_s + 1
        _, end, offset, repeats_until = zone.span(at)
        day, second = divmod(at + offset, DAY_S)
        if day == self._day_in_use and at >= repeats_until:
            found = self._second_of_day(second)
            if found >= 0:
                instant = at + found - second
                if instant < end:
                    return instant
        return next_instant(zone, epoch_s, self._next_local, both_passes=self._every_hour)

    def _next_local(self, local_s: int, last_year: int) -> int | None:
        day_number, second = divmod(local_s, DAY_S)
        today = date.fromordinal(day_number + EPOCH_ORDINAL)
        year, month, day = today.year, today.month, today.day
        if self._in_year(year) and self._months >> month & 1 and self._days_in(year, month) >> day & 1:
            found = self._second_of_day(second)
            if found >= 0:
                self._day_in_use = day_number
                return day_number * DAY_S + found
        found_day = self._next_day(year, month, day + 1, last_year)
        if found_day is None:
            return None
        self._day_in_use = found_day
        return found_day * DAY_S + self._first_second

    def _next_day(self, year: int, month: int, day: int, last_year: int) -> int | None:
        """The first matching day from that one on (a day past the month's end is fine), counted from 1970."""
        while year <= last_year:
            months = self._months >> month if self._in_year(year) else 0
            while months:
                if skipped := _lowest(months):
                    month, day = month + skipped, 1
                days = self._days_in(year, month) >> day
                if days:
                    return date(year, month, day + _lowest(days)).toordinal() - EPOCH_ORDINAL
                months >>= skipped + 1
                month, day = month + 1, 1
            year, month, day = year + 1, 1, 1
        return None

    def _second_of_day(self, second: int) -> int:
        """The first matching second of a day from that one on, or -1."""
        minute, second_left = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        if self._hours >> hour & 1:
            if self._minutes >> minute & 1:
                bits = self._seconds >> second_left
                if bits:
                    return second + (bits & -bits).bit_length() - 1
            bits = self._minutes >> minute + 1
            if bits:
                return hour * 3600 + (minute + (bits & -bits).bit_length()) * 60 + self._first_second % 60
        bits = self._hours >> hour + 1
        if bits:
            return (hour + (bits & -bits).bit_length()) * 3600 + self._first_second % 3600
        return -1

    def _in_year(self, year: int) -> bool:
        return self._years is None or any(year in years for years in self._years)

    def _days_in(self, year: int, month: int) -> int:
        """As `_days_of`, which most ask many times of the same month."""
        in_use = self._month_in_use  # one read: another thread may replace it meanwhile
        if in_use[0] == year and in_use[1] == month:
            return in_use[2]
        days = self._days_of(year, month)
        self._month_in_use = (year, month, days)
        return days

    def _days_of(self, year: int, month: int) -> int:
        """The matching days of a month, bit 1 for the first."""
        weekday, length = calendar.monthrange(year, month)
        first = (weekday + 1) % 7 + 1  # Python's Monday = 0 as this dialect's Sunday = 1
        days = self._days
        for special in self._special_days:
            days |= 1 << _special_day(special, first, length)
        bits = self._weekdays
        while bits:
            days |= _SAME_WEEKDAY << (_lowest(bits) - first) % 7
            bits &= bits - 1
        for weekday, nth in self._nth_weekdays:
            day = 1 + (weekday - first) % 7 + 7 * nth
            days |= 1 << (day if nth < 5 else day - 7 * ((day - length + 6) // 7))
        return days & _IN_MONTH[length]

    def _parse(self, fields: list[str]) -> None:
        if len(fields) not in {6, 7}:
            msg = f"it has {len(fields)} fields, not 6 or 7: second minute hour day-of-month month day-of-week [year]"
            raise ValueError(msg)
        day, weekday = fields[3], fields[5]
        if (day == "?") == (weekday == "?"):
            msg = "exactly one of day of month and day of week must be '?' (no specific value)"
            raise ValueError(msg)
        self._seconds = self._mask(_SECOND, fields[0])
        self._minutes = self._mask(_MINUTE, fields[1])
        self._hours = self._mask(_HOUR, fields[2])
        self._days = self._weekdays = 0
        self._special_days: tuple[_SpecialDay, ...] = ()
        self._nth_weekdays: tuple[tuple[int, int], ...] = ()
        if weekday == "?":
            self._parse_days(day)
        else:
            self._parse_weekdays(weekday)
        self._months = self._mask(_MONTH, fields[4])
        self._years = None
        if len(fields) == 7 and fields[6] != "*":
            self._years = tuple(_years(member) for member in _members(_YEAR, fields[6]))
        self._every_hour = self._hours == _EVERY_HOUR
        self._first_second = (
            _lowest(self._hours) * 3600 + _lowest(self._minutes) * 60 + _lowest(self._seconds)
        )

    def _mask(self, field: Field, text: str) -> int:
        mask = 0
        for member in _members(field, text):
            mask |= self._member(field, member)
        return mask

    def _member(self, field: Field, member: str) -> int:
        if match := _NUMBERS.fullmatch(member):
            return _bits(field, member, *match.groups())
        match = _NAMES.fullmatch(member)
        start = field.names.get(match[1]) if match else None
        if match is None or start is None:
            raise _bad(field, member)
        end = field.names.get(match[2]) if match[2] else start
        if end is None:
            raise _bad(field, member)
        if match[3]:
            self.notes += (f"{field.name} {member!r}: a step behind a name does nothing",)
        return _bits(field, member, str(start), str(end), None)

    def _parse_days(self, text: str) -> None:
        for member in _members(_DAY, text):
            match = _SPECIAL_DAY.fullmatch(member)
            if match is None:
                self._days |= self._member(_DAY, member)
                continue
            before_end, number, nearest = match.groups()
            if number is None:
                special = _SpecialDay(int(before_end or 0), from_end=True, nearest_weekday=bool(nearest))
                fits = special.number <= 30
            else:
                special = _SpecialDay(int(number), from_end=False, nearest_weekday=True)
                fits = 1 <= special.number <= 31
            if not fits:
                raise _bad(_DAY, member)
            self._special_days += (special,)

    def _parse_weekdays(self, text: str) -> None:
        parts = _members(_WEEKDAY, text)
        for member in parts:
            match = _SPECIAL_WEEKDAY.fullmatch(member)
            if member == "L":
                self._weekdays |= 1 << 7
            elif match is None:
                self._weekdays |= self._member(_WEEKDAY, member)
            else:
                number, name, last, nth = match.groups()
                weekday = int(number) if number else _WEEKDAY.names.get(name)
                if weekday is None:
                    raise _bad(_WEEKDAY, member)
                self._nth_weekdays += ((weekday, 5 if last else int(nth) - 1),)
        if len(parts) > 1 and any(part.endswith("L") for part in parts):
            msg = f"day of week {text!r}: 'L' cannot stand in a list"
            raise ValueError(msg)
        if len(self._nth_weekdays) > 1:
            msg = f"day of week {text!r}: a list can have one '#' only"
            raise ValueError(msg)
        if len(parts) > 1 and self._nth_weekdays:
            self.notes += (
                f"day of week {text!r}: each member counts; XXL-JOB applies the '#' to the lowest weekday only",
            )


def split_fields(text: object) -> list[str]:
    """The fields in capitals. Only plain blanks, tabs and line ends separate them."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        msg = f"a cron expression is a text of at most {MAX_LENGTH} characters"
        raise ValueError(msg)
    if not text.isascii():
        odd = next(char for char in text if not char.isascii())
        msg = f"{odd!r} is not a plain (half-width ASCII) character"
        raise ValueError(msg)
    stripped = text.strip(" \t\r\n").upper()
    return _BLANKS.split(stripped) if stripped else []


def _members(field: Field, text: str) -> list[str]:
    """The members of a list; empty ones count as typing slips, unless there is nothing else."""
    found = [member for member in text.split(",") if member]
    if not found:
        raise _bad(field, text)
    return found


def _bits(field: Field, member: str, start: str | None, end: str | None, step: str | None) -> int:
    """The values of `start-end/step`; without a start all, without an end up to the field's, if there is a step."""
    low, high = field.low, field.high
    every = int(step) if step is not None else 1
    first = int(start) if start is not None else low
    last = int(end) if end is not None else (high if start is None or step is not None else first)
    if not member or not (low <= first <= high and low <= last <= high):
        raise _bad(field, member)
    if not 1 <= every <= field.max_step:
        msg = f"{field.name} {member!r}: the step must be 1 to {field.max_step}"
        raise ValueError(msg)
    size = high - low + 1
    mask = 0
    for value in range(first, last + 1 if last >= first else last + size + 1, every):
        mask |= 1 << (value if value <= high else value - size)
    return mask


def _years(member: str) -> range:
    match = _NUMBERS.fullmatch(member)
    if match is None or not member:
        raise _bad(_YEAR, member)
    start, end, step = match.groups()
    if start is None:
        first, last = 1970, _LAST_YEAR
    else:
        first = int(start)
        last = int(end) if end else (_LAST_YEAR if step else first)
        if last < first:
            msg = f"year {member!r}: the range ends before it starts"
            raise ValueError(msg)
    every = int(step) if step else 1
    if every == 0:
        msg = f"year {member!r}: the step must be 1 or more"
        raise ValueError(msg)
    return range(first, last + 1, every)


def _special_day(special: _SpecialDay, first: int, length: int) -> int:
    """The day of a month of that length whose first day is that weekday; 0, which no month has, if missing."""
    day = length - special.number if special.from_end else special.number
    if not 1 <= day <= length:
        return 0
    if special.nearest_weekday:
        weekday = (first + day - 2) % 7 + 1
        if weekday == 7:
            return day - 1 if day > 1 else 3
        if weekday == 1:
            return day + 1 if day < length else day - 2
    return day


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _bad(field: Field, member: str) -> ValueError:
    names = f" or {next(iter(field.names))[:3]} to {list(field.names)[-1]}" if field.names else ""
    return ValueError(f"{field.name} {member!r} should hold values from {field.low} to {field.high}{names}")
