"""Handlers: jobs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.api.drafts import body_of, job_of
from gateway.api.intake import checked, path_id, query_as, read_as, read_object
from gateway.api.models.base import MAX_ID
from gateway.api.models.jobs import MAX_BATCH, MOST_WISHED_ID, BatchBody, JobBody, JobIds, JobList, JobQuery
from gateway.api.patching import changed_job
from gateway.api.problems import FieldError, InvalidInput
from gateway.api.render import job_answer, json_answer
from gateway.api.services import SERVICES, Services
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.job_state import with_state
from gateway.core.listing import JobFilter
from gateway.core.model import Job
from gateway.core.pauses import Pauses

_JOBS_A_SLICE = 50
_PATCH_ATTEMPTS = 3


async def create(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, JobBody)
    app_id = await _app_id(services, body.app, "app")
    draft = job_of(body, app_id, now_ms=services.clock.now_ms(), default_timezone=services.timezone)
    (job,) = await services.jobs.create([draft])
    await services.operations.jobs_changed([job.id])
    return await answer_of(services, job, 201)


async def create_batch(request: web.Request) -> web.Response:
    """Jobs are checked in slices, so that a large batch does not hold up runs that are due."""
    services = request.app[SERVICES]
    bodies, wishes, known = _batch_of(await read_object(request))
    app_ids: dict[str, int] = {}
    now_ms = services.clock.now_ms()
    drafts: list[Job] = []
    for index, value in enumerate(bodies):
        within = f"jobs[{index}]"
        body = checked(value, JobBody, within=within)
        if body.app not in app_ids:
            app_ids[body.app] = await _app_id(services, body.app, f"{within}.app")
        drafts.append(
            job_of(
                body,
                app_ids[body.app],
                now_ms=now_ms,
                default_timezone=services.timezone,
                within=within,
            )
        )
        if index % _JOBS_A_SLICE == _JOBS_A_SLICE - 1:
            await services.clock.sleep(0)
    ids = [job.id for job in await services.jobs.create(drafts, wishes, known=known)]
    await services.operations.jobs_changed(ids)
    return json_answer(JobIds(ids=ids), 201)


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, JobQuery)
    app_id = None if query.app is None else (await services.apps.get(query.app)).id
    pauses, now_ms = await _pauses(services), services.clock.now_ms()
    wanted = JobFilter(app_id=app_id, name=query.name, enabled=query.enabled)
    if query.state is not None:
        if query.enabled is not None and query.enabled != (query.state != "disabled"):
            expected = f"left out, since `state` is {query.state!r}"
            raise InvalidValue("enabled", query.enabled, expected)
        wanted = with_state(wanted, query.state, pauses, now_ms)
    found = await services.jobs.page(wanted, cursor=query.cursor, limit=query.limit)
    names = await services.apps.names({job.app_id for job in found.items})
    items = [job_answer(job, names.get(job.app_id), now_ms, pauses) for job in found.items]
    items = [one for one in items if query.state in (None, one.state)]
    return json_answer(JobList(items=items, next_cursor=found.next_cursor))


async def get(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    return await answer_of(services, await services.jobs.get(job_id_in(request)))


async def patch(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    job_id = job_id_in(request)
    change = await read_object(request)
    version = change.pop("version", None)
    _, job = await change_job(services, job_id, change, version=version)
    await services.operations.jobs_changed([job_id])
    return await answer_of(services, job)


async def change_job(
    services: Services, job_id: int, change: dict[str, Any], *, version: object = None, dry_run: bool = False
) -> tuple[Job, Job]:
    """The job before and after a merge patch; what is left out stays.

    A `version` makes the change depend on it; otherwise it is laid over what is there now.
    """
    for attempt in range(1, _PATCH_ATTEMPTS + 1):
        old = await services.jobs.get(job_id)
        if version is not None and version != old.version:
            raise Conflict(f"job {job_id} is at version {old.version}, not {version}")
        names = await services.apps.names([old.app_id])
        appname = names[old.app_id]
        body = checked(changed_job(body_of(old, appname), change), JobBody)
        if body.app != appname:
            raise InvalidValue("app", body.app, f"{appname!r}: a job cannot move to another app")
        draft = job_of(
            body, old.app_id, now_ms=services.clock.now_ms(), default_timezone=services.timezone, base=old
        )
        if dry_run:
            return old, draft
        try:
            return old, await services.jobs.update(draft)
        except Conflict:
            if version is not None or attempt == _PATCH_ATTEMPTS:
                raise
    raise AssertionError


async def enable(request: web.Request) -> web.Response:
    return await _set_enabled(request, enabled=True)


async def disable(request: web.Request) -> web.Response:
    return await _set_enabled(request, enabled=False)


async def _set_enabled(request: web.Request, *, enabled: bool) -> web.Response:
    services = request.app[SERVICES]
    job = await services.jobs.set_enabled(job_id_in(request), enabled=enabled)
    await services.operations.jobs_changed([job.id])
    return await answer_of(services, job)


def job_id_in(request: web.Request) -> int:
    """Raises `NotFound` for a number that no job can have."""
    job_id = path_id(request, "job_id")
    if job_id > MAX_ID:
        raise NotFound("job", job_id)
    return job_id


def _batch_of(body: dict[str, Any]) -> tuple[list[object], list[int | None], frozenset[int] | None]:
    """The jobs, which are checked one by one, the ids that they are to have, and those of the jobs that are known."""
    jobs = body.get("jobs")
    if unknown := sorted(set(body) - set(BatchBody.model_fields)):
        expected = f"a known field: {', '.join(BatchBody.model_fields)}"
        raise InvalidInput([FieldError(unknown[0], body[unknown[0]], expected)])
    if not isinstance(jobs, list) or not jobs:
        raise InvalidInput([FieldError("jobs", jobs, "a list of at least one job")])
    if len(jobs) > MAX_BATCH:
        raise InvalidInput([FieldError("jobs", f"{len(jobs)} items", f"at most {MAX_BATCH} items")])
    return jobs, _wishes_of(body.get("ids"), len(jobs)), _known_of(body.get("known"))


def _wishes_of(ids: object, count: int) -> list[int | None]:
    if ids is None:
        return []
    if not isinstance(ids, list) or len(ids) != count:
        raise InvalidInput([FieldError("ids", ids, f"a list of {count}, one for each job")])
    seen: set[int] = set()
    for index, one in enumerate(ids):
        if one is None:
            continue
        if not isinstance(one, int) or isinstance(one, bool) or not 1 <= one <= MOST_WISHED_ID:
            raise InvalidInput(
                [FieldError(f"ids[{index}]", one, f"a number from 1 to {MOST_WISHED_ID}, or null")]
            )
        if one in seen:
            raise InvalidInput([FieldError(f"ids[{index}]", one, "each id once")])
        seen.add(one)
    return ids


def _known_of(ids: object) -> frozenset[int] | None:
    if ids is None:
        return None
    if not isinstance(ids, list) or len(ids) > MAX_BATCH:
        shown = f"{len(ids)} items" if isinstance(ids, list) else ids
        raise InvalidInput([FieldError("known", shown, f"a list of at most {MAX_BATCH} ids, or null")])
    for index, one in enumerate(ids):
        if not isinstance(one, int) or isinstance(one, bool):
            raise InvalidInput([FieldError(f"known[{index}]", one, "the id of a job")])
    return frozenset(ids)


async def _app_id(services: Services, appname: str, field: str) -> int:
    try:
        return (await services.apps.get(appname)).id
    except NotFound:
        raise InvalidValue(field, appname, "the appname of an app that exists") from None


async def answer_of(services: Services, job: Job, status: int = 200) -> web.Response:
    names = await services.apps.names([job.app_id])
    answer = job_answer(job, names.get(job.app_id), services.clock.now_ms(), await _pauses(services))
    return json_answer(answer, status)


async def _pauses(services: Services) -> Pauses:
    pauses = Pauses()
    pauses.replace(await services.pauses.all_pauses())
    return pauses
