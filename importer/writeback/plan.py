"""What writing a gateway back would do: apps and jobs as rows, beside the rows that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from importer.errors import SourceError
from importer.plan.apps import addresses_of
from importer.plan.notes import Notes
from importer.plan.values import Finding, Verdict
from importer.writeback.jobs import job_row, wall
from importer.writeback.values import (
    Answer,
    Doing,
    Existing,
    GlueRow,
    GroupRow,
    JobRow,
    Shape,
    There,
    WritePlan,
)

_MOST_TOLD = 10
_NOT_THERE = {
    "max_running": "groups have no limits there",
    "starts_per_second": "groups have no limits there",
    "dialect": "the admin speaks to executors of its own release",
    "tokenless_from": "its one token is in the admin's settings",
    "int_log_ids": "the admin gives out log ids of its own",
}


def plan_writing(
    apps: Sequence[Answer],
    jobs: Sequence[Answer],
    glue: Mapping[int, tuple[GlueRow, ...]],
    there: There,
    shape: Shape,
    *,
    existing: Existing,
    database: str,
    release: str,
) -> WritePlan:
    """Raises `SourceError` for rows that are there and must not be touched."""
    findings: list[Finding] = []
    rows: list[GroupRow] = []
    for app in apps:
        row, found = _group(app, shape)
        rows.append(row)
        # XXL-JOB lets groups have one appname: scripts that know the app by another id go on.
        rows += [replace(row, id=other, is_other=True) for other in app["other_ids"]]
        findings += found
    groups, group_ids, found = _groups(rows, there, existing)
    findings += found
    known = frozenset(one["id"] for one in jobs)
    made: list[JobRow] = []
    for job in jobs:
        one, found = job_row(job, glue.get(job["id"], ()), known, shape)
        made.append(one)
        findings += found
    placed = _placed(made, there, group_ids, existing)
    _refuse(groups, placed, there, existing)
    return WritePlan(
        database, release, shape.zone.name, tuple(groups), tuple(placed), there, group_ids, tuple(findings)
    )


def _group(app: Answer, shape: Shape) -> tuple[GroupRow, list[Finding]]:
    notes = Notes(f"app {app['appname']}")
    for name, why in _NOT_THERE.items():
        if app[name]:
            verdict = Verdict.CHANGED if name in ("max_running", "starts_per_second") else Verdict.IDENTICAL
            notes.dropped(name, app[name], why, verdict)
    title = app["title"]
    room = shape.room.get(("group", "title"), len(title))
    if len(title) > room:
        # An import takes the appname where there is no title.
        kept = "" if title == app["appname"] else title[:room]
        notes.repaired("title", title, repr(kept), f"there is room for {room} characters", Verdict.IDENTICAL)
        title = kept
    elif not title:
        notes.note("title", "", "as it is", "an import gives an app without a title its appname")
    manual = app["address_mode"] == "manual"
    addresses = ",".join(app["addresses"])
    imported = ",".join(addresses_of(addresses, "addresses", Notes("")))
    if imported != addresses:
        notes.note("addresses", addresses, "as it is", f"an import makes {imported} of it")
    columns: dict[str, object] = {
        "app_name": app["appname"],
        "title": title,
        "address_type": int(manual),
        "address_list": addresses if manual else None,
        "update_time": wall(app["updated_ms"], shape.zone),
    }
    return GroupRow(app["id"], app["appname"], columns), notes.findings


def _groups(
    rows: Sequence[GroupRow], there: There, existing: Existing
) -> tuple[list[GroupRow], dict[str, int], list[Finding]]:
    by_name: dict[str, list[int]] = {}
    for group_id, name in sorted(there.groups.items()):
        by_name.setdefault(name, []).append(group_id)
    found: list[GroupRow] = []
    ids: dict[str, int] = {}
    findings: list[Finding] = []
    for row in rows:
        notes = Notes(f"app {row.appname}")
        same = by_name.get(row.appname, [])
        if row.is_other:
            if row.id in same:
                found.append(replace(row, doing=Doing.UPDATE if existing is Existing.UPDATE else Doing.SKIP))
            elif row.id in there.groups:
                why = f"group {row.id} is there, and is {there.groups[row.id]!r}"
                notes.dropped("other_ids", row.id, why, Verdict.CHANGED)
            else:
                found.append(row)
        elif same:
            group_id = row.id if row.id in same else same[0]
            if group_id != row.id:
                notes.note("id", row.id, str(group_id), "a group of this name is there: it gets the jobs")
            doing = Doing.UPDATE if existing is Existing.UPDATE else Doing.SKIP
            found.append(replace(row, id=group_id, doing=doing))
            ids[row.appname] = group_id
        elif row.id in there.groups:
            why = f"group {row.id} is there, and is {there.groups[row.id]!r}: this one gets another id"
            notes.warn("id", row.id, "another", why, Verdict.CHANGED)
            found.append(replace(row, id=0))
        else:
            found.append(row)
            ids[row.appname] = row.id
        findings += notes.findings
    return found, ids, findings


def _placed(
    rows: Sequence[JobRow], there: There, group_ids: Mapping[str, int], existing: Existing
) -> list[JobRow]:
    found: list[JobRow] = []
    others: list[str] = []
    for row in rows:
        if row.id not in there.jobs:
            found.append(row)
            continue
        group_id, name = there.jobs[row.id]
        if group_id != group_ids.get(row.appname):
            others.append(f"{row.id} ({row.name!r} here, {name!r} of group {group_id} there)")
        found.append(replace(row, doing=Doing.UPDATE if existing is Existing.UPDATE else Doing.SKIP))
    if others and existing is not Existing.SKIP:
        raise SourceError(
            f"jobs of other groups have these ids there: {_some(others)}. Ids are kept, so they would be lost: "
            "give --existing skip to leave them, or write into an empty database"
        )
    return found


def _refuse(groups: Sequence[GroupRow], jobs: Sequence[JobRow], there: There, existing: Existing) -> None:
    if existing is not Existing.FAIL:
        return
    taken = [f"job {one.id} {there.jobs[one.id][1]!r}" for one in jobs if one.doing is not Doing.INSERT]
    taken = taken or [f"group {one.id} {one.appname!r}" for one in groups if one.doing is not Doing.INSERT]
    if taken:
        raise SourceError(
            f"these are there already: {_some(taken)}. Give --existing update to make them what they are here, "
            "or --existing skip to leave them as they are"
        )


def _some(found: Sequence[str]) -> str:
    more = len(found) - _MOST_TOLD
    return ", ".join(found[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")
