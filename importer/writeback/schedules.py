"""A schedule in XXL-JOB's words, and whether the old admin would fire as this scheduler does."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.clock import iso_utc
from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue
from gateway.core.schedule import Schedule, parse_schedule
from importer.plan.notes import Notes
from importer.plan.old_fires import COUNT, old_fires
from importer.plan.values import Verdict
from importer.source.values import SourceJob
from importer.writeback.values import Answer, Shape

_MOST_S = (1 << 31) - 1
# What an import writes into a description where no schedule here can hold what a job has there.
_KEPT = re.compile(r"Schedule in XXL-JOB: ([^'\"]*?)(?: ?('.*'|\".*\"))?")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """`type` and `conf` of its row, and the next instant. `exact`: the old admin fires as this scheduler does.

    `from_description`: it is what an import had put there.
    """

    type: str
    conf: str | None
    exact: bool = True
    next_ms: int = 0
    from_description: bool = False


_NONE = Told("NONE", "", exact=False)


def told(answer: Answer, shape: Shape, notes: Notes) -> Told:
    schedules = answer["schedule"]
    if isinstance(schedules, list):
        if len(schedules) > 1:
            why = "a job has one schedule there: it gets none, and stays stopped"
            notes.dropped("schedule", f"{len(schedules)} schedules", why, Verdict.CHANGED)
            return _NONE
        schedules = schedules[0]
    spec = _spec(schedules)
    kind = spec["kind"]
    if kind == "none":
        return _kept(answer) or Told("NONE", "")
    if kind == "api":
        notes.note(
            "schedule.kind", kind, "NONE", "it runs when it is triggered, as a job of the type NONE does"
        )
        return Told("NONE", "")
    if kind == "cron":
        return _cron(answer, spec, shape, notes)
    if kind in ("fixed_rate", "second_delay"):
        return _seconds(answer, spec, shape, notes)
    why = "there is nothing like it there: the job gets no schedule, and stays stopped"
    notes.dropped("schedule.kind", f"{kind} {spec.get('expression')}", why, Verdict.CHANGED, "NONE")
    return _NONE


def _spec(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """As the store keeps it."""
    names = ("kind", "expression", "timezone", "offset", "misfire", "rule")
    found = {name: schedule[name] for name in names if schedule.get(name) is not None}
    return found if schedule.get("anchor_ms") is None else {**found, "anchor": schedule["anchor_ms"]}


def _kept(answer: Answer) -> Told | None:
    """What the job had in XXL-JOB and could not be read: it goes back as it was."""
    found = _KEPT.fullmatch(answer["description"].partition("\n")[0])
    if found is None or not any(found.groups()):
        return None
    try:
        conf = ast.literal_eval(found[2]) if found[2] else None
    except (ValueError, SyntaxError):
        return None
    return Told(found[1] or "CRON", conf, exact=False, from_description=True)


# ------------------------------------------------------------ kinds


def _cron(answer: Answer, spec: Spec, shape: Shape, notes: Notes) -> Told:
    text = str(spec["expression"])
    if len(text.split()) == 5:
        six = _six_fields(text)
        if six is None:
            why = "both a day of the month and a weekday, either of which fires: there one of them is '?'"
            notes.dropped(
                "schedule.expression", text, f"{why}; the job gets no schedule", Verdict.CHANGED, "NONE"
            )
            return _NONE
        notes.note("schedule.expression", text, six, "XXL-JOB reads 6 or 7 fields, seconds first")
        text = six
    room = shape.room.get(("info", "schedule_conf"), len(text))
    if len(text) > room:
        why = f"there is room for {room} characters: the job gets no schedule, and stays stopped"
        notes.dropped("schedule.expression", text, why, Verdict.CHANGED, "NONE")
        return _NONE
    return _judged(answer, spec, Told("CRON", text), shape, notes)


def _seconds(answer: Answer, spec: Spec, shape: Shape, notes: Notes) -> Told:
    is_rate = spec["kind"] == "fixed_rate"
    every_ms = parse_duration_ms(spec["expression"], field="schedule.expression")
    if every_ms % 1000 or not 1 <= every_ms // 1000 <= _MOST_S:
        why = f"whole seconds from 1 to {_MOST_S}: the job gets no schedule, and stays stopped"
        notes.dropped("schedule.expression", spec["expression"], why, Verdict.CHANGED, "NONE")
        return _NONE
    conf = str(every_ms // 1000)
    if not is_rate:
        why = "no release of XXL-JOB fires this type, only forks do: the job stays stopped"
        notes.warn("schedule.kind", "second_delay", "FIX_DELAY", why, Verdict.CHANGED)
        return Told("FIX_DELAY", conf, exact=False)
    # So that it has its phase again when it is imported again; the admin sets another when somebody starts the job.
    anchor_ms = int(spec.get("anchor") or answer["counts_from_ms"] or 0) // 1000 * 1000
    if spec.get("anchor"):
        why = "its phase is not kept once somebody starts it there: it counts from then"
        notes.warn("schedule.anchor", iso_utc(anchor_ms), "trigger_next_time", why)
    unanchored = {name: value for name, value in spec.items() if name != "anchor"}
    return _judged(answer, unanchored, Told("FIX_RATE", conf, next_ms=anchor_ms), shape, notes)


def _judged(answer: Answer, spec: Spec, row: Told, shape: Shape, notes: Notes) -> Told:
    """Both sides' next fire times, laid beside each other: time zones, dialects and the release's own errors show there."""
    try:
        schedule = parse_schedule(spec, anchor_ms=row.next_ms)
    except InvalidValue as error:
        notes.warn(
            "schedule.expression",
            spec.get("expression"),
            "kept, stopped",
            f"it cannot be read here: {error.expected}",
        )
        return Told(row.type, row.conf, exact=False, next_ms=row.next_ms)
    ours = _next(schedule, shape.now_ms)
    source = SourceJob(
        id=answer["id"],
        group=None,
        schedule_type=row.type,
        schedule_conf=row.conf,
        next_ms=row.next_ms or None,
    )
    theirs = old_fires(source, first=shape.first, last=shape.last, zone=shape.zone, from_ms=shape.now_ms)
    if theirs == ours:
        start_ms = ours[0] if ours else 0
        return Told(
            row.type, row.conf, next_ms=start_ms if shape.enabled and answer["enabled"] else row.next_ms
        )
    if theirs is None:
        why = "this release cannot read it: the job stays stopped"
    else:
        at = next(
            (n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(theirs)
        )
        zone = spec.get("timezone")
        differs = (
            f" (it is read in {zone} here, in {shape.zone.name} there)"
            if zone not in (None, shape.zone.name)
            else ""
        )
        why = f"the old admin fires it at other times{differs}, from the {at + 1}. one on: the job stays stopped"
    notes.warn("schedule.expression", spec["expression"], row.conf or "", why, Verdict.CHANGED)
    return Told(row.type, row.conf, exact=False, next_ms=row.next_ms)


def _next(schedule: Schedule, now_ms: int) -> tuple[int, ...]:
    found: list[int] = []
    at = schedule.first_after(now_ms)
    while at is not None and len(found) < COUNT:
        found.append(at)
        at = schedule.next_after(at)
    return tuple(found)


# ------------------------------------------------------------ Unix cron


def _six_fields(text: str) -> str | None:
    """5 fields as Quartz has them; None for days of the month and weekdays at once, which Quartz cannot join."""
    minute, hour, day, month, weekday = text.split()
    if weekday == "*":
        return f"0 {minute} {hour} {day} {month} ?"
    named = ",".join(_weekdays(part) for part in weekday.split(","))
    return f"0 {minute} {hour} ? {month} {named}" if day == "*" else None


def _weekdays(part: str) -> str:
    """Unix counts weekdays from 0, Quartz from 1; by name both mean the same."""
    span, slash, step = part.partition("/")
    if span == "*":
        span = "SUN-SAT"
    return (
        re.sub(r"\d", lambda found: _WEEKDAYS[int(found[0])] if int(found[0]) < 8 else found[0], span)
        + slash
        + step
    )
