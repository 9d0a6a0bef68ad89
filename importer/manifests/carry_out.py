"""Doing what a plan says, through the API, in an order in which nothing refers to what is not there.

Calendars, apps, new jobs, changed jobs, links to children, and last what goes. Each change is made to what was planned
against: what somebody has changed meanwhile is not touched, and ends it there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.api.models.jobs import MOST_WISHED_ID
from gateway.core.errors import Conflict
from importer.manifests.matching import Link
from importer.manifests.present import V1, Calls, app_path, calendar_path, job_path
from importer.manifests.shapes import Value
from importer.manifests.steps import Kind, Plan, Step, What
from importer.report.text import visible

_LOT = 200
_LOT_BYTES = 4 << 20


def carry_out(calls: Calls, plan: Plan) -> Iterator[str]:
    """A line for each thing that is done, as it is done. Raises `Conflict`, and what `calls` raises."""
    return map(visible, _Run(calls, plan).steps())


class _Run:
    def __init__(self, calls: Calls, plan: Plan) -> None:
        self._calls = calls
        self._plan = plan
        # The ids of the jobs that documents ask for, by document, as far as they are there; and their versions.
        self._ids = {one.index: one.job_id for one in plan.steps if one.index is not None and one.job_id}
        self._versions = {one.job_id: one.mark for one in plan.steps if one.kind is Kind.JOB and one.job_id}

    def steps(self) -> Iterator[str]:
        plan = self._plan
        for step in plan.of(Kind.CALENDAR, What.CREATE):
            self._calls.call("POST", f"{V1}/calendars", step.body)
            yield f"created calendar {step.name}"
        for step in plan.of(Kind.CALENDAR, What.CHANGE):
            self._check(step, calendar_path(step.name), "version")
            self._calls.call("PUT", calendar_path(step.name), step.body)
            yield f"changed calendar {step.name}"
        for step in plan.of(Kind.APP, What.CREATE):
            self._calls.call("POST", f"{V1}/apps", step.body)
            yield f"created app {step.name}"
        for step in plan.of(Kind.APP, What.CHANGE):
            self._check(step, app_path(step.name), "updated_ms")
            self._calls.call("PATCH", app_path(step.name), step.body)
            yield f"changed app {step.name}"
        yield from self._new_jobs(plan.of(Kind.JOB, What.CREATE))
        for step in plan.of(Kind.JOB, What.CHANGE):
            yield from self._changed_job(step)
        for step in plan.steps:
            yield from self._linked(step)
        yield from self._removed()

    # ------------------------------------------------------------ jobs

    def _new_jobs(self, steps: Sequence[Step]) -> Iterator[str]:
        ordered = sorted(
            steps, key=lambda one: (one.document_id is None, one.document_id or 0, one.index or 0)
        )
        made: dict[tuple[str, str], list[int]] = {}
        for lot in _lots([(step, self._body(step)) for step in ordered]):
            known = {
                one for step, _ in lot for one in (*step.namesakes, *made.get((step.app, step.name), ()))
            }
            body = {
                "jobs": [body for _, body in lot],
                "ids": [_wish(step) for step, _ in lot],
                "known": sorted(known),
            }
            ids = self._calls.call("POST", f"{V1}/jobs/batch", body)["ids"]
            for (step, _), job_id in zip(lot, ids, strict=True):
                assert step.index is not None
                self._ids[step.index] = job_id
                self._versions[job_id] = 1
                made.setdefault((step.app, step.name), []).append(job_id)
                was = step.document_id
                told = "" if was in (None, job_id) else f" (it is {was} in its document)"
                yield f"created job {job_id} {step.app}/{step.name}{told}"

    def _body(self, step: Step) -> Value:
        """One that is to start jobs which are not there yet has no slots until it can."""
        body = dict(step.body or {})
        if self._waits(step):
            body["enabled"] = False
        else:
            body["children"] = self._children(step.links or ())
        return body

    def _waits(self, step: Step) -> bool:
        return any(link.job_id is None for link in step.links or ())

    def _changed_job(self, step: Step) -> Iterator[str]:
        body = dict(step.body or {})
        if step.loses_links:  # before others come, or jobs could lead back to themselves for a moment
            body["children"] = self._children(step.kept)
        if body:
            self._patch(step.job_id, body)
        yield f"changed job {step.job_id} {step.app}/{step.name}"

    def _linked(self, step: Step) -> Iterator[str]:
        if step.links is None or step.kind is not Kind.JOB:
            return
        if step.what is What.CHANGE and len(step.kept) < len(step.links):
            self._patch(step.job_id, {"children": self._children(step.links)})
        elif step.what is What.CREATE and self._waits(step):
            assert step.index is not None
            body = {"children": self._children(step.links), "enabled": (step.body or {})["enabled"]}
            self._patch(self._ids[step.index], body)
        else:
            return
        yield f"linked job {step.job_id or self._ids[step.index or 0]} {step.app}/{step.name} to its children"

    def _patch(self, job_id: int, body: Value) -> None:
        answer = self._calls.call("PATCH", job_path(job_id), {**body, "version": self._versions[job_id]})
        self._versions[job_id] = answer["version"]

    def _children(self, links: Sequence[Link]) -> list[Any]:
        return [
            {"job": self._ids[link.index] if link.index is not None else link.job_id, "on": link.on}
            for link in links
        ]

    # ------------------------------------------------------------ what goes

    def _removed(self) -> Iterator[str]:
        for step in self._plan.of(Kind.JOB, What.REMOVE):
            self._check(step, job_path(step.job_id), "version")
            self._calls.call("DELETE", job_path(step.job_id))
            yield f"removed job {step.job_id} {step.app}/{step.name}"
        for kind, path, mark in (
            (Kind.APP, app_path, "updated_ms"),
            (Kind.CALENDAR, calendar_path, "version"),
        ):
            for step in self._plan.of(kind, What.REMOVE):
                self._check(step, path(step.name), mark)
                self._calls.call("DELETE", path(step.name))
                yield f"removed {kind.value} {step.name}"

    def _check(self, step: Step, path: str, mark: str) -> None:
        """Where the API takes no version with a change, this is looked at just before it."""
        if self._calls.call("GET", path)[mark] != step.mark:
            label = f"job {step.job_id}" if step.kind is Kind.JOB else f"{step.kind.value} {step.name}"
            raise Conflict(f"{label} was changed meanwhile by somebody else: make a new plan")


def _wish(step: Step) -> int | None:
    return step.document_id if (step.document_id or 0) <= MOST_WISHED_ID else None


def _lots(found: Sequence[tuple[Step, Value]]) -> Iterator[list[tuple[Step, Value]]]:
    lot: list[tuple[Step, Value]] = []
    size = 0
    for step, body in found:
        length = len(json.dumps(body))
        if lot and (len(lot) == _LOT or size + length > _LOT_BYTES):
            yield lot
            lot, size = [], 0
        lot.append((step, body))
        size += length
    if lot:
        yield lot
