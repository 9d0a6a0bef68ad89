"""When the old admin fires a cron expression, by the rules of its release."""

from __future__ import annotations

import calendar
from datetime import date
from enum import Enum
from functools import lru_cache

from gateway.core.cron import CronSchedule, parse_cron
from gateway.core.errors import InvalidValue
from gateway.core.quartz import QuartzExpression, split_fields
from gateway.core.zones import DAY_S, EPOCH_ORDINAL, HORIZON_YEARS, Zone

_NEAR_S = 2 * DAY_S
_LAST_INSTANT_S = 250_000_000_000
_MOST_TIMES = 288
_UTC = Zone("UTC", 0)


class CronEra(Enum):
    """Releases whose cron class answers alike, with what tells them apart."""

    # Quartz's own, and the copy of it up to 3.0.0: no list with L, in a list with W only the lowest day counts.
    SINGLE = "1.2.0 to 3.0.0"
    # L means the 31st: months without one are skipped.
    LAST_IS_31 = "3.1.0 to 3.3.2"
    LISTS = "3.4.0 and later"


_STARTS = ((CronEra.SINGLE, (0,)), (CronEra.LAST_IS_31, (3, 1)), (CronEra.LISTS, (3, 4)))


def eras(first: tuple[int, ...], last: tuple[int, ...]) -> tuple[CronEra, ...]:
    """Those that releases from `first` to `last` belong to."""
    ends = [start for _, start in _STARTS[1:]] + [(99,)]
    return tuple(
        era for (era, start), end in zip(_STARTS, ends, strict=True) if start <= last and first < end
    )


class OldExpression(QuartzExpression):
    """An expression as the old admin understands it."""

    __slots__ = ("_has_weekdays", "era", "is_plain")

    def __init__(self, text: str, era: CronEra) -> None:
        """Raises `InvalidValue` for what that release refuses."""
        self.era = era
        fields = split_fields(text)
        # More than seven fields were no mistake before 3.1.0: the rest was not looked at.
        super().__init__(" ".join(fields[:7]) if era is CronEra.SINGLE else text)
        day = fields[3]
        self.is_plain = True
        if era is CronEra.SINGLE and "," in day:
            self._be_single(text, day)
        if era is CronEra.LAST_IS_31:
            plain = tuple(one for one in self._special_days if one == (0, True, False))
            if plain:
                self._special_days = tuple(one for one in self._special_days if one not in plain)
                self._days |= 1 << 31
                self.is_plain = False
        if self._nth_weekdays and self._weekdays:
            lowest = min((self._weekdays & -self._weekdays).bit_length() - 1, self._nth_weekdays[0][0])
            self._nth_weekdays = ((lowest, self._nth_weekdays[0][1]),)
            self._weekdays = 0
            self.is_plain = False
        self._has_weekdays = any(one.nearest_weekday for one in self._special_days)
        self.is_plain = self.is_plain and not self._has_weekdays

    def _be_single(self, text: str, day: str) -> None:
        if "L" in day:
            raise InvalidValue("expression", text, "no L in a list of days, in this release")
        if self._special_days:
            lowest = min(one.number for one in self._special_days)
            if self._days:
                lowest = min(lowest, (self._days & -self._days).bit_length() - 1)
            self._special_days = (self._special_days[0]._replace(number=lowest),)
            self._days = 0

    def _days_of(self, year: int, month: int) -> int:
        days = super()._days_of(year, month)
        if self.era is CronEra.SINGLE and self._special_days:
            length = calendar.monthrange(year, month)[1]
            # A day that the month does not have is the first of the next: from a Saturday there it moves back.
            if (length + 1, False, True) in self._special_days and date(year, month, length).weekday() == 4:
                days |= 1 << length
        return days

    def _next_local(self, local_s: int, last_year: int) -> int | None:
        if self.era is CronEra.SINGLE or not self._has_weekdays:
            return super()._next_local(local_s, last_year)
        day, second = divmod(local_s, DAY_S)
        today = date.fromordinal(day + EPOCH_ORDINAL)
        time = self._second_of_day(second)
        if self._fits(today) and time >= 0 and not self._is_lost(today):
            return day * DAY_S + time
        if time < 0:
            day, time = day + 1, self._first_second
        start = date.fromordinal(day + EPOCH_ORDINAL)
        first = start.day + 1 if start == today else start.day
        found = self._next_day(start.year, start.month, first, last_year)
        if found is None:
            return None
        there = date.fromordinal(found + EPOCH_ORDINAL)
        # On the way to a W day of the same month the time of day that was reached is kept.
        is_near = (there.year, there.month) == (start.year, start.month) and self._in_month(start)
        is_kept = is_near and not self._days >> there.day & 1 and not self._is_last(there)
        return found * DAY_S + (time if is_kept else self._first_second)

    def _is_last(self, day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        return any(one == (length - day.day, True, False) for one in self._special_days)

    def _in_month(self, day: date) -> bool:
        return self._in_year(day.year) and bool(self._months >> day.month & 1)

    def _fits(self, day: date) -> bool:
        return self._in_month(day) and bool(self._days_of(day.year, day.month) >> day.day & 1)

    def _is_lost(self, day: date) -> bool:
        """Whether that is where a W day was moved to from a day before: what that was is over then."""
        length = calendar.monthrange(day.year, day.month)[1]
        for special in self._special_days:
            number = length - special.number if special.from_end else special.number
            if special.nearest_weekday and 0 < number < day.day <= number + 2:
                return date(day.year, day.month, number).weekday() >= 5
        return False

    def next_after(self, epoch_s: int, zone: Zone) -> int | None:
        """By the rule of Java's calendar: skipped local times do not fire, doubled ones once, when they come again."""
        at = epoch_s + 1
        last_year: int | None = None
        while at < _LAST_INSTANT_S:
            span = zone.span(at)
            local = at + span.offset
            if last_year is None:
                last_year = min(_year(local) + HORIZON_YEARS, date.max.year - 1)
            found = self._next_local(local, last_year)
            if found is None:
                return None
            instant = found - span.offset
            if instant + _NEAR_S < span.end and at >= span.repeats_until:
                return instant
            instants = zone.instants(found)
            if instants and instants[-1] > epoch_s:
                return instants[-1]
            if instants:
                at = span.end
                continue
            at = max(at + 1, _over_gap(found, local, span.offset, zone))
        return None


def _over_gap(found: int, local: int, offset: int, zone: Zone) -> int:
    """From where Java's calendar goes on when the clocks go over a local time that was found from `local`.

    It shows skipped times as they would be without the change. A new hour is set first, with its first minute; one that
    does not show itself then is passed over as a whole, also where the clocks land within it.
    """
    hour = found // 3600 * 3600
    if hour <= local or zone.instants(hour):
        return found - offset
    lenient = hour - offset
    if (lenient + zone.offset_s(lenient)) // 3600 * 3600 == hour:
        return lenient
    return (zone.instants(hour + 3600) or (lenient,))[-1]


def _year(local_s: int) -> int:
    return date.fromordinal(local_s // DAY_S + EPOCH_ORDINAL).year


@lru_cache(maxsize=16_384)
def old_expression(text: str, era: CronEra) -> OldExpression | None:
    """None for what it refuses."""
    try:
        return OldExpression(text, era)
    except (InvalidValue, ValueError):
        return None


@lru_cache(maxsize=32_768)
def old_cron_fires(text: str, era: CronEra, zone: Zone, from_ms: int, count: int) -> tuple[int, ...] | None:
    """None where that release cannot read the expression."""
    expression = old_expression(text, era)
    if expression is None:
        return None
    if expression.is_plain:
        # What it names is read alike there and here, so that only clock changes can make a difference.
        ours = our_cron_fires(parse_cron(" ".join(split_fields(text)[:7])), zone, from_ms, count)
        if len(ours) == count and ours[-1] < first_change_ms(zone, from_ms):
            return ours
    return _fires(expression, zone, from_ms, count)


@lru_cache(maxsize=32_768)
def our_cron_fires(expression: CronSchedule, zone: Zone, from_ms: int, count: int) -> tuple[int, ...]:
    """For jobs that share expression and zone the answer is worked out once."""
    return fires_by_days(expression, zone, from_ms, count) or _fires(expression, zone, from_ms, count)


def fires_by_days(expression: CronSchedule, zone: Zone, from_ms: int, count: int) -> tuple[int, ...] | None:
    """Where the clocks do not change: the days that it names, which many share, with the times of day that it names.

    None where that does not tell.
    """
    if type(expression) is not QuartzExpression:
        return None
    fields = split_fields(expression.text)
    times = _times_of_day(" ".join(fields[:3]))
    from_s = from_ms // 1000
    offset = zone.offset_s(from_s)
    today, second = divmod(from_s + offset, DAY_S)
    found: list[int] = []
    for day in _days_from(" ".join(fields[3:]), today, count + 1) if times else ():
        midnight = day * DAY_S - offset
        found += [(midnight + one) * 1000 for one in times if day > today or one > second]
        if len(found) >= count:
            break
    if len(found) < count or found[count - 1] >= first_change_ms(zone, from_ms):
        return None
    return tuple(found[:count])


@lru_cache(maxsize=4096)
def _days_from(fields: str, day: int, count: int) -> tuple[int, ...]:
    instants = _fires(QuartzExpression(f"0 0 0 {fields}"), _UTC, (day * DAY_S - 1) * 1000, count)
    return tuple(ms // 1000 // DAY_S for ms in instants)


@lru_cache(maxsize=16_384)
def _times_of_day(fields: str) -> tuple[int, ...]:
    """None of them where there are so many that others are quicker found one by one."""
    expression = QuartzExpression(f"{fields} * * ?")
    found: list[int] = []
    at = expression.next_after(-1, _UTC)
    while at is not None and at < DAY_S:
        found.append(at)
        if len(found) > _MOST_TIMES:
            return ()
        at = expression.next_after(at, _UTC)
    return tuple(found)


@lru_cache(maxsize=1024)
def first_change_ms(zone: Zone, from_ms: int) -> int:
    """Before this instant, and two days more, the clocks of the zone do not change; the search ends after 100 years."""
    at = from_ms // 1000
    end = at + HORIZON_YEARS * 366 * DAY_S
    offset = zone.offset_s(at)
    if at < zone.span(at).repeats_until:
        return 0
    while at < end and zone.span(at).offset == offset:
        at = zone.span(at).end
    return (at - _NEAR_S) * 1000


def _fires(expression: CronSchedule, zone: Zone, from_ms: int, count: int) -> tuple[int, ...]:
    found: list[int] = []
    at: int | None = from_ms // 1000
    while at is not None and len(found) < count:
        at = expression.next_after(at, zone)
        if at is not None:
            found.append(at * 1000)
    return tuple(found)
