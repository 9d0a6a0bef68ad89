"""Rows that were read against rows that were taken over, table by table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from importer.plan.values import Action
from importer.report.text import count, ranges
from importer.report.values import Copied, Report


@dataclass(frozen=True, slots=True)
class TableCount:
    """`others`: what became of the rows that were not taken over, and what else is to be said."""

    table: str
    becomes: str
    read: int
    taken: int
    others: str = ""


def table_counts(report: Report) -> tuple[TableCount, ...]:
    rows = [
        _groups(report),
        _jobs(report),
        _glue(report),
        _users(report),
        TableCount("registry", "executors", len(report.installation.executors), 0, "executors register anew"),
        _copied("log", "runs", report.installation.log_rows, report.logs),
        _copied("daily report", "counts of days", report.installation.day_rows, report.days),
    ]
    firing = sum(job.quartz is not None for job in report.installation.jobs)
    if firing:
        rows.insert(2, TableCount("Quartz triggers", "enabled or not", firing, firing))
    return tuple(rows)


def _groups(report: Report) -> TableCount:
    keys = {group.key for group in report.installation.groups}
    became = {key: app.action for app in report.plan.apps for key in app.keys if key in keys}
    merged = len(became) - sum(any(key in keys for key in app.keys) for app in report.plan.apps)
    made = sum(not any(key in keys for key in app.keys) for app in report.plan.apps)
    return TableCount(
        "groups",
        "apps",
        len(report.installation.groups),
        sum(action is not Action.SKIP for action in became.values()),
        _told(
            _actions(became.values()),
            merged and f"{merged:,} under another's appname: its alias",
            made and f"{count(made, 'app')} made that no group stands for",
            len(keys) != len(became) and f"{count(len(keys) - len(became), 'group')} listed below",
        ),
    )


def _jobs(report: Report) -> TableCount:
    planned = {job.old_id: job.action for job in report.plan.jobs}
    missing = [job.id for job in report.installation.jobs if job.id not in planned]
    return TableCount(
        "jobs",
        "jobs",
        len(report.installation.jobs),
        sum(action is not Action.SKIP for action in planned.values()),
        _told(_actions(planned.values()), missing and f"jobs {ranges(missing)}: listed below"),
    )


def _glue(report: Report) -> TableCount:
    read = len(report.installation.glue)
    taken = sum(len(job.history) for job in report.plan.jobs if job.action is not Action.SKIP)
    told = ""
    if read > taken:
        is_first = any(job.action is Action.CREATE for job in report.plan.jobs)
        told = (
            "the newest is the job's own version, the same twice is one; others are listed below"
            if is_first
            else "those of a job came with it at first; what is newer and does not come is listed below"
        )
    return TableCount("GLUE history", "versions of jobs", read, taken, told)


def _users(report: Report) -> TableCount:
    planned = {user.old_id: user.action for user in report.plan.users}
    others = len(report.installation.users) - len(planned)
    return TableCount(
        "users",
        "users",
        len(report.installation.users),
        sum(action is not Action.SKIP for action in planned.values()),
        _told(_actions(planned.values()), others and f"{count(others, 'user')} listed below"),
    )


def _copied(table: str, becomes: str, rows: int, copied: Copied) -> TableCount:
    return TableCount(table, becomes, max(rows, copied.read), copied.taken, copied.why)


def _actions(actions: Iterable[Action]) -> str:
    counted = Counter(actions)
    words = {
        Action.CREATE: "new",
        Action.UPDATE: "updated",
        Action.MERGE: "joined to what is there",
        Action.SKIP: "left as here",
    }
    return ", ".join(f"{counted[action]:,} {word}" for action, word in words.items() if counted[action])


def _told(*parts: str | int | bool | list[int]) -> str:
    return "; ".join(part for part in parts if isinstance(part, str) and part)
