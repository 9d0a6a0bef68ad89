"""The days that a named calendar lists, and how a job uses them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TypeAlias

from gateway.core.zones import EPOCH_ORDINAL


class CalendarMode(StrEnum):
    """A job fires on the listed days only, or on all others only."""

    INCLUDE = "include"
    EXCLUDE = "exclude"


@dataclass(frozen=True, slots=True)
class CalendarUse:
    name: str
    mode: CalendarMode = CalendarMode.INCLUDE


class Days:
    """Local days, counted from 1970, of no zone in particular."""

    __slots__ = ("_listed", "_ordered", "years")

    def __init__(self, days: Iterable[date]) -> None:
        found = set(days)
        self._ordered = tuple(sorted(day.toordinal() - EPOCH_ORDINAL for day in found))
        self._listed = frozenset(self._ordered)
        self.years = frozenset(day.year for day in found)

    def __len__(self) -> int:
        return len(self._ordered)

    def __contains__(self, day: int) -> bool:
        return day in self._listed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Days) and other._ordered == self._ordered

    def __hash__(self) -> int:
        return hash(self._ordered)

    def by_year(self) -> dict[str, list[str]]:
        """In order, as ISO dates."""
        found: dict[str, list[str]] = {}
        for ordinal in self._ordered:
            day = date.fromordinal(ordinal + EPOCH_ORDINAL)
            found.setdefault(f"{day.year:04}", []).append(day.isoformat())
        return found

    def listed_from(self, day: int) -> Iterator[int]:
        """The listed days from that one on, in order."""
        for index in range(bisect_left(self._ordered, day), len(self._ordered)):
            yield self._ordered[index]


class DayRule:
    """Which days the calendars of a job leave: all of them must."""

    __slots__ = ("_excluded", "_included")

    def __init__(self, uses: Sequence[CalendarUse], days: Sequence[Days]) -> None:
        pairs = list(zip(uses, days, strict=True))
        included = [one for use, one in pairs if use.mode is CalendarMode.INCLUDE]
        # A search goes along the shortest list.
        self._included = sorted(included, key=len)
        self._excluded = [one for use, one in pairs if use.mode is CalendarMode.EXCLUDE]

    def first_left(self, day: int) -> int | None:
        """The first day that is left from that one on."""
        if self._included:
            shortest, *others = self._included
            for listed in shortest.listed_from(day):
                if all(listed in one for one in others) and not self._excludes(listed):
                    return listed
            return None
        while self._excludes(day):
            day += 1
        return day

    def _excludes(self, day: int) -> bool:
        return any(day in one for one in self._excluded)


@dataclass(frozen=True, slots=True)
class Calendar:
    """A name for days. Who uses it decides whether they are included or excluded."""

    name: str
    days: Days
    description: str = ""
    version: int = 0
    created_ms: int = 0
    updated_ms: int = 0
    namespace_id: int = 1


@dataclass(frozen=True, slots=True)
class Edition:
    """Days that a calendar had for slots after one instant and up to another, 0 for until now."""

    days: Days
    from_ms: int
    until_ms: int = 0

    def holds(self, slot_ms: int) -> bool:
        return self.from_ms < slot_ms and (self.until_ms == 0 or slot_ms <= self.until_ms)


Editions: TypeAlias = Sequence[Edition]


def days_at(
    uses: Iterable[CalendarUse], editions: Mapping[str, Editions], slot_ms: int
) -> tuple[Days, ...] | None:
    """The days of each of these calendars for a slot, None where those of one of them are not known."""
    found: list[Days] = []
    for use in uses:
        held = next((one for one in editions.get(use.name, ()) if one.holds(slot_ms)), None)
        if held is None:
            return None
        found.append(held.days)
    return tuple(found)
