"""A plan as lines for people, and as JSON for programs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from gateway.core.clock import at_offset
from gateway.core.versions import Change
from gateway.core.zones import resolve_zone
from importer.manifests.fires import DAYS, MOST_SLOTS, FireChange
from importer.manifests.steps import Kind, Plan, Step, What
from importer.report.text import escaped, line_of, visible

_MOST_TEXT = 90
_MOST_CHANGES = 40
_MARKS = {What.CREATE: "+", What.CHANGE: "~", What.REMOVE: "-", What.SAME: "="}


def lines_of(plan: Plan) -> Iterator[str]:
    """Names and values are of whoever wrote the documents: nothing of them steers a terminal."""
    return map(line_of, _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    for step in plan.steps:
        if step.what is not What.SAME:
            yield from _step(step)
    for step in plan.affected:
        yield f"~ {_label(step)}: as it is, but its calendar changes its fire times"
        yield from _fires(step.fires)
    if plan.unlooked:
        yield f"The fire times of {plan.unlooked} more jobs were not looked at: a plan looks at so many and no more."
    counts = ((What.CREATE, "to create"), (What.CHANGE, "to change"), (What.REMOVE, "to remove"))
    told = ", ".join(f"{plan.count(what)} {words}" for what, words in counts)
    yield f"Plan: {told}, {plan.count(What.SAME)} unchanged."


def _step(step: Step) -> Iterator[str]:
    yield f"{_MARKS[step.what]} {_label(step)}: {step.what.value}"
    if step.kind is Kind.JOB and step.document_id and step.job_id and step.document_id != step.job_id:
        yield f"    it is {step.document_id} in its document, and {step.job_id} here"
    for note in step.notes:
        yield f"    note: {note}"
    for change in step.changes[:_MOST_CHANGES]:
        yield f"    {_change(change)}"
    if len(step.changes) > _MOST_CHANGES:
        yield f"    and {len(step.changes) - _MOST_CHANGES} more fields"
    yield from _fires(step.fires)


def _label(step: Step) -> str:
    name = visible(step.name)
    if step.kind is not Kind.JOB:
        return f"{step.kind.value} {name}"
    return f"job {step.job_id} {step.app}/{name}" if step.job_id else f"job {step.app}/{name}"


def _change(change: Change) -> str:
    old, new = change.old, change.new
    if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
        diff = list(difflib.ndiff(old.splitlines(), new.splitlines()))
        gone, come = (sum(line.startswith(sign) for line in diff) for sign in "-+")
        return f"{change.field}: {gone} lines go, {come} come"
    if isinstance(old, list) and isinstance(new, list):
        gone_items = [one for one in old if one not in new]
        new_items = [one for one in new if one not in old]
        if len(old) + len(new) > len(gone_items) + len(new_items):
            return f"{change.field}: without {_value(gone_items)}, with {_value(new_items)}"
    return f"{change.field}: {_value(old)} -> {_value(new)}"


def _value(value: Any) -> str:
    if value is None:
        return "(default)"
    text = escaped(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"


def _fires(fires: FireChange | None) -> Iterator[str]:
    if fires is None:
        return
    span = f"next {DAYS} days"
    if fires.cut:
        span = f"up to {_at(fires.until_ms, fires.timezone)}, which is as far as {MOST_SLOTS} fire times go"
    yield f"    fires, {span}: {fires.before} before, {fires.after} after"
    for sign, found in (("-", fires.gone), ("+", fires.new)):
        for at_ms in found:
            yield f"      {sign} {_at(at_ms, fires.timezone)}"


def _at(at_ms: int, timezone: str) -> str:
    zone = resolve_zone(timezone)
    return at_offset(at_ms, zone.offset_s(at_ms // 1000)).isoformat(timespec="seconds")


def as_json(plan: Plan) -> dict[str, Any]:
    return {
        "create": plan.count(What.CREATE),
        "change": plan.count(What.CHANGE),
        "remove": plan.count(What.REMOVE),
        "unchanged": plan.count(What.SAME),
        "fires_not_looked_at": plan.unlooked,
        "steps": [_json(one) for one in plan.steps if one.what is not What.SAME],
        "affected": [_json(one) for one in plan.affected],
    }


def _json(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind.value,
        "action": step.what.value,
        "app": step.app or None,
        "name": step.name,
        "id": step.job_id or None,
        "document_id": step.document_id,
        "changes": [asdict(one) for one in step.changes],
        "fires": None if step.fires is None else asdict(step.fires),
        "notes": list(step.notes),
    }
