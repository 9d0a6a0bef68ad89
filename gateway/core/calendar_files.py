"""Days of a calendar as people bring them: lists in JSON, CSV files, iCalendar files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Literal, TypeAlias

from gateway.core.calendar_ics import IcsFile
from gateway.core.errors import InvalidValue

Format: TypeAlias = Literal["csv", "ics", "json"]

MOST_DAYS = 40_000
MAX_TEXT = 4_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_DATE = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)", re.ASCII)
_DATE_EXPECTED = "a date such as 2026-01-31"


def days_of_file(text: str, format_: Format, *, last_year: int, field: str = "file") -> set[date]:
    """The days that a file lists, repeating ones up to the end of `last_year`.

    Raises InvalidValue with the number of the line and what would be right.
    """
    if len(text) > MAX_TEXT:
        raise InvalidValue(field, f"{len(text)} characters", f"at most {MAX_TEXT}")
    text = text.removeprefix("\ufeff")
    match format_:
        case "csv":
            found = _bounded(_of_csv(text, field), field)
        case "ics":
            found = _bounded(IcsFile(text, last_year, field).days(), field)
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
