"""What applying documents to a gateway would change: made from both, without doing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.calendar_days import Days
from gateway.core.calendar_files import days_of_json
from gateway.core.model import Job
from gateway.core.versions import Change, changes
from importer.manifests import wanted
from importer.manifests.errors import ManifestError, Wrong
from importer.manifests.files import Entries, Entry
from importer.manifests.fires import Budget, FireChange, change_of, days_of, is_phase_kept, is_phase_open
from importer.manifests.matching import Finder, Key, Link, Match, Named, cycle_in, match
from importer.manifests.present import Present, calendar_uses, child_document
from importer.manifests.shapes import (
    KEPT_APP_FIELDS,
    Value,
    app_shape,
    bare,
    calendar_shape,
    job_document,
    job_shape,
)
from importer.manifests.steps import Kind, Plan, Prune, Step, What
from importer.manifests.wanted import Checker, WantedApp, WantedCalendar, WantedJob

MOST_ERRORS = 50
_OVER = "its schedule or window is over, so it is disabled: it has no slot left"
_PHASE = "without an `anchor` it counts from when it is applied: fire times are told as if that were now"


def make_plan(
    entries: Entries, present: Present, now_ms: int, *, prune: Prune = Prune.NOTHING, rename: bool = False
) -> Plan:
    """Raises `ManifestError` with all that is wrong."""
    return _Planner(entries, present, now_ms, rename=rename).plan(prune)


class _Planner:
    def __init__(self, entries: Entries, present: Present, now_ms: int, *, rename: bool) -> None:
        self._entries = entries
        self._present = present
        self._now_ms = now_ms
        self._budget = Budget()
        self._check = Checker()
        self._names: list[Named] = []
        self._match = Match(())
        self._rename = rename
        self._days_now = {name: _days(one) for name, one in present.calendars.items()}
        self._days_then = dict(self._days_now)
        self._calendars_changed: set[str] = set()
        self._used: set[str] = set()
        self._ids_of: dict[Key, list[int]] = {}
        for job_id, one in present.jobs.items():
            self._ids_of.setdefault((one["app"], one["name"]), []).append(job_id)

    def plan(self, prune: Prune) -> Plan:
        check, entries = self._check, self._entries
        check.once(entries.calendars, lambda one: one.get("name"), "name")
        check.once(entries.apps, lambda one: one.get("appname"), "appname")
        check.once(entries.jobs, lambda one: one.get("id"), "id")
        calendars = [one for one in check.all_of(entries.calendars, wanted.calendar) if one]
        apps = [one for one in check.all_of(entries.apps, wanted.app) if one]
        names = check.all_of(entries.jobs, wanted.name_of)
        if None in names:
            self._refuse()
        self._names = [one for one in names if one]
        self._match = match(self._names, self._present.jobs, rename=self._rename)
        for index, candidates in self._match.unclear:
            expected = f"the id of one of the jobs of that app and name: {', '.join(map(str, candidates))}"
            check.wrong.append(Wrong(self._names[index].where, "id", self._names[index].id, expected))
        steps = [self._calendar(one) for one in calendars] + [self._app(one) for one in apps]
        steps += self._jobs({str(one.value.get("appname")) for one in entries.apps})
        self._refuse()
        steps += self._removed(prune, steps)
        self._check_cycles(steps)
        self._refuse()
        steps.sort(key=lambda one: list(Kind).index(one.kind))
        return Plan(tuple(steps), tuple(self._affected(steps)), self._budget.unlooked)

    def _refuse(self) -> None:
        if self._check.wrong:
            shown: list[Wrong | str] = [*self._check.wrong[:MOST_ERRORS]]
            if len(self._check.wrong) > MOST_ERRORS:
                shown.append(f"and {len(self._check.wrong) - MOST_ERRORS} more")
            raise ManifestError(shown)

    # ------------------------------------------------------------ calendars and apps

    def _calendar(self, one: WantedCalendar) -> Step:
        there = self._present.calendars.get(one.name)
        body: Value = {"description": one.description, "days": one.days.by_year()}
        if there is None or self._days_now[one.name] != one.days:
            self._days_then[one.name] = one.days
            self._calendars_changed.add(one.name)
        if there is None:
            return Step(Kind.CALENDAR, What.CREATE, one.name, body={"name": one.name, **body})
        shape = calendar_shape({"name": one.name, **body})
        found = changes(calendar_shape(there), shape)
        what = What.CHANGE if found else What.SAME
        return Step(Kind.CALENDAR, what, one.name, mark=there["version"], body=body, changes=tuple(found))

    def _app(self, one: WantedApp) -> Step:
        there = self._present.apps.get(one.app.appname)
        if there is None:
            return Step(Kind.APP, What.CREATE, one.app.appname, body=one.shape)
        old = app_shape(there)
        kept = KEPT_APP_FIELDS & one.left_out
        new = {**one.shape, **{field: old[field] for field in kept}}
        body = {field: value for field, value in new.items() if value != old[field]}
        if "address_mode" in body or "addresses" in body:
            body |= {field: new[field] for field in ("address_mode", "addresses", "dialect")}
        found = changes(bare(old), bare(new))
        what = What.CHANGE if body else What.SAME
        return Step(
            Kind.APP, what, one.app.appname, mark=there["updated_ms"], body=body or None, changes=tuple(found)
        )

    # ------------------------------------------------------------ jobs

    def _jobs(self, declared: set[str]) -> list[Step]:
        finder = Finder(self._names, self._match.ids, self._present.jobs)
        apps = declared | set(self._present.apps)
        renames = dict(self._match.renames)
        steps: list[Step | None] = []
        for index, entry in enumerate(self._entries.jobs):
            (step,) = self._check.all_of([entry], lambda one, at=index: self._job(at, one, finder))  # type: ignore[misc]  # mypy cannot see through a default
            if self._names[index].app not in apps:
                self._wrong(
                    entry, "app", self._names[index].app, "an app that is there, or that the documents have"
                )
            if step and index in renames and step.what is What.CREATE:
                there = self._present.jobs[renames[index]]
                step = replace(step, notes=(*step.notes, _maybe_renamed(there)))
            steps.append(step)
        return [one for one in steps if one]

    def _wrong(self, entry: Entry, field: str, value: object, expected: str) -> None:
        self._check.wrong.append(Wrong(entry.where, field, value, expected))

    def _job(self, index: int, entry: Entry, finder: Finder) -> Step:
        name, job_id = self._names[index], self._match.ids[index]
        there = None if job_id is None else self._present.jobs[job_id]
        shape = None if there is None else job_shape(there)
        if there is not None and shape is not None and self._is_same(entry, there, shape):
            # As it was exported: also what could not be made today stays as it is.
            self._used |= {use["name"] for use in calendar_uses(shape)}
            return self._step(name, index, What.SAME, there)
        base = None if there is None or shape is None else wanted.base_of(shape, there)
        asked = wanted.job(entry, base=base, now_ms=self._now_ms, timezone=self._present.timezone)
        self._check_calendars(entry, asked)
        links = self._links(entry, asked, finder)
        notes = (_OVER,) if asked.rests else (_PHASE,) if is_phase_open(base, asked.job) else ()
        if there is None or shape is None:
            body = {**asked.shape, "children": []}
            step = self._step(name, index, What.CREATE, None)
            return replace(
                step,
                body=body,
                links=links,
                namesakes=tuple(self._ids_of.get(name.key, ())),
                notes=notes,
                fires=self._fires(None, None, asked, {}),
            )
        step = replace(self._step(name, index, What.CHANGE, there), notes=notes)
        return self._change(step, there, shape, asked, links, base)

    def _step(self, name: Named, index: int, what: What, there: Any) -> Step:
        return Step(
            Kind.JOB,
            what,
            name.name,
            app=name.app,
            job_id=there["id"] if there else 0,
            document_id=name.id,
            mark=there["version"] if there else 0,
            index=index,
        )

    def _is_same(self, entry: Entry, there: Any, shape: Value) -> bool:
        children = [child_document(self._present, there, one) for one in shape["children"]]
        document = job_document(there["id"], shape, children)
        return {**entry.value, "id": there["id"]} == document

    def _change(
        self,
        step: Step,
        there: Any,
        shape: Value,
        asked: WantedJob,
        links: tuple[Link, ...],
        base: Job | None,
    ) -> Step:
        old = {field: bare(value) for field, value in shape.items() if field != "children"}
        new = {field: bare(value) for field, value in asked.shape.items()}
        found = changes(old, new)
        body: Value = {field: value for field, value in asked.shape.items() if new[field] != old[field]}
        for together in (("overlap", "max_concurrency", "queue_limit"), ("label", "label_fallback")):
            if any(field in body for field in together):
                body |= {field: asked.shape[field] for field in together}
        body = {field: _patch(shape[field], value) for field, value in body.items()}
        had = [Link(one["job"], None, one["on"]) for one in shape["children"]]
        will = {_end(one): one.on for one in links}
        was = {_end(one): one.on for one in had}
        if will != was:
            found.append(Change("children", [_shown(one) for one in had], [self._told(one) for one in links]))
        if not found:
            return replace(step, what=What.SAME)
        kept = tuple(one for one in had if will.get(_end(one)) == one.on)
        return replace(
            step,
            body=body,
            changes=tuple(found),
            links=links if will != was else None,
            kept=kept,
            loses_links=len(kept) < len(had),
            fires=self._fires(there, base, asked, body),
        )

    def _told(self, link: Link) -> str:
        if link.job_id is not None:
            return _shown(link)
        assert link.index is not None
        return f"{self._names[link.index].name} (new, on {link.on})"

    def _links(self, entry: Entry, asked: WantedJob, finder: Finder) -> tuple[Link, ...]:
        links: list[Link] = []
        for number, ref in enumerate(asked.refs):
            link = finder.find(ref)
            value = (entry.value.get("children") or [])[number]
            if link is None:
                expected = "one job, of the documents or of the gateway, with that app and name or that id"
                self._wrong(entry, f"children[{number}]", value, expected)
            elif _end(link) in [_end(one) for one in links]:
                self._wrong(
                    entry, f"children[{number}]", value, "each job once; `end` is for success and failure"
                )
            else:
                links.append(link)
        return tuple(links)

    def _check_calendars(self, entry: Entry, asked: WantedJob) -> None:
        for use in calendar_uses(asked.shape):
            self._used.add(use["name"])
            if use["name"] not in self._days_then:
                self._wrong(
                    entry, "calendar", use["name"], "a calendar that is there, or that the documents have"
                )

    # ------------------------------------------------------------ fire times

    def _fires(
        self, there: Any, base: Job | None, asked: WantedJob | None, body: Mapping[str, Any]
    ) -> FireChange | None:
        """Of a job that is there, of one that is asked for, or of both. None where they are the same."""
        was = will = None
        left: list[int | None] = [None, None]
        if there is not None:
            if base is None:
                return None  # of one that could not be made today nobody can say when it would fire
            was = replace(base, days=days_of(base, self._days_now))
            left[0] = _left(was, there["fired"])
        if asked is not None:
            anchor_ms = was.anchor_ms if was and is_phase_kept(was, asked.job) else self._now_ms
            will = replace(asked.job, anchor_ms=anchor_ms, days=days_of(asked.job, self._days_then))
            counted = there["fired"] if there is not None and "window" not in body else None
            left[1] = _left(will, counted)
        found = change_of(was, will, self._now_ms, self._budget, left=(left[0], left[1]))
        return None if found is None or (found.is_none and there is not None) else found

    def _affected(self, steps: Sequence[Step]) -> list[Step]:
        """Jobs whose fire times a calendar changes, and nothing else."""
        changed = {one.job_id for one in steps if one.kind is Kind.JOB and one.what is not What.SAME}
        found: list[Step] = []
        for job_id, there in self._present.jobs.items():
            uses = {use["name"] for use in calendar_uses(there)} & self._calendars_changed
            if job_id in changed or not uses or not there["enabled"]:
                continue
            base = wanted.base_of(job_shape(there), there)
            if base is None:
                continue
            was = replace(base, days=days_of(base, self._days_now))
            will = replace(base, days=days_of(base, self._days_then))
            left = _left(base, there["fired"])
            fires = change_of(was, will, self._now_ms, self._budget, left=(left, left))
            if fires is not None and not fires.is_none:
                found.append(
                    Step(Kind.JOB, What.SAME, there["name"], app=there["app"], job_id=job_id, fires=fires)
                )
        return found

    # ------------------------------------------------------------ what goes, and what must not be

    def _removed(self, prune: Prune, steps: Sequence[Step]) -> list[Step]:
        if prune is Prune.NOTHING:
            return []
        apps = {one.name for one in steps if one.kind is Kind.APP}
        kept = set(self._match.ids)
        found: list[Step] = []
        for job_id, there in self._present.jobs.items():
            if job_id not in kept and (prune is Prune.ALL or there["app"] in apps):
                base = wanted.base_of(job_shape(there), there)
                fires = self._fires(there, base, None, {})
                step = Step(Kind.JOB, What.REMOVE, there["name"], app=there["app"], job_id=job_id)
                found.append(replace(step, mark=there["version"], fires=fires))
        if prune is Prune.ALL:
            apps |= {one.app for one in self._names}
            found += [
                Step(Kind.APP, What.REMOVE, name, mark=one["updated_ms"])
                for name, one in self._present.apps.items()
                if name not in apps
            ]
            calendars = self._used | {one.name for one in steps if one.kind is Kind.CALENDAR}
            found += [
                Step(Kind.CALENDAR, What.REMOVE, name, mark=one["version"])
                for name, one in self._present.calendars.items()
                if name not in calendars
            ]
        return found

    def _check_cycles(self, steps: Sequence[Step]) -> None:
        """The gateway refuses jobs that start each other for ever; so that it is known before anything is changed."""
        removed = {one.job_id for one in steps if one.what is What.REMOVE}
        graph: dict[Any, list[Any]] = {
            job_id: [one["job"] for one in there["children"] if one["job"] not in removed]
            for job_id, there in self._present.jobs.items()
            if job_id not in removed
        }
        touched = False
        for step in steps:
            if step.links is not None:
                for link in step.links:
                    if link.job_id in removed and step.index is not None:
                        named = self._entries.jobs[step.index].value["children"]
                        self._wrong(
                            self._entries.jobs[step.index],
                            "children",
                            named,
                            f"none of job {link.job_id}, which goes",
                        )
                touched = touched or bool(step.links)
                graph[step.job_id or ("new", step.index)] = [_end(one) for one in step.links]
        way = cycle_in(graph) if touched else None
        if way is not None:
            names = " → ".join(self._name(one) for one in way)
            expected = "jobs that do not lead back to themselves"
            at = next(
                (one.index for one in steps if (one.job_id or ("new", one.index)) in way and one.links), None
            )
            where = self._names[at].where if at is not None else "the documents"
            self._check.wrong.append(Wrong(where, "children", names, expected))

    def _name(self, node: Any) -> str:
        return self._names[node[1]].name if isinstance(node, tuple) else str(self._present.jobs[node]["name"])


def _patch(old: object, new: object) -> object:
    """A merge keeps what it is not told of: what is not there any more is told as null."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**dict.fromkeys(old), **{name: _patch(old.get(name), value) for name, value in new.items()}}


def _end(link: Link) -> Any:
    return link.job_id if link.job_id is not None else ("new", link.index)


def _shown(link: Link) -> str:
    return f"{link.job_id} (on {link.on})"


def _left(job: Job, fired: int | None) -> int | None:
    most = job.timing.window.max_fires
    return max(most - (fired or 0), 0) if most else None


def _maybe_renamed(there: Any) -> str:
    return (
        f"job {there['id']} of this app is here, and is called {there['name']!r}: "
        "with --rename it is changed instead of making a new one"
    )


def _days(calendar: Any) -> Days:
    return Days(days_of_json(calendar["days"] or {}))
