"""Handlers: versions of a job."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from gateway.api.drafts import body_of
from gateway.api.intake import path_id, query_as, read_as
from gateway.api.jobs import answer_of, job_id_in
from gateway.api.models.base import MAX_ID, JsonObject
from gateway.api.models.versions import (
    ChangeAnswer,
    DiffAnswer,
    RollbackBody,
    VersionAnswer,
    VersionItem,
    VersionList,
    VersionQuery,
)
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES, Services
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.versions import JobVersion, changes

_ATTEMPTS = 3


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    job_id = job_id_in(request)
    query = query_as(request, VersionQuery)
    found = await services.versions.page(job_id, cursor=query.cursor, limit=query.limit)
    compared = list(found.items)
    if found.next_cursor is not None:
        compared.append(await services.versions.get(job_id, compared[-1].number - 1))
    bodies = [await _body(services, one) for one in compared]
    items = [
        VersionItem(
            version=one.number,
            author=one.author,
            name=one.job.name,
            enabled=one.job.enabled,
            changed=[change.field for change in changes(before, body)] if before is not None else [],
            **times(created=one.created_ms),
        )
        for one, body, before in zip(found.items, bodies, [*bodies[1:], None], strict=False)
    ]
    return json_answer(VersionList(items=items, next_cursor=found.next_cursor))


async def get(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    found = await services.versions.get(job_id_in(request), _version_in(request, "version"))
    return json_answer(
        VersionAnswer(
            job_id=found.job.id,
            version=found.number,
            author=found.author,
            definition=await _body(services, found),
            **times(created=found.created_ms, glue_updated=found.job.task.glue_updated_ms),
        )
    )


async def diff(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    job_id = job_id_in(request)
    old = await services.versions.get(job_id, _version_in(request, "old"))
    new = await services.versions.get(job_id, _version_in(request, "new"))
    found = changes(await _body(services, old), await _body(services, new))
    return json_answer(
        DiffAnswer(
            job_id=job_id,
            old_version=old.number,
            new_version=new.number,
            changes=[ChangeAnswer(field=one.field, old=one.old, new=one.new) for one in found],
        )
    )


async def rollback(request: web.Request) -> web.Response:
    """The definition of an earlier version becomes the newest version."""
    services = request.app[SERVICES]
    job_id = job_id_in(request)
    body = await read_as(request, RollbackBody)
    attempt = 1
    while True:
        present = await services.jobs.get(job_id)
        try:
            wanted = (await services.versions.get(job_id, body.version)).job
        except NotFound:
            raise InvalidValue("version", body.version, f"a version of job {job_id}") from None
        enabled = wanted.enabled if body.enabled is None else body.enabled
        try:
            job = await services.jobs.update(replace(wanted, version=present.version, enabled=enabled))
        except Conflict:
            attempt += 1
            if attempt > _ATTEMPTS:
                raise
        except InvalidValue as error:
            expected = f"a version that can be in force now: {error.field} {error.value!r} is not valid: {error.expected}"
            raise InvalidValue("version", body.version, expected) from None
        else:
            await services.operations.jobs_changed([job_id])
            return await answer_of(services, job)


def _version_in(request: web.Request, name: str) -> int:
    version = path_id(request, name)
    if version > MAX_ID:
        raise NotFound("version", version)
    return version


async def _body(services: Services, version: JobVersion) -> JsonObject:
    names = await services.apps.names([version.job.app_id])
    return body_of(version.job, names.get(version.job.app_id, ""))
