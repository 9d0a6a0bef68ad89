"""Rules of repeating events (RFC 5545), as far as whole days go.

Every day of a rule's periods is looked at, never further than a last day, and each look is counted: a rule that no day
ever meets, or that repeats a billion times, costs no more than the days up to there.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

DAILY, WEEKLY, MONTHLY, YEARLY = "DAILY", "WEEKLY", "MONTHLY", "YEARLY"
_FREQUENCIES = (DAILY, WEEKLY, MONTHLY, YEARLY)
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,3}", re.ASCII)
_MOST_INTERVAL = 1000
_MOST_COUNT = 10**18
# The largest number of each list, from the end where it is negative.
_LISTS = {"BYMONTH": 12, "BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}
_OF_TIME = frozenset({"BYHOUR", "BYMINUTE", "BYSECOND"})


@dataclass(frozen=True, slots=True)
class Rule:
    """`until` is the last instant as text, as it was written; `weekdays` come with their ordinals, 0 for every one."""

    frequency: str
    interval: int = 1
    count: int | None = None
    until: str | None = None
    week_start: int = 0
    months: frozenset[int] = frozenset()
    month_days: frozenset[int] = frozenset()
    year_days: frozenset[int] = frozenset()
    weeks: frozenset[int] = frozenset()
    weekdays: frozenset[tuple[int, int]] = frozenset()
    positions: frozenset[int] = frozenset()


def parse_rule(text: str) -> Rule | str:
    """A rule, or what would be right."""
    parts: dict[str, str] = {}
    for part in text.strip().rstrip(";").upper().split(";"):
        name, equals, value = part.partition("=")
        if not equals or name in parts:
            return "parts such as FREQ=YEARLY;INTERVAL=1, each once"
        parts[name] = value
    frequency = parts.pop("FREQ", "")
    if frequency not in _FREQUENCIES:
        return "FREQ=YEARLY, MONTHLY, WEEKLY or DAILY: a calendar lists days"
    values: dict[str, frozenset[int]] = {}
    for name, most in _LISTS.items():
        found = _numbers(parts.pop(name), most) if name in parts else frozenset()
        if found is None:
            return f"{name} with numbers up to {most}, such as 1,2"
        values[name] = found
    weekdays = _weekdays(parts.pop("BYDAY", ""))
    if weekdays is None:
        return "BYDAY with days such as MO, 2TU or -1FR"
    if any(nth for nth, _ in weekdays) and (frequency in (DAILY, WEEKLY) or values["BYWEEKNO"]):
        return "BYDAY without numbers: they are for months, and for years without BYWEEKNO"
    interval = _whole(parts.pop("INTERVAL", "1"), _MOST_INTERVAL)
    if interval is None:
        return f"INTERVAL from 1 to {_MOST_INTERVAL}"
    until, told = parts.pop("UNTIL", None), parts.pop("COUNT", None)
    count = None if told is None else _whole(told, _MOST_COUNT)
    if told is not None and (count is None or until is not None):
        return "COUNT as a number from 1, and not beside UNTIL"
    week_start = parts.pop("WKST", "MO")
    if week_start not in _WEEKDAYS or (values["BYWEEKNO"] and (week_start != "MO" or frequency != YEARLY)):
        return "WKST with a day such as MO; with BYWEEKNO only FREQ=YEARLY and MO"
    if parts:
        name = min(parts)
        return f"a rule without {name[:20]}{': a calendar lists days' if name in _OF_TIME else ''}"
    return Rule(
        frequency,
        interval,
        count,
        until,
        _WEEKDAYS.index(week_start),
        values["BYMONTH"],
        values["BYMONTHDAY"],
        values["BYYEARDAY"],
        values["BYWEEKNO"],
        weekdays,
        values["BYSETPOS"],
    )


def _numbers(text: str, most: int) -> frozenset[int] | None:
    texts = text.split(",")
    if len(texts) > 2 * most or not all(map(_NUMBER.fullmatch, texts)):
        return None
    found = frozenset(map(int, texts))
    return found if all(1 <= abs(one) <= most for one in found) else None


def _weekdays(text: str) -> frozenset[tuple[int, int]] | None:
    if not text:
        return frozenset()
    found: set[tuple[int, int]] = set()
    for one in text.split(","):
        match = _BYDAY.fullmatch(one)
        if match is None or (match[1] and not 1 <= abs(int(match[1])) <= 53):
            return None
        found.add((int(match[1] or 0), _WEEKDAYS.index(match[2])))
    return frozenset(found)


def _whole(text: str, most: int) -> int | None:
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most else None
    )


def days_of_rule(rule: Rule, start: date, last: date, spend: Callable[[int], None]) -> Iterator[date]:
    """Its days from the start of the event up to `last`, in order. `spend` is told how many days are looked at."""
    rule = _filled(rule, start)
    left = rule.count
    for period in _periods(rule, start, last):
        spend(len(period))
        found = [day for day in period if _matches(rule, day)]
        if rule.positions:
            ends = {index for index in range(len(found)) if {index + 1, index - len(found)} & rule.positions}
            found = [day for index, day in enumerate(found) if index in ends]
        for day in found:
            if day < start:
                continue
            if day > last or left == 0:
                return
            yield day
            left = None if left is None else left - 1
        if left == 0:
            return


def _filled(rule: Rule, start: date) -> Rule:
    """What a rule leaves out is as it is at the start of the event."""
    if rule.weeks or rule.year_days or rule.month_days or rule.weekdays:
        return rule
    own: Mapping[str, frozenset[int] | frozenset[tuple[int, int]]] = {}
    if rule.frequency == YEARLY:
        own = {"months": rule.months or frozenset({start.month}), "month_days": frozenset({start.day})}
    elif rule.frequency == MONTHLY:
        own = {"month_days": frozenset({start.day})}
    elif rule.frequency == WEEKLY:
        own = {"weekdays": frozenset({(0, start.weekday())})}
    fields = {name: getattr(rule, name) for name in Rule.__slots__}
    return Rule(**(fields | dict(own)))


def _periods(rule: Rule, start: date, last: date) -> Iterator[list[date]]:
    """The days of each day, week, month or year that the rule comes to."""
    if rule.frequency in (DAILY, WEEKLY):
        length = 1 if rule.frequency == DAILY else 7
        first = start.toordinal() - ((start.weekday() - rule.week_start) % 7 if length == 7 else 0)
        for begin in range(first, last.toordinal() + 1, length * rule.interval):
            yield [date.fromordinal(day) for day in range(max(begin, 1), begin + length)]
    elif rule.frequency == MONTHLY:
        for number in range(start.year * 12 + start.month - 1, last.year * 12 + last.month, rule.interval):
            yield _month(number // 12, number % 12 + 1)
    else:
        months = sorted(rule.months) or range(1, 13)
        for year in range(start.year, last.year + 1, rule.interval):
            yield [day for month in months for day in _month(year, month)]


def _month(year: int, month: int) -> list[date]:
    return [date(year, month, day) for day in range(1, monthrange(year, month)[1] + 1)]


def _matches(rule: Rule, day: date) -> bool:
    if rule.months and day.month not in rule.months:
        return False
    if rule.month_days and day.day not in rule.month_days:
        from_end = day.day - monthrange(day.year, day.month)[1] - 1
        if from_end not in rule.month_days:
            return False
    if rule.year_days:
        number = day.timetuple().tm_yday
        if not {number, number - 366 - isleap(day.year)} & rule.year_days:
            return False
    if rule.weeks:
        year, week, _ = day.isocalendar()
        weeks = date(year, 12, 28).isocalendar().week
        if not {week, week - weeks - 1} & rule.weeks:
            return False
    return not rule.weekdays or any(
        weekday == day.weekday() and (nth == 0 or nth in _ordinals(rule, day))
        for nth, weekday in rule.weekdays
    )


def _ordinals(rule: Rule, day: date) -> tuple[int, int]:
    """Which one of its weekday it is, from both ends of its month, or of its year where no months are named."""
    if rule.frequency == YEARLY and not rule.months:
        number, length = day.timetuple().tm_yday, 365 + isleap(day.year)
    else:
        number, length = day.day, monthrange(day.year, day.month)[1]
    return (number - 1) // 7 + 1, -((length - number) // 7 + 1)
