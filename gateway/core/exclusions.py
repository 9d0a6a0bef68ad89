"""Stretches of time in which a job has no slots: of every day, of some weekdays, or once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.core.calendar_spec import weekdays_of
from gateway.core.errors import InvalidValue
from gateway.core.moments import parse_moment
from gateway.core.zones import DAY_S, Zone

MOST = 50
MAX_COMMENT = 200
_EVERY_DAY = 0x7F
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?", re.ASCII)
_TIME_EXPECTED = "a time of day such as '22:00', up to '24:00'"


@dataclass(frozen=True, slots=True)
class Daily:
    """From a time of day to another, outside; past midnight if that is not later. `weekdays` are those of its start."""

    from_: str
    to: str
    from_s: int
    to_s: int
    days: int = _EVERY_DAY  # one bit a weekday, Sunday the lowest
    weekdays: str | None = None
    comment: str = ""

    def end_ms(self, at_ms: int, zone: Zone) -> int | None:
        """If that instant is excluded, one after it up to which all are."""
        at_s = at_ms // 1000
        _, span_end, offset, _ = zone.span(at_s)
        day, second = divmod(at_s + offset, DAY_S)
        wraps = self.to_s <= self.from_s
        if second >= self.from_s and (wraps or second < self.to_s) and self._has(day):
            left_s = self.to_s - second + (DAY_S if wraps else 0)
        elif wraps and second < self.to_s and self._has(day - 1):
            left_s = self.to_s - second
        else:
            return None
        return min(at_s + left_s, span_end) * 1000

    def _has(self, day: int) -> bool:
        return bool(self.days >> (day + 4) % 7 & 1)  # 1 January 1970 was a Thursday

    def stored(self) -> dict[str, Any]:
        found = {"from": self.from_, "to": self.to, "weekdays": self.weekdays, "comment": self.comment}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Once:
    """From an instant to another, outside."""

    from_ms: int
    to_ms: int
    comment: str = ""

    def end_ms(self, at_ms: int, zone: Zone) -> int | None:  # noqa: ARG002 - the question is the same for both
        return self.to_ms if self.from_ms <= at_ms < self.to_ms else None

    def stored(self) -> dict[str, Any]:
        found = {"from": self.from_ms, "to": self.to_ms, "comment": self.comment}
        return {name: value for name, value in found.items() if value}


Exclusion: TypeAlias = Daily | Once


def parse_exclusion(spec: Mapping[str, Any], zone: Zone, *, field: str) -> Exclusion:
    """After `{"from", "to", "weekdays", "comment"}`. Raises InvalidValue with the path of the wrong field."""
    start, end, weekdays = spec.get("from"), spec.get("to"), spec.get("weekdays")
    comment = spec.get("comment") or ""
    if isinstance(start, str) and _TIME.fullmatch(start):
        from_s, to_s = _second_of(start, f"{field}.from"), _second_of(end, f"{field}.to")
        if from_s == to_s:
            raise InvalidValue(f"{field}.to", end, "another time than from; a whole day is 00:00 to 24:00")
        if from_s == DAY_S:
            raise InvalidValue(f"{field}.from", start, "a time of day before 24:00")
        days = _EVERY_DAY if weekdays is None else weekdays_of(weekdays, f"{field}.weekdays")
        return Daily(start, str(end), from_s, to_s, days, weekdays, comment)
    if weekdays is not None:
        raise InvalidValue(f"{field}.weekdays", weekdays, "nothing: only times of day have weekdays")
    from_ms, to_ms = (
        parse_moment(value, zone, field=f"{field}.{name}") for name, value in (("from", start), ("to", end))
    )
    if to_ms <= from_ms:
        raise InvalidValue(f"{field}.to", end, "an instant after from")
    return Once(from_ms, to_ms, comment)


def _second_of(value: object, field: str) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        hour, minute, second = (int(part or 0) for part in match.groups())
        total = hour * 3600 + minute * 60 + second
        if minute < 60 and second < 60 and total <= DAY_S:
            return total
    raise InvalidValue(field, value, _TIME_EXPECTED)
