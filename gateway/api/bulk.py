"""Handler: many jobs at once, in slices that do not hold up runs. What is done stays done, whatever fails after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aiohttp import web

from gateway.api.drafts import body_of
from gateway.api.intake import read_as
from gateway.api.jobs import change_job
from gateway.api.models.bulk import MAX_JOBS, BulkAnswer, BulkBody, BulkItem
from gateway.api.problems import InvalidInput
from gateway.api.render import json_answer
from gateway.api.services import SERVICES, Services
from gateway.core.errors import Conflict, GatewayError, InvalidValue, NotFound
from gateway.core.listing import JobFilter
from gateway.core.model import Job

_SLICE, _LARGEST_SLICE = 20, 200
_SLICE_S = 0.06  # claims are made 180 ms ahead: a shorter stop makes none late
_PAGE = 500


async def bulk(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, BulkBody)
    ids = await _matching(services, body) if body.ids is None else sorted(set(body.ids))
    items: list[BulkItem] = []
    size, begun = _SLICE, services.clock.monotonic()
    while len(items) < len(ids):
        some = ids[len(items) : len(items) + size]
        items += await (_would(services, body, some) if body.dry_run else _do(services, body, some))
        await services.clock.sleep(0)
        took_s, begun = services.clock.monotonic() - begun, services.clock.monotonic()
        size = min(2 * size, _LARGEST_SLICE) if took_s < _SLICE_S else max(size // 2, _SLICE)
    counts = Counter(item.result for item in items)
    return json_answer(
        BulkAnswer(
            dry_run=body.dry_run,
            changed=counts["changed"],
            unchanged=counts["unchanged"],
            failed=counts["failed"],
            items=items,
        )
    )


async def _matching(services: Services, body: BulkBody) -> list[int]:
    wanted = body.filter
    assert wanted is not None
    app_id = None
    if wanted.app is not None:
        try:
            app_id = (await services.apps.get(wanted.app)).id
        except NotFound:
            raise InvalidValue("filter.app", wanted.app, "the appname of an app that exists") from None
    ids: list[int] = []
    cursor: str | None = None
    while True:
        page = await services.jobs.page(
            JobFilter(app_id=app_id, name=wanted.name, enabled=wanted.enabled), cursor=cursor, limit=_PAGE
        )
        ids += [job.id for job in page.items]
        if len(ids) > MAX_JOBS:
            raise Conflict(f"more than {MAX_JOBS} jobs match the filter: narrow it")
        if (cursor := page.next_cursor) is None:
            return ids


async def _do(services: Services, body: BulkBody, ids: Sequence[int]) -> list[BulkItem]:
    done: dict[int, bool | GatewayError] = {}
    match body.action:
        case "enable" | "disable":
            done = await services.jobs.set_enabled_all(ids, enabled=body.action == "enable")
        case "delete":
            done = await services.jobs.delete_all(ids, keep_history=body.keep_history)
        case "change":
            for job_id in ids:
                done[job_id] = await _change(services, body, job_id)
    if changed := [job_id for job_id, result in done.items() if result is True]:
        await services.operations.jobs_changed(changed)
    return [_item(job_id, done[job_id]) for job_id in ids]


async def _would(services: Services, body: BulkBody, ids: Sequence[int]) -> list[BulkItem]:
    found = await services.jobs.load(ids)
    items: list[BulkItem] = []
    for job_id in ids:
        job: Job | None = found.get(job_id)
        result: bool | GatewayError
        if job is None:
            result = NotFound("job", job_id)
        elif body.action == "change":
            result = await _change(services, body, job_id)
        else:
            result = body.action == "delete" or job.enabled != (body.action == "enable")
        items.append(_item(job_id, result))
    return items


async def _change(services: Services, body: BulkBody, job_id: int) -> bool | GatewayError:
    try:
        old, new = await change_job(services, job_id, body.change or {}, dry_run=body.dry_run)
    except (NotFound, Conflict, InvalidValue) as error:
        return error
    except InvalidInput as error:
        wrong = error.errors[0]
        return InvalidValue(wrong.field, wrong.value, wrong.expected)
    return body_of(old, "") != body_of(new, "")


def _item(job_id: int, result: bool | GatewayError) -> BulkItem:
    if isinstance(result, GatewayError):
        return BulkItem(id=job_id, result="failed", error=str(result))
    return BulkItem(id=job_id, result="changed" if result else "unchanged")
