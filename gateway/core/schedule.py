"""When a job is due. Schedules are values: they know no clock and answer in milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.core.cron import CronSchedule, parse_cron
from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue
from gateway.core.model import Misfire
from gateway.core.zones import Zone, resolve_zone

MIN_RATE_MS = 1000
_KINDS = ("cron", "fixed_rate", "api", "none")
_KEYS = ("kind", "expression", "timezone", "misfire")


@dataclass(frozen=True, slots=True)
class Cron:
    """Fires when the wall clock of a zone matches an expression."""

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
    """Fires at `anchor + k * every`, k = 0, 1, 2 …: late runs, restarts and edits elsewhere never move the phase."""

    every_ms: int
    anchor_ms: int
    misfire: Misfire = Misfire.SKIP

    def first_after(self, now_ms: int) -> int | None:
        return self.next_after(now_ms)

    def next_after(self, slot_ms: int) -> int | None:
        if slot_ms < self.anchor_ms:
            return self.anchor_ms
        return slot_ms + self.every_ms - (slot_ms - self.anchor_ms) % self.every_ms


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


Schedule: TypeAlias = Cron | FixedRate | Api | None_ | Union


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
    if len({member.misfire for member in members}) > 1:
        raise InvalidValue(
            f"{field}[].misfire", [member.misfire.value for member in members], "the same for the whole list"
        )
    return members[0] if len(members) == 1 else Union(tuple(members))


def require_future(schedule: Schedule, now_ms: int, *, field: str = "schedule.expression") -> None:
    """Raise InvalidValue for a time schedule, or a member of a union, that never fires after `now_ms`."""
    if isinstance(schedule, Union):
        for member in schedule.members:
            require_future(member, now_ms, field=field)
    elif isinstance(schedule, Cron) and schedule.first_after(now_ms) is None:
        raise InvalidValue(field, schedule.expression.text, "an expression that fires again within 100 years")


def _parse_one(spec: Mapping[str, Any], anchor_ms: int, default_timezone: str, field: str) -> Schedule:
    for key in spec:
        if key not in _KEYS:
            raise InvalidValue(field, key, f"the keys are {', '.join(_KEYS)}")
    kind, expression = spec.get("kind"), spec.get("expression")
    misfire = _misfire(spec.get("misfire"), f"{field}.misfire")
    zone = resolve_zone(spec.get("timezone") or default_timezone, field=f"{field}.timezone")
    match kind:
        case "cron":
            return Cron(
                parse_cron("" if expression is None else expression, field=f"{field}.expression"),
                zone,
                misfire,
            )
        case "fixed_rate":
            return FixedRate(_rate_ms(expression, f"{field}.expression"), anchor_ms, misfire)
        case "api" | "none":
            if expression not in (None, ""):
                raise InvalidValue(f"{field}.expression", expression, f"nothing, for the kind {kind!r}")
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
