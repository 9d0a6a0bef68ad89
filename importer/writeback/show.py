"""What writing back would do, as lines for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from importer.report.text import Cleaner
from importer.writeback.values import Doing, WritePlan

MOST_FINDINGS = 500
_WORDS = {Doing.INSERT: "new", Doing.UPDATE: "changed", Doing.SKIP: "left as they are"}
_NEVER = (
    "Not written: users (their passwords are kept as hashes that XXL-JOB cannot read), access tokens (XXL-JOB's stands in "
    "the admin's settings), calendars, pauses, runs."
)


def lines_of(plan: WritePlan) -> Iterator[str]:
    yield f"{plan.database}: xxl-job {plan.release}, schedules on the clock of {plan.timezone}"
    for doing, words in _WORDS.items():
        groups, jobs = plan.count(doing)
        if groups or jobs:
            yield f"  {words}: {groups} groups, {jobs} jobs"
    enabled = sum(bool(one.columns["trigger_status"]) for one in plan.jobs if one.doing is not Doing.SKIP)
    yield f"  of these jobs {enabled} started, all others stopped"
    if plan.signs:
        yield f"Its admin seems to be at work: {'; '.join(plan.signs)}. Stop it first: it may change what is written, and fire it."
    clean = Cleaner()
    if plan.findings:
        yield "What is not simply written:"
    for one in plan.findings[:MOST_FINDINGS]:
        value, became = clean(one.value), clean(one.became) or "''"
        yield f"  {one.where}: {one.field} {value} -> {became} ({one.level}): {one.why}"
    if len(plan.findings) > MOST_FINDINGS:
        yield f"  and {len(plan.findings) - MOST_FINDINGS} more: --json lists all"
    yield _NEVER


def as_json(plan: WritePlan) -> dict[str, Any]:
    return {
        "database": plan.database,
        "release": plan.release,
        "timezone": plan.timezone,
        "groups": [
            {"id": one.id or None, "appname": one.appname, "action": one.doing.value} for one in plan.groups
        ],
        "jobs": [
            {
                "id": one.id,
                "appname": one.appname,
                "name": one.name,
                "action": one.doing.value,
                "started": bool(one.columns["trigger_status"]),
            }
            for one in plan.jobs
        ],
        "signs_of_life": list(plan.signs),
        "findings": [asdict(one) for one in plan.findings],
    }
