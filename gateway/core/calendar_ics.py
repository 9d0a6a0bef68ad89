"""Days of iCalendar files: those of all events that are not cancelled, repeating ones up to a last year."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain

from gateway.core.errors import InvalidValue
from gateway.core.recurrence import days_of_rule, parse_rule
from gateway.core.zones import DAY_S, EPOCH_ORDINAL, Zone, resolve_zone

MOST_LOOKS = 400_000
"""Days looked at for one file, about a second's work: no rule and no length of an event takes longer."""
LAST_YEAR = 9998
_FIRST, _LAST = EPOCH_ORDINAL, date(LAST_YEAR, 12, 31).toordinal()
_WHEN_EXPECTED = "a date such as 20260131, or 20260131T080000"
_WHEN = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", re.ASCII)
_LENGTH = re.compile(
    r"P(?:(\d{1,3})W)?(?:(\d{1,3})D)?(?:T(?:(\d{1,3})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?)?", re.ASCII
)
_SEVERAL = ("EXDATE", "RDATE")
_REFUSED = ("EXRULE",)


@dataclass(frozen=True, slots=True)
class _Line:
    """A property of an event. `zone` is that of its times, None for those of no zone in particular."""

    number: int
    text: str
    value: str
    zone: Zone | None = None


@dataclass(frozen=True, slots=True)
class _When:
    """A day, and the second of it for an instant; `zone` as for a line."""

    day: date
    second: int | None
    zone: Zone | None


_Event = Mapping[str, Sequence[_Line]]


class IcsFile:
    """Raises InvalidValue with the number of the line and what would be right."""

    def __init__(self, text: str, last_year: int, field: str) -> None:
        self._text = text
        self._field = field
        self._last = date(min(last_year, LAST_YEAR), 12, 31)
        self._looks = 0
        self._line = _Line(1, "", "")
        # On whose clock days are told, if the file says so.
        self._zone: Zone | None = None

    def days(self) -> Iterator[date]:
        events = list(self._events())
        moved: dict[str, set[date]] = {}
        for event in events:
            if "RECURRENCE-ID" in event:
                line = event["RECURRENCE-ID"][0]
                moved.setdefault(_value(event, "UID"), set()).add(self._shown(self._when(line, line.value)))
        for event in events:
            yield from self._of_event(event, moved.get(_value(event, "UID"), set()))

    # ------------------------------------------------------------ lines

    def _events(self) -> Iterator[_Event]:
        event: dict[str, list[_Line]] | None = None
        nested = 0  # alarms within an event have a DURATION of their own
        begun = False
        for number, text in _unfolded(self._text):
            head, colon, value = text.partition(":")
            name, *parameters = head.split(";")
            name, value = name.upper(), value.strip()
            if not begun and (name, value.upper()) != ("BEGIN", "VCALENDAR"):
                raise self._wrong(number, text, "BEGIN:VCALENDAR as the first line")
            begun = True
            if not colon:
                raise self._wrong(number, text, "a line such as DTSTART;VALUE=DATE:20260131")
            if event is None:
                if (name, value.upper()) == ("BEGIN", "VEVENT"):
                    event, nested = {}, 0
                elif name == "X-WR-TIMEZONE":
                    self._zone = _zone(value)
            elif (name, value.upper()) == ("END", "VEVENT"):
                event.setdefault("END", []).append(_Line(number, text, value))
                yield event
                event = None
            elif name in ("BEGIN", "END"):
                nested += 1 if name == "BEGIN" else -1
            elif nested == 0:
                given = {key.upper(): told for key, _, told in (one.partition("=") for one in parameters)}
                if name == "RECURRENCE-ID" and "RANGE" in given:
                    raise self._wrong(number, text, "one event that is moved: RANGE is not read")
                event.setdefault(name, []).append(_Line(number, text, value, _zone(given.get("TZID", ""))))
        if event is not None:
            raise self._wrong(len(self._text.splitlines()), "", "END:VEVENT before the end of the file")

    def _wrong(self, number: int, text: str, expected: str) -> InvalidValue:
        return InvalidValue(
            self._field, f"line {number}: {text[:60]}" if text else f"line {number}", expected
        )

    def _spend(self, days: int) -> None:
        self._looks += days
        if self._looks > MOST_LOOKS:
            expected = f"fewer or shorter repeating events, or an earlier last year than {self._last.year}"
            raise self._wrong(self._line.number, self._line.text, expected)

    # ------------------------------------------------------------ events

    def _of_event(self, event: _Event, moved: set[date]) -> Iterator[date]:
        if _value(event, "STATUS").upper() == "CANCELLED":
            return
        for name in _REFUSED:
            if name in event:
                raise self._wrong(event[name][0].number, event[name][0].text, f"an event without {name}")
        if "DTSTART" not in event:
            raise self._wrong(event["END"][0].number, "END:VEVENT", "an event with a DTSTART")
        line = self._line = event["DTSTART"][0]
        start = self._when(line, line.value)
        length = self._length(event, start)
        if "RECURRENCE-ID" in event:
            yield from self._span(start, length)
            return
        excluded = moved | {self._shown(one) for one in self._listed(event, "EXDATE", start)}
        firsts = chain(self._repeated(event, start), self._listed(event, "RDATE", start))
        for first in firsts:
            if self._shown(first) not in excluded:
                yield from self._span(first, length)

    def _repeated(self, event: _Event, start: _When) -> Iterator[_When]:
        rules = event.get("RRULE", ())
        if not rules:
            yield start
            return
        self._line = rules[0]
        rule = parse_rule(rules[0].value) if len(rules) == 1 else "one RRULE"
        if isinstance(rule, str):
            raise self._wrong(rules[-1].number, rules[-1].text, rule)
        last = self._last
        if rule.until is not None:
            last = min(last, self._last_of(self._when(rules[0], rule.until), start))
        for day in days_of_rule(rule, start.day, last, self._spend):
            yield _When(day, start.second, start.zone)

    def _last_of(self, until: _When, start: _When) -> date:
        """The last day on which an event may begin that repeats until then."""
        if until.second is None:
            return until.day
        day, second = divmod(self._second_on(until, start.zone), DAY_S)
        return date.fromordinal(day + EPOCH_ORDINAL - (second < (start.second or 0)))

    def _listed(self, event: _Event, name: str, start: _When) -> Iterator[_When]:
        for line in event.get(name, ()):
            self._line = line
            for value in line.value.split(","):
                self._spend(1)
                when = self._when(line, value.partition("/")[0])
                # On the clock of the event, at its time of day.
                yield _When(self._on(when, start.zone), start.second, start.zone)

    def _length(self, event: _Event, start: _When) -> int:
        """How many days it takes, 1 for a part of one."""
        if "DTEND" in event:
            line = event["DTEND"][0]
            end = self._when(line, line.value)
            first, day = self._shown(start), self._shown(end)
            # It is outside; an event that ends in the course of a day takes that day with it.
            days = (day - first).days + (0 if self._is_midnight(end) else 1)
            if days < 0 or (days == 0 and day != first):
                raise self._wrong(line.number, line.text, "a range that does not end before it starts")
            return max(days, 1)
        if "DURATION" in event:
            line = event["DURATION"][0]
            match = _LENGTH.fullmatch(line.value)
            if match is None or line.value in ("P", "PT"):
                raise self._wrong(line.number, line.text, "a length such as P1D, P2W or PT8H")
            weeks, days, hours, minutes, seconds = (int(one or 0) for one in match.groups())
            second = self._second_on(start, self._zone) % DAY_S + hours * 3600 + minutes * 60 + seconds
            return max(weeks * 7 + days + -(-second // DAY_S), 1)
        return 1

    def _span(self, start: _When, length: int) -> Iterator[date]:
        self._spend(length)
        first = self._shown(start).toordinal()
        for ordinal in range(max(first, _FIRST), min(first + length, _LAST + 1)):
            yield date.fromordinal(ordinal)

    # ------------------------------------------------------------ instants

    def _when(self, line: _Line, value: str) -> _When:
        match = _WHEN.fullmatch(value.strip())
        if match is None or int(match[1]) > LAST_YEAR:
            raise self._wrong(line.number, value.strip() or line.text, _WHEN_EXPECTED)
        try:
            day = date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            raise self._wrong(line.number, value.strip(), _WHEN_EXPECTED) from None
        if match[4] is None:
            return _When(day, None, None)
        hour, minute, second = (int(match[part]) for part in (4, 5, 6))
        if hour > 23 or minute > 59 or second > 60:
            raise self._wrong(line.number, value.strip(), _WHEN_EXPECTED)
        zone = resolve_zone("UTC") if match[7] else line.zone
        return _When(day, hour * 3600 + minute * 60 + min(second, 59), zone)

    def _shown(self, when: _When) -> date:
        """The day on the clock of the calendar; as it is written where it or the calendar names no zone."""
        return self._on(when, self._zone)

    def _on(self, when: _When, zone: Zone | None) -> date:
        second = self._second_on(when, zone)
        return date.fromordinal(second // DAY_S + EPOCH_ORDINAL)

    def _is_midnight(self, when: _When) -> bool:
        return self._second_on(when, self._zone) % DAY_S == 0

    @staticmethod
    def _second_on(when: _When, zone: Zone | None) -> int:
        local_s = (when.day.toordinal() - EPOCH_ORDINAL) * DAY_S + (when.second or 0)
        if zone is None or when.zone is None or zone is when.zone:
            return local_s
        instants = when.zone.instants(local_s)
        at_s = instants[0] if instants else local_s - when.zone.offset_s(local_s)
        return at_s + zone.offset_s(at_s)


def _value(event: _Event, name: str) -> str:
    return event[name][0].value if name in event else ""


def _zone(name: str) -> Zone | None:
    """Names that are not those of zones (files may define their own) leave times as they are written."""
    try:
        return resolve_zone(name.strip('"')) if name else None
    except InvalidValue:
        return None


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; one that begins with a blank goes on with the one before."""
    first, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if parts and line[:1] in (" ", "\t"):
            parts.append(line[1:])
            continue
        if parts:
            yield first, "".join(parts)
        first, parts = number, [line] if line.strip() else []
    if parts:
        yield first, "".join(parts)
