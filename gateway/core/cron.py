"""Cron expressions of both dialects behind one door."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from gateway.core.errors import InvalidValue
from gateway.core.quartz import MAX_LENGTH, QuartzExpression
from gateway.core.unixcron import UnixExpression
from gateway.core.zones import resolve_zone

CronSchedule: TypeAlias = QuartzExpression | UnixExpression
Dialect: TypeAlias = Literal["quartz", "unix"]

_DIALECTS: dict[str, type[CronSchedule]] = {"quartz": QuartzExpression, "unix": UnixExpression}
_DEFAULT_COUNT = 5
_MAX_COUNT = 10_000
_MAX_EPOCH_S = 10**11  # beyond the year 5000


def parse_cron(text: object, *, dialect: Dialect | None = None, field: str = "expression") -> CronSchedule:
    """Parse in that dialect; without one 5 fields are Unix, 6 and 7 are Quartz. Raises InvalidValue."""
    if not isinstance(text, str):
        raise InvalidValue(field, text, "a cron expression is a text")
    if len(text) > MAX_LENGTH:
        raise InvalidValue(field, f"{text[:40]}…", f"a cron expression has at most {MAX_LENGTH} characters")
    if dialect is None:
        dialect = _dialect_of(text, field)
    try:
        return _parse(text, dialect)
    except InvalidValue as error:
        raise InvalidValue(field, text, error.expected) from None


def _dialect_of(text: str, field: str) -> Dialect:
    fields = len(text.split())
    if fields == 5:
        return "unix"
    if fields in {6, 7}:
        return "quartz"
    raise InvalidValue(
        field,
        text,
        f"it has {fields} fields; 5 (minute hour day-of-month month day-of-week), 6 (second first) or "
        "7 (year last) are needed"
        + ("; names such as @daily are not read" if text.strip().startswith("@") else ""),
    )


@lru_cache(maxsize=4096)
def _parse(text: str, dialect: Dialect) -> CronSchedule:
    return _DIALECTS[dialect](text)


def run_jsonl(lines: Iterable[str]) -> Iterator[str]:
    """Answer each line with one line; what cannot be answered says why and stops nothing.

    In: `{"expr", "tz", "start_epoch", "dialect", "count"}` (`dialect` and `count` may be left out).
    Out: `{"valid": true, "next": [epoch seconds, null once it ends]}` or `{"valid": false, "error": text}`.
    """
    for line in lines:
        try:
            answer: dict[str, Any] = {"valid": True, "next": _upcoming(_request(line))}
        except InvalidValue as error:
            answer = {"valid": False, "error": str(error)}
        yield json.dumps(answer, separators=(",", ":"))


def _request(line: str) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidValue("line", line[:100], f"it must be a JSON object ({error})") from None
    if not isinstance(request, dict):
        raise InvalidValue("line", line[:100], "it must be a JSON object")
    for name in ("expr", "tz", "start_epoch"):
        if name not in request:
            raise InvalidValue("line", line[:100], f"it must have {name!r}")
    return request


def _upcoming(request: dict[str, Any]) -> list[int | None]:
    dialect = request.get("dialect")
    if dialect is not None and dialect not in ("quartz", "unix"):
        raise InvalidValue("dialect", dialect, "'quartz' or 'unix'")
    expression = parse_cron(request["expr"], dialect=dialect, field="expr")
    zone = resolve_zone(request["tz"], field="tz")
    at: int | None = _whole(request, "start_epoch", -_MAX_EPOCH_S, _MAX_EPOCH_S)
    found: list[int | None] = []
    for _ in range(_whole(request, "count", 1, _MAX_COUNT)):
        at = expression.next_after(at, zone) if at is not None else None
        found.append(at)
        if at is None:
            break
    return found


def _whole(request: dict[str, Any], name: str, low: int, high: int) -> int:
    value = request.get(name, _DEFAULT_COUNT)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidValue(name, value, f"a whole number from {low} to {high}")
    return value
