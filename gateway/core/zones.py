"""Time zones as plain arithmetic on seconds.

Two kinds of whole seconds appear here and in the cron engines. *Instants* are Unix epoch seconds. *Local
seconds* count the same way, but on the wall clock of a zone (as if that clock showed UTC). A zone cuts the
time line into spans of constant offset, and inside a span `local = instant + offset`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.core.errors import InvalidValue

DAY_S = 86_400
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
HORIZON_YEARS = 100

# Datetimes reach from year 1 to 9999; two days of margin keep local times inside as well.
_MIN_S = (2 - EPOCH_ORDINAL) * DAY_S
_MAX_S = (date.max.toordinal() - EPOCH_ORDINAL - 2) * DAY_S
_FOREVER_S = 1 << 60
LAST_MS = _MAX_S * 1000
"""The last instant that the clocks of all zones can show: nothing is due after it."""

_BLOCK_S = 1 << 25  # offsets are looked up and kept for some 388 days at a time
_PROBE_S = 1 << 18  # three days: no zone has changed its offset twice within that (a test holds this)
_REACH_S = 2 * DAY_S  # local clocks differ by less than this from UTC and from each other

_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?([0-5]\d))?", re.ASCII)
_MAX_OFFSET_S = 18 * 3600
_MAX_NAME = 64
# Names that mean another thing on each machine, or count leap seconds.
_NOT_A_PLACE = re.compile(r"(?:posix|right)/.*|localtime|posixrules|Factory", re.DOTALL)
_EXPECTED = "an IANA time zone such as 'Asia/Shanghai', or an offset such as 'UTC+8' or 'GMT+08:00'"


class Span(NamedTuple):
    """A stretch of the time line with one offset. All are seconds; `end` is outside."""

    start: int
    end: int
    offset: int
    repeats_until: int  # before this instant the wall clock shows times it has shown already


class Zone:
    """A time zone that answers from the last span it used; equal by name."""

    __slots__ = ("_blocks", "_rules", "_span", "name")

    def __init__(self, name: str, rules: tzinfo | int) -> None:
        """A zone after `rules`: a tzinfo, or a fixed offset in seconds."""
        self.name = name
        self._blocks: dict[int, tuple[Span, ...]] = {}
        self._rules: tzinfo | None
        if isinstance(rules, int):
            self._rules = None
            self._span = Span(-_FOREVER_S, _FOREVER_S, rules, -_FOREVER_S)
        else:
            self._rules = rules
            self._span = Span(0, 0, 0, 0)  # empty: the first question loads a real one

    def __repr__(self) -> str:
        return f"Zone({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Zone) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def offset_s(self, epoch_s: int) -> int:
        """Seconds that the wall clock is ahead of UTC at that instant."""
        return self.span(epoch_s)[2]

    def span(self, epoch_s: int) -> Span:
        """A span around that instant; not always the longest possible one."""
        span = self._span  # one read: another thread may replace it meanwhile
        if span[0] <= epoch_s < span[1]:
            return span
        self._span = span = self._find(epoch_s)
        return span

    def instants(self, local_s: int) -> tuple[int, ...]:
        """The instants at which the wall clock shows that: none (skipped), one, or two (doubled), in order."""
        found = []
        at = local_s - _REACH_S
        while at <= local_s + _REACH_S:
            start, end, offset, _ = self._find(at)
            if start <= local_s - offset < end:
                found.append(local_s - offset)
            at = end
        return tuple(found)

    def _find(self, epoch_s: int) -> Span:
        if self._rules is None:
            return self._span
        number = epoch_s // _BLOCK_S
        spans = self._blocks.get(number)
        if spans is None:
            spans = self._blocks[number] = self._load(number * _BLOCK_S)
        return next(span for span in spans if epoch_s < span[1])

    def _load(self, block_start: int) -> tuple[Span, ...]:
        """The spans of a block, found by comparing offsets three days apart and halving where they differ."""
        block_end = block_start + _BLOCK_S
        at = start = repeats_until = block_start - _PROBE_S
        offset = self._probe(at)
        spans = []
        while at < block_end:
            later = self._probe(at + _PROBE_S)
            if later != offset:
                change = self._change(at, at + _PROBE_S)
                if change > block_start:
                    spans.append(Span(max(start, block_start), change, offset, repeats_until))
                start, repeats_until = change, change + max(0, offset - later)
                offset = later
            at += _PROBE_S
        if start < block_end:
            spans.append(Span(max(start, block_start), block_end, offset, repeats_until))
        return tuple(spans)

    def _change(self, before: int, after: int) -> int:
        """The first instant with the offset that holds at `after`."""
        old = self._probe(before)
        while after - before > 1:
            middle = (before + after) // 2
            if self._probe(middle) == old:
                before = middle
            else:
                after = middle
        return after

    def _probe(self, epoch_s: int) -> int:
        moment = datetime.fromtimestamp(min(max(epoch_s, _MIN_S), _MAX_S), self._rules)
        return int((moment.utcoffset() or timedelta()).total_seconds())


def resolve_zone(name: object, *, field: str = "timezone") -> Zone:
    """The zone of that name. The same object for the same name, so that its look-ups stay warm."""
    zone = _resolve(name) if isinstance(name, str) and len(name) <= _MAX_NAME else None
    if zone is None:
        raise InvalidValue(field, name, _EXPECTED)
    return zone


@lru_cache(maxsize=2048)
def _resolve(name: str) -> Zone | None:
    if match := _OFFSET.fullmatch(name.upper()):
        sign, hours, minutes = match.groups()
        offset = int(hours) * 3600 + int(minutes or 0) * 60
        if offset > _MAX_OFFSET_S:
            return None
        return Zone(name, -offset if sign == "-" else offset)
    if name.upper() in {"UTC", "GMT", "UT", "Z"}:
        return Zone(name, 0)
    if _NOT_A_PLACE.fullmatch(name):
        return None
    try:
        return Zone(name, ZoneInfo(name))  # the system's database first, then the tzdata package
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def next_instant(
    zone: Zone, after_s: int, next_local: Callable[[int, int], int | None], *, both_passes: bool
) -> int | None:
    """The first instant after `after_s` whose local time matches, by the gateway's rule for clock changes.

    `next_local(local_s, last_year)` gives the first matching local second from `local_s` on, None when there
    is none up to that year. Local times that a forward jump skips do not fire; of those that occur twice the
    first counts, or both with `both_passes`.
    """
    at = max(after_s + 1, _MIN_S)
    if at > _MAX_S:
        return None
    span = zone.span(at)
    last_year = min(_year(at + span.offset) + HORIZON_YEARS, date.max.year - 1)
    while (local := next_local(at + span.offset, last_year)) is not None:
        instant = local - span.offset
        if instant >= span.end:
            # Nothing more in this span. Far ahead the clock cannot come back to times before `local`, so
            # that all up to shortly before it can be passed over.
            near = span.end - at <= _REACH_S
            at = span.end if near else max(span.end, instant - _REACH_S)
            span = zone.span(at)
        elif instant < span.repeats_until and not both_passes:
            at = span.repeats_until
        else:
            return instant
    return None


def _year(local_s: int) -> int:
    return date.fromordinal(local_s // DAY_S + EPOCH_ORDINAL).year
