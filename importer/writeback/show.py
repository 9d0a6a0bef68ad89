"""What writing back would do, as lines for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from importer.plan.notes import counted
from importer.report.text import Cleaner, line_of
from importer.writeback.values import Doing, WritePlan

MOST_FINDINGS = 500
MOST_IDS = 20
_WORDS = {Doing.INSERT: "new", Doing.UPDATE: "changed", Doing.SKIP: "left as they are"}
_NEVER = (
    "Not written: users (their passwords are kept as hashes that XXL-JOB cannot read), access tokens (XXL-JOB's stands in "
    "the admin's settings), calendars, pauses, runs."
)


def lines_of(plan: WritePlan) -> Iterator[str]:
    return map(line_of, _lines(plan))


def _lines(plan: WritePlan) -> Iterator[str]:
    yield f"{plan.database}: xxl-job {plan.release}, schedules on the clock of {plan.timezone}"
    for doing, words in _WORDS.items():
        groups, jobs = plan.count(doing)
        if groups or jobs:
            yield f"  {words}: {groups} groups, {jobs} jobs"
    yield f"  of these jobs {len(plan.started)} started, all others stopped"
    if plan.signs:
        yield f"Its admin seems to be at work: {'; '.join(plan.signs)}. Stop it first: it may change what is written, and fire it."
    if plan.started:
        yield twice(plan)
    clean = Cleaner()
    if plan.findings:
        yield "What is not simply written:"
    for one in plan.findings[:MOST_FINDINGS]:
        value, became = clean(one.value), clean(one.became) or "''"
        yield f"  {one.where}: {one.field} {value} -> {became} ({one.level}): {one.why}"
    if len(plan.findings) > MOST_FINDINGS:
        yield f"  and {len(plan.findings) - MOST_FINDINGS} more: --json lists all"
    yield _NEVER


def twice(plan: WritePlan) -> str:
    """What happens to jobs that are at work on both sides, and how to end it."""
    ids = " ".join(map(str, plan.started[:MOST_IDS])) + (" …" if len(plan.started) > MOST_IDS else "")
    return (
        f"{counted(len(plan.started), 'job')} would be started there and stay enabled here: as soon as that admin is up, both "
        "fire them. Once this is written, and before that admin starts, disable them here: `xxljob-gateway cutover --back` "
        f"for those that a cutover has enabled, `xxljob-gateway jobs bulk disable {ids}` for others"
    )


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
        "enabled_on_both_sides": list(plan.started),
        "signs_of_life": list(plan.signs),
        "findings": [asdict(one) for one in plan.findings],
    }
