"""A report for programs: all of it, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from importer.plan.values import Action, Finding, Fires, PlannedJob, Verdict
from importer.report.counts import table_counts
from importer.report.life import signs_of_life
from importer.report.text import Cleaner
from importer.report.times import Times
from importer.report.values import Report

FORMAT = 1
_MOST = 2000  # characters of one value


def json_of(report: Report, next_steps: Iterable[str] = ()) -> Iterator[str]:
    """Pieces of the text, in order: one object, each job, finding and app on a line of its own."""
    yield from _Writer(report).pieces(next_steps)


class _Writer:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._times = Times(report.plan.timezone)
        self._cleaner = Cleaner(report.secrets)

    def pieces(self, next_steps: Iterable[str]) -> Iterator[str]:
        plan = self._report.plan
        lists: dict[str, Iterable[dict[str, Any]]] = {
            "counts": map(asdict, table_counts(self._report)),
            "apps": (
                {
                    "action": one.action.value,
                    "id": one.app.id,
                    "appname": one.app.appname,
                    "title": one.app.title,
                    "groups": list(one.keys),
                    "changes": list(one.changes),
                }
                for one in plan.apps
            ),
            "jobs": map(self._job, plan.jobs),
            "users": (
                {
                    "action": one.action.value,
                    "id": one.user.id,
                    "old_id": one.old_id,
                    "username": one.user.username,
                    "role": one.user.role.word,
                    "apps": sorted(one.user.app_ids),
                    "password": one.password.scheme if one.password else None,
                    "changes": list(one.changes),
                }
                for one in plan.users
            ),
            "findings": map(self._finding, plan.findings),
            "security": map(self._finding, plan.security),
        }
        yield "{\n"
        for name, value in self._head(next_steps).items():
            yield f"{_text(name)}: {_text(self._clean(value))},\n"
        for number, (name, rows) in enumerate(lists.items()):
            yield (",\n" if number else "") + f"{_text(name)}: ["
            separator = "\n"
            for row in rows:
                yield separator + _text(row if name == "jobs" else self._clean(row))
                separator = ",\n"
            yield "\n]"
        yield "\n}\n"

    def _head(self, next_steps: Iterable[str]) -> dict[str, Any]:
        report, plan, installation = self._report, self._plan, self._report.installation
        iso = self._times.iso
        verdicts, actions = (
            Counter(job.verdict for job in plan.jobs),
            Counter(job.action for job in plan.jobs),
        )
        return {
            "format": FORMAT,
            "report": "import",
            "written": report.written,
            "made_at": iso(report.made_ms),
            "source": {
                "name": report.source,
                "remembered_as": plan.source,
                "server": installation.server,
                "release": installation.release,
                "read_at": iso(installation.read_ms),
                "notes": list(installation.notes),
                "signs_of_life": list(signs_of_life(installation.signs)),
            },
            "target": report.target,
            "timezone": {"name": plan.timezone, "from": plan.timezone_from},
            "summary": {
                "verdicts": {one.value: verdicts[one] for one in Verdict},
                "actions": {one.value: actions[one] for one in Action if one is not Action.MERGE},
                "wants_enabled": sum(job.wants_enabled for job in plan.jobs),
            },
            "ids": {
                "apps": {str(old): new for old, new in plan.app_ids.items() if str(old) != str(new)},
                "jobs": {str(old): new for old, new in plan.job_ids.items() if old != new},
                "users": {str(old): new for old, new in plan.user_ids.items() if old != new},
            },
            "next_steps": list(next_steps),
        }

    @property
    def _plan(self) -> Any:
        return self._report.plan

    def _job(self, one: PlannedJob) -> dict[str, Any]:
        job = one.job
        row: dict[str, Any] = self._clean(
            {
                "old_id": one.old_id,
                "id": job.id,
                "action": one.action.value,
                "name": job.name,
                "app_id": job.app_id,
                "verdict": one.verdict.value,
                "reasons": list(one.reasons),
                "wants_enabled": one.wants_enabled,
                "schedule": job.schedule,
                "earlier_versions": len(one.history),
                "changes": list(one.changes),
            }
        )
        return {**row, "fires": self._fires(one.fires)}

    def _fires(self, fires: Fires) -> dict[str, Any]:
        isos = self._times.isos
        if fires.theirs == fires.ours:
            return {"same": True, "both": isos(fires.ours)}
        return {
            "same": False,
            "here": isos(fires.ours),
            "old_admin": None if fires.theirs is None else isos(fires.theirs),
            "differ_at": fires.differ_at,
            "because": self._clean(fires.why),
        }

    def _finding(self, one: Finding) -> dict[str, Any]:
        return {**asdict(one), "level": one.level.value}

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._cleaner(value, _MOST)
        if isinstance(value, Mapping):
            return {key: self._clean(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(inner) for inner in value]
        return value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
