"""What a gateway holds, read through its API; and as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from gateway.core.errors import NotFound
from importer.manifests.shapes import (
    Value,
    app_document,
    app_shape,
    calendar_document,
    calendar_shape,
    job_document,
    job_shape,
)

V1 = "/api/v1"
_ALL = 1 << 40


class Calls(Protocol):
    """Calls of the API; each failure is an error that says what to do."""

    def call(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, object] | None = None
    ) -> Any: ...

    def items(self, path: str, *, query: Mapping[str, object], limit: int) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Present:
    """Answers of the API: apps by appname, jobs by id, calendars by name, with their days.

    `timezone` is where schedules without a zone are read.
    """

    apps: Mapping[str, Any]
    jobs: Mapping[int, Any]
    calendars: Mapping[str, Any]
    timezone: str


def read_present(calls: Calls) -> Present:
    # In this order, so that what jobs refer to is at least as old as they are.
    jobs = {one["id"]: one for one in calls.items(f"{V1}/jobs", query={}, limit=_ALL)}
    apps = {one["appname"]: one for one in calls.items(f"{V1}/apps", query={}, limit=_ALL)}
    names = [one["name"] for one in calls.items(f"{V1}/calendars", query={}, limit=_ALL)]
    calendars = {name: calls.call("GET", calendar_path(name)) for name in names}
    return Present(
        apps=dict(sorted(apps.items())),
        jobs=dict(sorted(jobs.items())),
        calendars=dict(sorted(calendars.items())),
        timezone=_default_timezone(calls),
    )


def _default_timezone(calls: Calls) -> str:
    """What the gateway writes into a schedule that names none."""
    body = {"schedule": {"kind": "cron", "expression": "0 0 * * *"}, "count": 1}
    zone: str = calls.call("POST", f"{V1}/schedules/preview", body)["schedule"]["timezone"]
    return zone


def calendar_path(name: str) -> str:
    return f"{V1}/calendars/{quote(name, safe='')}"


def app_path(appname: str) -> str:
    return f"{V1}/apps/{quote(appname, safe='')}"


def job_path(job_id: int) -> str:
    return f"{V1}/jobs/{job_id}"


def documents_of(present: Present, appnames: Sequence[str] = ()) -> dict[str, list[Value]]:
    """By section, in stable order. With appnames: those apps, their jobs, and the calendars that these use.

    Raises `NotFound` for an appname that is not there.
    """
    for appname in appnames:
        if appname not in present.apps:
            raise NotFound("app", appname)
    apps = [one for name, one in present.apps.items() if not appnames or name in appnames]
    wanted = {one["appname"] for one in apps}
    jobs = sorted(
        (one for one in present.jobs.values() if one["app"] in wanted),
        key=lambda one: (one["app"], one["id"]),
    )
    used = {use["name"] for one in jobs for use in calendar_uses(one)}
    calendars = [one for name, one in present.calendars.items() if not appnames or name in used]
    return {
        "calendars": [calendar_document(calendar_shape(one)) for one in calendars],
        "apps": [app_document(app_shape(one)) for one in apps],
        "jobs": [_document(present, one) for one in jobs],
    }


def calendar_uses(job: Mapping[str, Any]) -> list[Any]:
    uses = job.get("calendar")
    return uses if isinstance(uses, list) else [] if uses is None else [uses]


def _document(present: Present, job: Mapping[str, Any]) -> Value:
    shape = job_shape(job)
    return job_document(job["id"], shape, [child_document(present, job, one) for one in shape["children"]])


def child_document(present: Present, job: Mapping[str, Any], child: Mapping[str, Any]) -> Value:
    """By id, and by name for people and for other gateways; with its app where that is another one."""
    found: Value = {"job": child["job"]}
    other = present.jobs.get(child["job"])
    if other is not None:
        if other["app"] != job["app"]:
            found["app"] = other["app"]
        found["name"] = other["name"]
    return found if child["on"] == "success" else {**found, "on": child["on"]}
