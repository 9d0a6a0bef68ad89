"""Days of a calendar as people bring them: lists in JSON, CSV files, iCalendar files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Literal, TypeAlias

from gateway.core.errors import InvalidValue

Format: TypeAlias = Literal["csv", "ics", "json"]

MOST_DAYS = 40_000
MAX_TEXT = 4_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_DATE = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)", re.ASCII)
_DATE_EXPECTED = "a date such as 2026-01-31"
_ICS_DATE = re.compile(r"(\d{8})(?:T(\d{6})Z?)?", re.ASCII)
_ICS_LENGTH = re.compile(r"P(?:(\d{1,3})W)?(?:(\d{1,3})D)?", re.ASCII)


def days_of_file(text: str, format_: Format, *, field: str = "file") -> set[date]:
    """The days that a file lists. Raises InvalidValue with the number of the line and what would be right."""
    if len(text) > MAX_TEXT:
        raise InvalidValue(field, f"{len(text)} characters", f"at most {MAX_TEXT}")
    text = text.removeprefix("\ufeff")
    match format_:
        case "csv":
            found = _bounded(_of_csv(text, field), field)
        case "ics":
            found = _bounded(_of_ics(text, field), field)
        case _:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InvalidValue(field, text[:40], f"JSON: {error}") from None
            found = days_of_json(value, field=field)
    if not found:
        raise InvalidValue(field, text[:40], "at least one day")
    return found


def days_of_json(value: object, *, field: str = "days") -> set[date]:
    """After a list of dates; `{"2026": ["01-31", …]}`; or `{"2026": {"1": [31, …]}}`, by year and month."""
    return _bounded(_of_json(value, field), field)


def _bounded(days: Iterable[date], field: str) -> set[date]:
    found: set[date] = set()
    for day in days:
        found.add(day)
        if len(found) > MOST_DAYS:
            raise InvalidValue(field, f"{len(found)} days", f"at most {MOST_DAYS} days")
    return found


# ------------------------------------------------------------ JSON


def _of_json(value: object, field: str) -> Iterator[date]:
    if isinstance(value, list | tuple):
        for n, one in enumerate(value):
            yield _day(one, f"{field}[{n}]")
    elif isinstance(value, Mapping):
        for year, listed in value.items():
            if not (isinstance(year, str) and re.fullmatch(r"\d{4}", year, re.ASCII)):
                raise InvalidValue(f"{field}.{year}", year, "a year such as '2026'")
            yield from _of_year(year, listed, f"{field}.{year}")
    else:
        raise InvalidValue(field, value, "a list of dates, or an object such as {'2026': ['01-31']}")


def _of_year(year: str, listed: object, field: str) -> Iterator[date]:
    if isinstance(listed, list | tuple):
        for n, one in enumerate(listed):
            is_short = isinstance(one, str) and re.fullmatch(r"\d\d?[-/.]\d\d?", one, re.ASCII)
            day = _day(
                f"{year}-{one.replace('/', '-').replace('.', '-')}" if is_short else one, f"{field}[{n}]"
            )
            if day.year != int(year):
                raise InvalidValue(f"{field}[{n}]", one, f"a day of {year}")
            yield day
    elif isinstance(listed, Mapping):
        for month, numbers in listed.items():
            if not isinstance(numbers, list | tuple):
                raise InvalidValue(f"{field}.{month}", numbers, "a list of days of the month")
            for n, number in enumerate(numbers):
                yield _day(f"{year}-{month}-{number}", f"{field}.{month}[{n}]")
    else:
        raise InvalidValue(field, listed, "a list of days, or an object of months")


def _day(value: object, field: str) -> date:
    day = _date_of(value) if isinstance(value, str) else None
    if day is None:
        raise InvalidValue(field, value, _DATE_EXPECTED)
    return day


def _date_of(text: str) -> date | None:
    match = _DATE.fullmatch(text.strip())
    if match is None or (not match[2] and len(match[0]) != 8):
        return None
    try:
        day = date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None
    return day if _FIRST_YEAR <= day.year <= _LAST_YEAR else None


# ------------------------------------------------------------ CSV


def _of_csv(text: str, field: str) -> Iterator[date]:
    """A date at the start of each line, or two with `..` between; the first line may be a heading."""
    for number, line in enumerate(text.splitlines(), 1):
        cell = re.split("[,;\t]", line, maxsplit=1)[0].strip().strip('"').strip()
        if not cell or cell.startswith("#"):
            continue
        first, dots, last = cell.partition("..")
        start, end = _date_of(first), _date_of(last) if dots else None
        if start is None and number == 1 and not any(map(str.isdigit, cell)):
            continue  # a heading
        if start is None or (dots and end is None):
            raise InvalidValue(
                field,
                f"line {number}: {cell[:60]}",
                "a date such as 2026-01-31, or 2026-10-01..2026-10-07, as the first column",
            )
        yield from _span(start, (end or start) + timedelta(days=1), number, cell, field)


def _span(start: date, end: date, number: int, shown: str, field: str) -> Iterator[date]:
    if end <= start:
        raise InvalidValue(
            field, f"line {number}: {shown[:60]}", "a range that does not end before it starts"
        )
    day = start
    while day < end:
        yield day
        day += timedelta(days=1)


# ------------------------------------------------------------ iCalendar


def _of_ics(text: str, field: str) -> Iterator[date]:
    """The days of all events that are not cancelled."""
    event: dict[str, tuple[int, str]] | None = None
    begun = False
    for number, line in _unfolded(text):
        name, colon, value = line.partition(":")
        name = name.partition(";")[0].upper()
        if not begun and (name, value.strip().upper()) != ("BEGIN", "VCALENDAR"):
            raise InvalidValue(field, f"line {number}: {line[:60]}", "BEGIN:VCALENDAR as the first line")
        begun = True
        if not colon:
            raise InvalidValue(
                field, f"line {number}: {line[:60]}", "a line such as DTSTART;VALUE=DATE:20260131"
            )
        if name == "BEGIN" and value.strip().upper() == "VEVENT":
            event = {}
        elif name == "END" and value.strip().upper() == "VEVENT" and event is not None:
            yield from _of_event(event, number, field)
            event = None
        elif event is not None:
            event.setdefault(name, (number, value.strip()))
    if event is not None:
        raise InvalidValue(field, f"line {len(text.splitlines())}", "END:VEVENT before the end of the file")


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; one that begins with a blank goes on with the one before."""
    whole: tuple[int, str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if whole is not None and line[:1] in (" ", "\t"):
            whole = (whole[0], whole[1] + line[1:])
            continue
        if whole is not None:
            yield whole
        whole = (number, line) if line.strip() else None
    if whole is not None:
        yield whole


def _of_event(event: Mapping[str, tuple[int, str]], end_line: int, field: str) -> Iterator[date]:
    if event.get("STATUS", (0, ""))[1].upper() == "CANCELLED":
        return
    for name in ("RRULE", "RDATE"):
        if name in event:
            number, value = event[name]
            raise InvalidValue(
                field, f"line {number}: {name}:{value[:60]}", "single events: repeating ones are not read"
            )
    if "DTSTART" not in event:
        raise InvalidValue(field, f"line {end_line}: END:VEVENT", "an event with a DTSTART")
    number, value = event["DTSTART"]
    start, _ = _ics_date(value, number, field)
    end = start + timedelta(days=1)
    if "DTEND" in event:
        number, value = event["DTEND"]
        end, is_midnight = _ics_date(value, number, field)
        # It is outside; an event that ends in the course of a day takes that day with it.
        end = max(end if is_midnight else end + timedelta(days=1), start + timedelta(days=end == start))
    elif "DURATION" in event:
        number, value = event["DURATION"]
        match = _ICS_LENGTH.fullmatch(value)
        if match is None:
            raise InvalidValue(
                field, f"line {number}: DURATION:{value[:60]}", "whole days, such as P1D or P2W"
            )
        end = start + timedelta(weeks=int(match[1] or 0), days=int(match[2] or 0))
    yield from _span(start, end, number, value, field)


def _ics_date(value: str, number: int, field: str) -> tuple[date, bool]:
    match = _ICS_DATE.fullmatch(value)
    day = _date_of(match[1]) if match else None
    if match is None or day is None:
        raise InvalidValue(
            field, f"line {number}: {value[:60]}", "a date such as 20260131, or 20260131T080000"
        )
    return day, match[2] in (None, "000000")
