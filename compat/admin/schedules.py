"""Schedules in XXL-JOB's words: a type, a text, a word for misfires."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from compat.admin.parameters import Parameters
from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue
from gateway.core.model import Job, Misfire
from gateway.core.schedule import parse_schedule, require_future

Spec = Mapping[str, object] | tuple[Mapping[str, object], ...]

MISFIRES = {"DO_NOTHING": Misfire.SKIP, "FIRE_ONCE_NOW": Misfire.FIRE_ONCE}
_IN_SECONDS = {"fixed_rate": "FIX_RATE", "second_delay": "FIX_DELAY"}
_TYPES = ("NONE", "CRON", "FIX_RATE", "FIX_DELAY")
_MOST_S = 10 * 366 * 86_400


def shown(schedule: Spec) -> tuple[str, str]:
    """The type and the text. What XXL-JOB has no word for is NONE, with a text for people."""
    if isinstance(schedule, tuple):
        return "NONE", " | ".join(shown(one)[1] for one in schedule)
    kind, expression = str(schedule["kind"]), schedule.get("expression")
    if kind == "cron":
        return "CRON", str(expression)
    if kind in _IN_SECONDS:
        every_ms = parse_duration_ms(expression, field="expression")
        if every_ms % 1000 == 0:
            return _IN_SECONDS[kind], str(every_ms // 1000)
    if isinstance(expression, (dict, list)):
        return "NONE", json.dumps(expression, ensure_ascii=False)
    return "NONE", "" if expression is None else str(expression)


def misfire_shown(misfire: Misfire) -> str:
    return "DO_NOTHING" if misfire is Misfire.SKIP else "FIRE_ONCE_NOW"


def misfire_of(given: Parameters, old: Job | None) -> Misfire:
    """An admin before 2.3 has no word for it, and skips. Raises `InvalidValue`."""
    text = given.text("misfireStrategy") or ("" if "scheduleType" in given.names else "DO_NOTHING")
    if old is not None and text == misfire_shown(old.misfire):
        return old.misfire
    if text not in MISFIRES:
        raise InvalidValue("misfireStrategy", text, f"one of {', '.join(MISFIRES)}")
    return MISFIRES[text]


def schedule_of(given: Parameters, old: Job | None, timezone: str, now_ms: int) -> tuple[Spec, Misfire]:
    """What was shown and comes back is left as it is, also where XXL-JOB has no word for it. Raises `InvalidValue`."""
    kind, text, field = _told(given)
    if old is not None and not kind and not text:
        return old.schedule, old.misfire  # a row as it was read, by a client that knows jobCron only
    if kind not in _TYPES:
        raise InvalidValue("scheduleType", kind, f"one of {', '.join(_TYPES)}")
    if old is not None and (kind, text) == shown(old.schedule):
        misfire = misfire_of(given, old)
        if misfire is old.misfire:
            return old.schedule, misfire
        members = old.schedule if isinstance(old.schedule, tuple) else (old.schedule,)
        changed = tuple({**one, "misfire": misfire.value} for one in members)
        return (changed if isinstance(old.schedule, tuple) else changed[0]), misfire
    spec = _spec(kind, text, field, timezone)
    parsed = parse_schedule(spec, anchor_ms=now_ms, field=field)
    require_future(parsed, now_ms, field=field)
    misfire = misfire_of(given, old)
    return {**spec, "misfire": misfire.value}, misfire


def next_fires(given: Parameters, timezone: str, now_ms: int, count: int = 5) -> list[int]:
    """The next instants of what was told. Raises `InvalidValue`."""
    kind, text, field = _told(given)
    if kind not in _TYPES:
        raise InvalidValue("scheduleType", kind, f"one of {', '.join(_TYPES)}")
    schedule = parse_schedule(_spec(kind, text, field, timezone), anchor_ms=now_ms, field=field)
    found: list[int] = []
    at = schedule.first_after(now_ms)
    while at is not None and len(found) < count:
        found.append(at)
        at = schedule.next_after(at)
    return found


def _told(given: Parameters) -> tuple[str, str, str]:
    """The type, the text, and the name of the parameter it stands in; admins before 2.3 know cron only."""
    kind = given.text("scheduleType")
    if kind is None:
        name = "jobCron" if "jobCron" in given.names else "cron"
        text = given.text(name)
        if text is not None and (text.strip() or name == "cron"):
            return "CRON", text.strip(), name
    return (kind or "").strip(), (given.text("scheduleConf") or "").strip(), "scheduleConf"


def _spec(kind: str, text: str, field: str, timezone: str) -> dict[str, Any]:
    if kind == "NONE":
        return {"kind": "none"}
    if kind == "CRON":
        if len(text.split()) not in {6, 7}:
            raise InvalidValue(field, text, "a cron expression of 6 or 7 fields, seconds first")
        return {"kind": "cron", "expression": text, "timezone": timezone}
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= _MOST_S):
        raise InvalidValue(field, text, f"whole seconds, 1 to {_MOST_S}")
    return {"kind": "fixed_rate" if kind == "FIX_RATE" else "second_delay", "expression": int(text)}
