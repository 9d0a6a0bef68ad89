"""Jobs, apps and calendars as documents hold them, and as two of them are compared.

Both sides of a comparison have the shape of the API's answers, without what only the gateway can say: what an answer
tells of a job, a document carries, whichever fields there are. What has its default is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from gateway.api.apps import app_of
from gateway.api.drafts import MAX_PRIORITY, job_of
from gateway.api.intake import checked
from gateway.api.models.apps import AppBody
from gateway.api.models.jobs import JobBody
from gateway.api.render import app_answer, job_answer
from gateway.api.timings import bounds_answer
from gateway.core.model import App, Job
from gateway.core.pauses import Pauses
from gateway.core.timing import PLAIN

FORMAT = 1
SECTIONS = ("calendars", "apps", "jobs")

Value = dict[str, Any]

# What the gateway says and nobody sets: first of jobs, then of apps and calendars.
JOB_FACTS = frozenset(
    {"id", "state", "version", "pause", "fired", "warnings"}
    | {
        f"{name}{ms}"
        for name in ("next_fire", "created", "updated", "glue_updated", "counts_from")
        for ms in ("", "_ms")
    }
)
APP_FACTS = frozenset({"id", "other_ids", "created", "created_ms", "updated", "updated_ms"})
# `int_log_ids` is set by the gateway as well, when an old executor registers: left out, it stays.
KEPT_APP_FIELDS = frozenset({"int_log_ids"})


def job_shape(answer: Mapping[str, Any]) -> Value:
    """What people have set of a job, every field of it, in the order of the API."""
    shape = {name: _plain(value) for name, value in answer.items() if name not in JOB_FACTS}
    schedule = shape["schedule"]
    for one in schedule if isinstance(schedule, list) else [schedule]:
        one.pop("dialect", None)  # told by the number of fields
    shape["priority"] = min(shape["priority"], MAX_PRIORITY)
    return shape


def app_shape(answer: Mapping[str, Any]) -> Value:
    return {name: _plain(value) for name, value in answer.items() if name not in APP_FACTS}


def calendar_shape(answer: Mapping[str, Any]) -> Value:
    """With its days by year, as numbers and `MM-DD`."""
    days = answer["days"] or {}
    return {
        "name": answer["name"],
        "description": answer["description"],
        "days": {int(year): [day[-5:] for day in listed] for year, listed in days.items()},
    }


def shape_of_job(job: Job, appname: str) -> Value:
    """As the gateway would answer it; the times of an answer play no part."""
    # Without its bounds: an answer looks for fire times within them, to warn where there are none.
    plain = replace(job, created_ms=1, updated_ms=1, timing=PLAIN)
    answer = job_answer(plain, appname, 0, Pauses()).model_copy(update=bounds_answer(job.timing))
    return job_shape(answer.model_dump(mode="json", by_alias=True))


def shape_of_app(app: App) -> Value:
    return app_shape(app_answer(replace(app, created_ms=1, updated_ms=1)).model_dump(mode="json"))


# ------------------------------------------------------------ what documents leave out


def job_document(job_id: int | None, shape: Mapping[str, Any], children: list[Value]) -> Value:
    """Of a shape, without what has its default. `children` are those of the document: by id and name."""
    default = _default_job()
    found: Value = {} if job_id is None else {"id": job_id}
    for name, value in shape.items():
        if name == "children":
            if children:
                found[name] = children
        elif name == "schedule":
            found[name] = [_schedule(one) for one in value] if isinstance(value, list) else _schedule(value)
        elif value != default.get(name) or name in ("app", "name", "task"):
            found[name] = _without(value, default[name]) if name in _NESTED else bare(value)
    if "intervals_s" in found.get("retry", {}):
        # Left out, it would be one more than there are waits.
        found["retry"] = {"max_attempts": shape["retry"]["max_attempts"], **found["retry"]}
    return found


_NESTED = frozenset({"task", "retry", "contact"})
_SCHEDULE_DEFAULTS = {"misfire": "skip"}


def _schedule(value: Value) -> Value:
    return {name: one for name, one in bare(value).items() if _SCHEDULE_DEFAULTS.get(name) != one}


def app_document(shape: Mapping[str, Any]) -> Value:
    default = _default_app()
    return {name: bare(one) for name, one in shape.items() if name == "appname" or one != default[name]}


def calendar_document(shape: Mapping[str, Any]) -> Value:
    return {name: one for name, one in shape.items() if one or name == "name"}


def _without(value: Value, default: Mapping[str, Any]) -> Value:
    return {name: bare(one) for name, one in value.items() if one is not None and one != default.get(name)}


def bare(value: Any) -> Any:
    """Without the nulls of an object: each is the default of its field."""
    if isinstance(value, dict):
        return {name: bare(one) for name, one in value.items() if one is not None}
    return [bare(one) for one in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Instants once, as text; whole numbers without a fraction."""
    if isinstance(value, Mapping):
        twice = {f"{name}_ms" for name in value}
        return {name: _plain(one) for name, one in value.items() if name not in twice}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _default_job() -> Value:
    body = {"app": "-", "name": "-", "schedule": {"kind": "none"}, "task": {"handler": "-"}}
    job = job_of(checked(body, JobBody), 0, now_ms=0, default_timezone="UTC")
    shape = shape_of_job(job, "-")
    shape["task"] = {**shape["task"], "handler": ""}
    return shape


@cache
def _default_app() -> Value:
    return shape_of_app(app_of(checked({"appname": "a"}, AppBody)))
