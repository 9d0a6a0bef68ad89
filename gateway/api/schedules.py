"""Handlers: when a schedule would fire."""

from __future__ import annotations

from aiohttp import web

from gateway.api.drafts import Spec, spec_of
from gateway.api.intake import query_as, read_as
from gateway.api.jobs import job_id_in
from gateway.api.models.jobs import Fire, PreviewAnswer, PreviewBody, PreviewQuery
from gateway.api.render import iso_local, json_answer, schedule_answer
from gateway.api.services import SERVICES
from gateway.core.chain import is_chained
from gateway.core.schedule import parse_schedule
from gateway.core.zones import resolve_zone


async def of_job(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, PreviewQuery)
    job = await services.jobs.get(job_id_in(request))
    schedule = job.schedule
    from_ms, count = services.clock.now_ms(), query.count
    if is_chained(job):
        # What follows is known only when the run that is open has ended.
        from_ms, count = (job.next_fire_at, 1) if job.next_fire_at else (from_ms, 0)
    return json_answer(_preview(schedule, job.anchor_ms, from_ms, count))


async def of_body(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, PreviewBody)
    from_ms = services.clock.now_ms() if body.from_ is None else body.from_
    return json_answer(_preview(spec_of(body.schedule, services.timezone), from_ms, from_ms, body.count))


def _preview(spec: Spec, anchor_ms: int, from_ms: int, count: int) -> PreviewAnswer:
    schedule = parse_schedule(spec, anchor_ms=anchor_ms)
    members = spec if isinstance(spec, tuple) else (spec,)
    names = {str(member.get("timezone") or "UTC") for member in members}
    zone = resolve_zone(names.pop() if len(names) == 1 else "UTC")
    fires: list[Fire] = []
    at = schedule.first_after(from_ms)
    while at is not None and len(fires) < count:
        fires.append(Fire(time=iso_local(at, zone.offset_s(at // 1000)), time_ms=at))
        at = schedule.next_after(at)
    return PreviewAnswer(schedule=schedule_answer(spec), timezone=zone.name, next=fires)
