"""What documents ask for, checked field by field as the API does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gateway.api.apps import app_of
from gateway.api.drafts import job_of
from gateway.api.intake import checked
from gateway.api.models.apps import AppBody
from gateway.api.models.calendars import CalendarBody
from gateway.api.models.jobs import JobBody
from gateway.api.problems import InvalidInput
from gateway.core.calendar_days import Days
from gateway.core.calendar_files import days_of_json
from gateway.core.children import On
from gateway.core.errors import InvalidValue
from gateway.core.model import App, Job
from gateway.core.schedule import is_timed, parse_schedule
from importer.manifests.errors import Wrong
from importer.manifests.files import Entry
from importer.manifests.matching import Named, Ref
from importer.manifests.shapes import Value, shape_of_app, shape_of_job

T = TypeVar("T")
_CHILD_FIELDS = ("job", "app", "name", "on")
_ENDS = tuple(one.value for one in On)


@dataclass(frozen=True, slots=True)
class WantedCalendar:
    where: str
    name: str
    description: str
    days: Days


@dataclass(frozen=True, slots=True)
class WantedApp:
    """`left_out`: fields that the document does not have, so that those of the gateway's own stay."""

    where: str
    app: App
    shape: Value
    left_out: frozenset[str]


@dataclass(frozen=True, slots=True)
class WantedJob:
    """`job` and `shape` have no children: these are `refs`. `rests`: it is asked for enabled, and is over."""

    where: str
    job: Job
    shape: Value
    refs: tuple[Ref, ...]
    rests: bool


class Checker:
    """Takes what is right and gathers what is wrong."""

    def __init__(self) -> None:
        self.wrong: list[Wrong] = []

    def all_of(self, entries: Sequence[Entry], read: Callable[[Entry], T]) -> list[T | None]:
        return [self._one(entry, read) for entry in entries]

    def _one(self, entry: Entry, read: Callable[[Entry], T]) -> T | None:
        try:
            return read(entry)
        except InvalidInput as error:
            self.wrong += [Wrong(entry.where, one.field, one.value, one.expected) for one in error.errors]
        except InvalidValue as error:
            self.wrong.append(Wrong(entry.where, error.field, error.value, error.expected))
        return None

    def once(self, entries: Sequence[Entry], key: Callable[[Mapping[str, Any]], Any], field: str) -> None:
        """Refuse what is there a second time."""
        seen: dict[Any, str] = {}
        for entry in entries:
            value = key(entry.value)
            if not isinstance(value, (str, int)):
                continue  # None, or refused where it is read
            if value in seen:
                self.wrong.append(
                    Wrong(entry.where, field, value, f"each once: {seen[value]} has it as well")
                )
            seen.setdefault(value, entry.where)


def calendar(entry: Entry) -> WantedCalendar:
    body = checked(entry.value, CalendarBody)
    if body.file is not None:
        raise InvalidValue("file", body.file[:40], "nothing: a document has `days`")
    return WantedCalendar(entry.where, body.name, body.description, Days(days_of_json(body.days or [])))


def app(entry: Entry) -> WantedApp:
    body = checked(entry.value, AppBody)
    found = app_of(body)
    return WantedApp(
        entry.where, found, shape_of_app(found), frozenset(AppBody.model_fields) - set(entry.value)
    )


def name_of(entry: Entry) -> Named:
    """Who a job is. Raises `InvalidValue`."""
    job_id, appname, name = (entry.value.get(field) for field in ("id", "app", "name"))
    if job_id is not None and (not isinstance(job_id, int) or isinstance(job_id, bool) or job_id < 1):
        raise InvalidValue("id", job_id, "a whole number from 1 on, or left out")
    for field, value in (("app", appname), ("name", name)):
        if not isinstance(value, str) or not value:
            raise InvalidValue(field, value, "text: it is required")
    return Named(entry.where, job_id, str(appname), str(name))


def job(entry: Entry, *, base: Job | None, now_ms: int, timezone: str) -> WantedJob:
    """Raises `InvalidInput`, `InvalidValue`. `base` is the job that is there."""
    value = {field: one for field, one in entry.value.items() if field not in ("id", "children")}
    refs = _refs(entry.value.get("children"), str(entry.value["app"]))
    body = checked(value, JobBody)
    found = job_of(_disabled(body), 0, now_ms=now_ms, default_timezone=timezone, base=base)
    rests = body.enabled and _is_over(found, now_ms) and not _is_done(base, found)
    if body.enabled and not rests:
        found = job_of(body, 0, now_ms=now_ms, default_timezone=timezone, base=base)
    shape = shape_of_job(found, body.app)
    del shape["children"]
    return WantedJob(entry.where, found, shape, refs, rests)


def _disabled(body: JobBody) -> JobBody:
    return body.model_copy(update={"enabled": False})


def _is_over(job: Job, now_ms: int) -> bool:
    """It has had its slots, and the API lets nobody enable it: one that could never have any is simply wrong."""
    if 0 < job.timing.window.end_ms <= now_ms:
        return True
    if not is_timed(job.schedule):
        return False
    schedule = parse_schedule(job.schedule, anchor_ms=now_ms)
    return schedule.first_after(now_ms) is None and schedule.first_after(0) is not None


def _is_done(there: Job | None, wanted: Job) -> bool:
    """The job that is there has come to the same end by itself, and is still enabled: so it stays."""
    if there is None or not there.enabled:
        return False
    return (there.schedule, there.timing.bounds) == (wanted.schedule, wanted.timing.bounds)


def base_of(shape: Mapping[str, Any], answer: Mapping[str, Any]) -> Job | None:
    """The job of an answer, as far as the answer tells; None for one that could not be made today."""
    try:
        body = checked({**shape, "children": []}, JobBody)
        found = job_of(body, 0, now_ms=0, default_timezone="UTC")
    except (InvalidInput, InvalidValue):
        return None
    anchor_ms = answer["counts_from_ms"] or answer["created_ms"]
    return replace(found, id=answer["id"], version=answer["version"], anchor_ms=anchor_ms)


def _refs(value: object, app: str) -> tuple[Ref, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidValue("children", value, "a list such as [{job: 7, name: close the day}]")
    return tuple(_ref(one, app, f"children[{index}]") for index, one in enumerate(value))


def _ref(value: object, app: str, field: str) -> Ref:
    if not isinstance(value, Mapping):
        raise InvalidValue(field, value, "an object such as {job: 7, name: close the day, on: success}")
    if unknown := [str(one) for one in value if one not in _CHILD_FIELDS]:
        raise InvalidValue(
            f"{field}.{unknown[0]}", value[unknown[0]], f"a known field: {', '.join(_CHILD_FIELDS)}"
        )
    job_id, name, on = value.get("job"), value.get("name"), value.get("on", "success")
    if job_id is None and name is None:
        raise InvalidValue(field, value, "a `name`, a `job` (its id), or both")
    if job_id is not None and (not isinstance(job_id, int) or isinstance(job_id, bool)):
        raise InvalidValue(f"{field}.job", job_id, "the id of a job")
    for key in ("name", "app"):
        if value.get(key) is not None and not isinstance(value[key], str):
            raise InvalidValue(f"{field}.{key}", value[key], "text")
    if on not in _ENDS:
        raise InvalidValue(f"{field}.on", on, " or ".join(map(repr, _ENDS)))
    return Ref(job_id, value.get("app") or app, name, str(on))
