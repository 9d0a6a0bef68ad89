"""When a job is due. Schedules are values: they know no clock and answer in milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.core.calendar_spec import CalendarExpression
from gateway.core.chain import SecondDelay, parse_second_delay
from gateway.core.clock import iso_utc
from gateway.core.cron import CronSchedule, parse_cron
from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue
from gateway.core.model import Misfire
from gateway.core.moments import parse_moment
from gateway.core.zones import LAST_MS, Zone, resolve_zone

MIN_RATE_MS = 1000
_KINDS = ("cron", "fixed_rate", "second_delay", "interval", "calendar", "one_time", "api", "none")
_KEYS = ("kind", "expression", "timezone", "misfire")
# Keys of one kind only.
_OWN_KEYS = {"anchor": "fixed_rate", "offset": "interval", "rule": "second_delay"}
# Kinds that are due at instants of their own, so that they can come to an end.
_WITHOUT_TIME = ("second_delay", "api", "none")


@dataclass(frozen=True, slots=True)
class Cron:
    """Fires when the wall clock of a zone matches an expression, or a calendar object."""

    expression: CronSchedule
    timezone: Zone
    misfire: Misfire = Misfire.SKIP

    def first_after(self, now_ms: int) -> int | None:
        return self.next_after(now_ms)

    def next_after(self, slot_ms: int) -> int | None:
        found = self.expression.next_after(slot_ms // 1000, self.timezone)
        return None if found is None else found * 1000


@dataclass(frozen=True, slots=True)
class FixedRate:
    """Fires at `anchor + k * every`, k = 0, 1, 2 …: late runs, restarts and edits elsewhere never move the phase.

    An interval is one whose anchor is its offset from 1970.
    """

    every_ms: int
    anchor_ms: int
    misfire: Misfire = Misfire.SKIP

    def first_after(self, now_ms: int) -> int | None:
        return self.next_after(now_ms)

    def next_after(self, slot_ms: int) -> int | None:
        if slot_ms < self.anchor_ms:
            following = self.anchor_ms
        else:
            following = slot_ms + self.every_ms - (slot_ms - self.anchor_ms) % self.every_ms
        return following if following <= LAST_MS else None


@dataclass(frozen=True, slots=True)
class OneTime:
    """Fires once."""

    at_ms: int
    misfire: Misfire = Misfire.SKIP

    def first_after(self, now_ms: int) -> int | None:
        return self.next_after(now_ms)

    def next_after(self, slot_ms: int) -> int | None:
        return self.at_ms if slot_ms < self.at_ms else None


@dataclass(frozen=True, slots=True)
class Api:
    """Runs only when it is triggered."""

    misfire: Misfire = Misfire.SKIP

    def first_after(self, now_ms: int) -> int | None:  # noqa: ARG002 - the question is the same for all kinds
        return None

    def next_after(self, slot_ms: int) -> int | None:  # noqa: ARG002 - as above
        return None


@dataclass(frozen=True, slots=True)
class None_(Api):  # noqa: N801 - the kind is called none, and None is taken
    """Has no schedule, as XXL-JOB's NONE; it can still be triggered by hand."""


@dataclass(frozen=True, slots=True)
class Union:
    """Fires when any of its members does, once when several do at the same instant."""

    members: tuple[Schedule, ...]

    @property
    def misfire(self) -> Misfire:
        return self.members[0].misfire

    def first_after(self, now_ms: int) -> int | None:
        return min(
            (at for member in self.members if (at := member.first_after(now_ms)) is not None), default=None
        )

    def next_after(self, slot_ms: int) -> int | None:
        return min(
            (at for member in self.members if (at := member.next_after(slot_ms)) is not None), default=None
        )


Schedule: TypeAlias = Cron | FixedRate | SecondDelay | OneTime | Api | None_ | Union


def parse_schedule(
    spec: object,
    *,
    anchor_ms: int = 0,
    default_timezone: str = "UTC",
    field: str = "schedule",
) -> Schedule:
    """A schedule after `{"kind", "expression", "timezone", "misfire"}`, or the union of a list of them.

    `anchor_ms` is the first instant of a fixed rate. Raises InvalidValue with the path of the wrong field.
    """
    if isinstance(spec, Mapping):
        return _parse_one(spec, anchor_ms, default_timezone, field)
    if isinstance(spec, str) or not isinstance(spec, Sequence) or not spec:
        raise InvalidValue(
            field, spec, "an object such as {'kind': 'cron', 'expression': '0 0 2 * * ?'}, or a list"
        )
    members = []
    for n, member in enumerate(spec):
        if not isinstance(member, Mapping):
            raise InvalidValue(f"{field}[{n}]", member, "an object such as {'kind': 'cron', …}")
        members.append(_parse_one(member, anchor_ms, default_timezone, f"{field}[{n}]"))
    for n, one in enumerate(members):
        if isinstance(one, SecondDelay) and len(members) > 1:
            raise InvalidValue(
                f"{field}[{n}].kind",
                "second_delay",
                "a kind that has instants of its own: this one stands alone",
            )
    if len({member.misfire for member in members}) > 1:
        raise InvalidValue(
            f"{field}[].misfire", [member.misfire.value for member in members], "the same for the whole list"
        )
    return members[0] if len(members) == 1 else Union(tuple(members))


def require_future(
    schedule: Schedule, now_ms: int, *, field: str = "schedule.expression", enabled: bool = True
) -> None:
    """Raise InvalidValue for a time schedule, or a member of a union, that never fires after `now_ms`.

    A single time that is over is refused where nothing else is left. A job that is not `enabled` may keep one that is over.
    """
    if not enabled:
        return
    members = schedule.members if isinstance(schedule, Union) else (schedule,)
    for member in members:
        if isinstance(member, Cron) and member.first_after(now_ms) is None:
            raise InvalidValue(
                field, member.expression.text, "an expression that fires again within 100 years"
            )
    over = next((member for member in members if isinstance(member, OneTime)), None)
    if over is not None and schedule.first_after(now_ms) is None:
        raise InvalidValue(
            field, iso_utc(over.at_ms), f"an instant in the future: it is {iso_utc(now_ms)} now"
        )


def is_timed(spec: object) -> bool:
    """Whether a stored schedule is due at instants of its own."""
    if isinstance(spec, Mapping):
        return spec.get("kind") not in _WITHOUT_TIME
    return isinstance(spec, Sequence) and any(map(is_timed, spec))


def phases(spec: object) -> list[tuple[object, object]]:
    """What the phase of a stored schedule depends on: while it stays the same, so does the anchor."""
    if isinstance(spec, Mapping):
        return [(spec.get("expression"), spec.get("anchor"))] if spec.get("kind") == "fixed_rate" else []
    return [phase for member in spec for phase in phases(member)] if isinstance(spec, Sequence) else []


def zone_of(spec: Mapping[str, Any], default_timezone: str = "UTC", *, field: str = "schedule") -> Zone:
    """On whose clock a stored schedule is read. Raises InvalidValue."""
    return resolve_zone(spec.get("timezone") or default_timezone, field=f"{field}.timezone")


def _parse_one(spec: Mapping[str, Any], anchor_ms: int, default_timezone: str, field: str) -> Schedule:
    kind, expression = spec.get("kind"), spec.get("expression")
    for key in spec:
        if key not in _KEYS and key not in _OWN_KEYS:
            raise InvalidValue(field, key, f"the keys are {', '.join((*_KEYS, *_OWN_KEYS))}")
        if key in _OWN_KEYS and kind != _OWN_KEYS[key]:
            raise InvalidValue(
                f"{field}.{key}", spec[key], f"nothing: only the kind {_OWN_KEYS[key]!r} has it"
            )
    misfire = _misfire(spec.get("misfire"), f"{field}.misfire")
    zone = zone_of(spec, default_timezone, field=field)
    within = f"{field}.expression"
    match kind:
        case "cron":
            return Cron(parse_cron("" if expression is None else expression, field=within), zone, misfire)
        case "calendar":
            return Cron(CalendarExpression(expression, field=within), zone, misfire)
        case "fixed_rate":
            anchor = spec.get("anchor")
            if anchor is not None:
                anchor_ms = parse_moment(anchor, zone, field=f"{field}.anchor")
            return FixedRate(_rate_ms(expression, within), anchor_ms, misfire)
        case "interval":
            every_ms = _rate_ms(expression, within)
            return FixedRate(every_ms, _offset_ms(spec.get("offset"), every_ms, f"{field}.offset"), misfire)
        case "second_delay":
            return parse_second_delay(expression, spec.get("rule"), misfire, field)
        case "one_time":
            at_ms = parse_moment(expression, zone, field=within)
            if at_ms > LAST_MS:
                raise InvalidValue(within, expression, f"an instant up to {iso_utc(LAST_MS)}")
            return OneTime(at_ms, misfire)
        case "api" | "none":
            if expression not in (None, ""):
                raise InvalidValue(within, expression, f"nothing, for the kind {kind!r}")
            return Api(misfire) if kind == "api" else None_(misfire)
        case _:
            raise InvalidValue(f"{field}.kind", kind, f"one of {', '.join(_KINDS)}")


def _misfire(value: Any, field: str) -> Misfire:
    if value is None:
        return Misfire.SKIP
    try:
        return Misfire(value)
    except ValueError:
        raise InvalidValue(field, value, f"one of {', '.join(Misfire)}") from None


def _rate_ms(expression: object, field: str) -> int:
    every_ms = parse_duration_ms(expression, field=field)
    if every_ms < MIN_RATE_MS:
        raise InvalidValue(field, expression, "at least 1 s")
    return every_ms


def _offset_ms(offset: object, every_ms: int, field: str) -> int:
    offset_ms = 0 if offset is None else parse_duration_ms(offset, field=field)
    if offset_ms >= every_ms:
        raise InvalidValue(field, offset, "less than the interval")
    return offset_ms
