"""Between bodies and values of the core: what bounds a job's schedule."""

from __future__ import annotations

from typing import Any, TypeVar

from gateway.api.models.timing import (
    CalendarUseAnswer,
    CalendarUseBody,
    ExclusionAnswer,
    ExclusionBody,
    TimingFields,
    WindowAnswer,
    WindowBody,
)
from gateway.core.calendar_days import CalendarUse
from gateway.core.clock import iso_utc
from gateway.core.confine import schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.exclusions import Daily, Exclusion, parse_exclusion
from gateway.core.model import Job
from gateway.core.moments import parse_moment
from gateway.core.timing import MAX_JITTER_MS, PLAIN, Timing, Window
from gateway.core.upcoming import cautions
from gateway.core.zones import Zone

T = TypeVar("T")


def timing_of(body: TimingFields, zone: Zone, within: str = "") -> Timing:
    """`zone` is that of local times. Raises InvalidValue."""
    prefix = f"{within}." if within else ""
    if body.jitter_s > MAX_JITTER_MS:
        raise InvalidValue(f"{prefix}jitter_s", body.jitter_s / 1000, "at most one day")
    return Timing(
        window=_window_of(body.window, zone, f"{prefix}window"),
        exclusions=tuple(
            _exclusion_of(one, zone, f"{prefix}exclusions[{n}]")
            for n, one in enumerate(body.exclusions or ())
        ),
        calendars=_calendars_of(body.calendar, f"{prefix}calendar"),
        jitter_ms=body.jitter_s,
        data_offset_s=body.data_offset_s,
    )


def _calendars_of(
    body: CalendarUseBody | list[CalendarUseBody] | None, field: str
) -> tuple[CalendarUse, ...]:
    wanted = body if isinstance(body, list) else [] if body is None else [body]
    for number, one in enumerate(wanted):
        if one.name in [other.name for other in wanted[:number]]:
            raise InvalidValue(f"{field}[{number}].name", one.name, "each calendar once")
    return tuple(CalendarUse(one.name, one.mode) for one in wanted)


def _window_of(body: WindowBody | None, zone: Zone, field: str) -> Window:
    if body is None:
        return Window()
    start_ms, end_ms = (
        0 if value is None else parse_moment(value, zone, field=f"{field}.{name}")
        for name, value in (("start", body.start), ("end", body.end))
    )
    if end_ms and end_ms <= start_ms:
        raise InvalidValue(f"{field}.end", body.end, f"an instant after {field}.start")
    return Window(start_ms, end_ms, body.max_fires or 0)


def _exclusion_of(body: ExclusionBody, zone: Zone, field: str) -> Exclusion:
    return parse_exclusion(body.model_dump(by_alias=True), zone, field=field)


def require_open(timing: Timing, body: TimingFields, now_ms: int, within: str = "") -> None:
    """Raise InvalidValue for a window that is over."""
    if body.window is not None and 0 < timing.window.end_ms <= now_ms:
        field = f"{within}.window.end" if within else "window.end"
        raise InvalidValue(field, body.window.end, f"an instant in the future: it is {iso_utc(now_ms)} now")


def is_zoned(body: TimingFields) -> bool:
    """Whether kinds that count real time need a clock as well."""
    return bool(body.exclusions) or body.calendar is not None or body.data_offset_s is not None


def timing_fields(timing: Timing) -> dict[str, Any]:
    """The body that would create it."""
    window = timing.window
    bounds = {"start": window.start_ms, "end": window.end_ms, "max_fires": window.max_fires}
    found: dict[str, Any] = {
        "window": {name: value for name, value in bounds.items() if value},
        "exclusions": [one.stored() for one in timing.exclusions],
        "jitter_s": timing.jitter_ms / 1000,
        "calendar": _one_or_many([{"name": use.name, "mode": use.mode.value} for use in timing.calendars]),
    }
    found = {name: value for name, value in found.items() if value}
    return found if timing.data_offset_s is None else {**found, "data_offset_s": timing.data_offset_s}


def _one_or_many(uses: list[T]) -> T | list[T] | None:
    """One alone stands as it is, as before there could be several."""
    return (uses[0] if len(uses) == 1 else uses) if uses else None


def timing_answer(job: Job, now_ms: int) -> dict[str, Any]:
    """The fields of `TimingAnswer`."""
    warnings: list[str] = []
    if job.timing != PLAIN:
        warnings = cautions(schedule_of(job), job.schedule, job.timing, job.days, now_ms, fired=job.fired)
    return {
        **bounds_answer(job.timing),
        "fired": job.fired if job.timing.window.max_fires else None,
        "warnings": warnings,
    }


def bounds_answer(timing: Timing) -> dict[str, Any]:
    """What people have set of them."""
    window = None
    if timing.window != Window():
        start_ms, end_ms = timing.window.start_ms, timing.window.end_ms
        window = WindowAnswer(
            start=iso_utc(start_ms) if start_ms else None,
            start_ms=start_ms or None,
            end=iso_utc(end_ms) if end_ms else None,
            end_ms=end_ms or None,
            max_fires=timing.window.max_fires or None,
        )
    return {
        "window": window,
        "exclusions": list(map(_exclusion_answer, timing.exclusions)),
        "jitter_s": timing.jitter_ms / 1000 if timing.jitter_ms % 1000 else timing.jitter_ms // 1000,
        "calendar": _one_or_many(
            [CalendarUseAnswer(name=use.name, mode=use.mode) for use in timing.calendars]
        ),
        "data_offset_s": timing.data_offset_s,
    }


def _exclusion_answer(one: Exclusion) -> ExclusionAnswer:
    comment = one.comment or None
    if isinstance(one, Daily):
        return ExclusionAnswer(**{"from": one.from_}, to=one.to, weekdays=one.weekdays, comment=comment)
    return ExclusionAnswer(
        **{"from": iso_utc(one.from_ms)},
        from_ms=one.from_ms,
        to=iso_utc(one.to_ms),
        to_ms=one.to_ms,
        comment=comment,
    )
