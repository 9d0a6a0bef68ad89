"""Options of a job: what bounds its schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from gateway.cli.root import WRONG_INPUT, Failure

F = TypeVar("F", bound=Callable[..., Any])

_WINDOW = {"start": "start", "end": "end", "max_fires": "max_fires"}
_PLAIN = {"jitter": "jitter_s", "data_offset": "data_offset_s"}
TIMING_OPTIONS = frozenset({*_WINDOW, *_PLAIN, "calendar", "calendar_mode", "exclude"})

_OPTIONS = (
    click.option("--start", help="No slots before: 'yyyy-MM-dd HH:mm:ss', ISO 8601 or milliseconds."),
    click.option("--end", help="No slots from then on."),
    click.option("--max-fires", type=int, help="As many slots at most."),
    click.option(
        "--exclude",
        multiple=True,
        help="No slots between two times of day, perhaps on some weekdays: '22:00-06:00' or '22:00-06:00 SAT,SUN' "
        "(repeat it; 'none' for no exclusions).",
    ),
    click.option(
        "--jitter", help="Each run is due later by a part of this that is always the same for its slot."
    ),
    click.option(
        "--calendar",
        multiple=True,
        help="Of that name: slots on its days only; NAME:exclude for all days but those (repeat it: all must "
        "leave a day; 'none' for no calendar).",
    ),
    click.option("--calendar-mode", help="include or exclude, of the one calendar."),
    click.option(
        "--data-offset", help="How much later ${data_time} in params is than the slot: 30s, or -1h."
    ),
)


def timing_options(command: F) -> F:
    """Give a command these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def lay_timing(body: dict[str, Any], options: Mapping[str, Any]) -> None:
    """What these options say goes over the body."""
    window = {field: options[name] for name, field in _WINDOW.items() if options[name] is not None}
    if window:
        body["window"] = {**(body.get("window") or {}), **window}
    if options["calendar"] or options["calendar_mode"] is not None:
        body["calendar"] = _calendar(body.get("calendar"), options["calendar"], options["calendar_mode"])
    if options["exclude"]:
        wanted = [text for text in options["exclude"] if text.strip() != "none"]
        body["exclusions"] = list(map(_exclusion, wanted))
    body.update({field: options[name] for name, field in _PLAIN.items() if options[name] is not None})


def _calendar(present: Any, texts: Sequence[str], mode: str | None) -> Any:
    if texts == ("none",):
        return None
    if len(texts) > 1:
        if mode is not None:
            raise Failure("--calendar-mode: there are several calendars: say NAME:exclude", WRONG_INPUT)
        return [_use(text) for text in texts]
    given = _use(texts[0]) if texts else {}
    kept = present if isinstance(present, dict) else {}
    return {**kept, **given, **({} if mode is None else {"mode": mode})}


def _use(text: str) -> dict[str, str]:
    name, colon, mode = text.partition(":")
    return {"name": name, "mode": mode} if colon else {"name": name}


def _exclusion(text: str) -> dict[str, str]:
    times, _, weekdays = text.strip().partition(" ")
    start, dash, end = times.partition("-")
    if not dash:
        raise Failure(f"--exclude: {text!r} is not valid: two times such as 22:00-06:00", WRONG_INPUT)
    found = {"from": start, "to": end}
    return found | ({"weekdays": weekdays.strip()} if weekdays.strip() else {})
