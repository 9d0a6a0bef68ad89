"""When the old admin fires a cron expression, by the rules of its release."""

from __future__ import annotations

from datetime import date
from enum import Enum
from functools import lru_cache

from gateway.core.cron import CronSchedule
from gateway.core.errors import InvalidValue
from gateway.core.quartz import QuartzExpression, split_fields
from gateway.core.zones import DAY_S, EPOCH_ORDINAL, HORIZON_YEARS, Zone

_NEAR_S = 2 * DAY_S
_LAST_INSTANT_S = 250_000_000_000


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

    __slots__ = ("era",)

    def __init__(self, text: str, era: CronEra) -> None:
        """Raises `InvalidValue` for what that release refuses."""
        self.era = era
        fields = split_fields(text)
        # More than seven fields were no mistake before 3.1.0: the rest was not looked at.
        super().__init__(" ".join(fields[:7]) if era is CronEra.SINGLE else text)
        day = fields[3]
        if era is CronEra.SINGLE and "," in day:
            self._be_single(text, day)
        if era is CronEra.LAST_IS_31:
            plain = tuple(one for one in self._special_days if one == (0, True, False))
            if plain:
                self._special_days = tuple(one for one in self._special_days if one not in plain)
                self._days |= 1 << 31
        if self._nth_weekdays and self._weekdays:
            lowest = min((self._weekdays & -self._weekdays).bit_length() - 1, self._nth_weekdays[0][0])
            self._nth_weekdays = ((lowest, self._nth_weekdays[0][1]),)
            self._weekdays = 0

    def _be_single(self, text: str, day: str) -> None:
        if "L" in day:
            raise InvalidValue("expression", text, "no L in a list of days, in this release")
        if self._special_days:
            lowest = min(one.number for one in self._special_days)
            if self._days:
                lowest = min(lowest, (self._days & -self._days).bit_length() - 1)
            self._special_days = (self._special_days[0]._replace(number=lowest),)
            self._days = 0

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
            # The clocks go over it. From a landing within an hour, the rest of that hour is lost as well.
            after = zone.span(instant)
            landing = after.start + after.offset
            at = max(at + 1, after.start + -landing % 3600)
        return None


def _year(local_s: int) -> int:
    return date.fromordinal(local_s // DAY_S + EPOCH_ORDINAL).year


@lru_cache(maxsize=16_384)
def old_expression(text: str, era: CronEra) -> OldExpression | None:
    """None for what it refuses."""
    try:
        return OldExpression(text, era)
    except InvalidValue:
        return None


@lru_cache(maxsize=32_768)
def old_cron_fires(text: str, era: CronEra, zone: Zone, from_ms: int, count: int) -> tuple[int, ...] | None:
    """None where that release cannot read the expression."""
    expression = old_expression(text, era)
    return None if expression is None else _fires(expression, zone, from_ms, count)


@lru_cache(maxsize=32_768)
def our_cron_fires(expression: CronSchedule, zone: Zone, from_ms: int, count: int) -> tuple[int, ...]:
    """For jobs that share expression and zone the answer is worked out once."""
    return _fires(expression, zone, from_ms, count)


def _fires(expression: CronSchedule, zone: Zone, from_ms: int, count: int) -> tuple[int, ...]:
    found: list[int] = []
    at: int | None = from_ms // 1000
    while at is not None and len(found) < count:
        at = expression.next_after(at, zone)
        if at is not None:
            found.append(at * 1000)
    return tuple(found)
