"""Handlers: when a schedule would fire."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.api.calendars import days_of
from gateway.api.drafts import Spec, clock_of, spec_of
from gateway.api.intake import query_as, read_as
from gateway.api.jobs import job_id_in
from gateway.api.models.previews import Fire, PreviewAnswer, PreviewBody, PreviewQuery
from gateway.api.render import iso_local, json_answer, schedule_answer
from gateway.api.services import SERVICES
from gateway.api.timings import is_zoned, timing_of
from gateway.core.chain import is_chained
from gateway.core.confine import confined, next_slot, schedule_of
from gateway.core.schedule import parse_schedule
from gateway.core.timing import Timing
from gateway.core.upcoming import cautions, upcoming
from gateway.core.zones import Zone, resolve_zone


async def of_job(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, PreviewQuery)
    job = await services.jobs.get(job_id_in(request))
    now_ms = services.clock.now_ms()
    schedule, most = schedule_of(job), job.timing.window.max_fires
    if is_chained(job):
        # What follows is known only when the run that is open has ended.
        slots = [slot_ms] if (slot_ms := next_slot(job)) else []
    else:
        slots = upcoming(
            schedule,
            now_ms if query.from_ is None else query.from_,
            query.count,
            left=most - job.fired if most else None,
            next_fire_at=job.next_fire_at,
        )
    answer = PreviewAnswer(
        schedule=schedule_answer(job.schedule),
        timezone=(zone := _shown_in(job.schedule, query.timezone)).name,
        next=_fires(job.timing, job.id, slots, zone),
        warnings=cautions(schedule, job.schedule, job.timing, job.days, now_ms, fired=job.fired),
    )
    return json_answer(answer)


async def of_body(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, PreviewBody)
    from_ms = services.clock.now_ms() if body.from_ is None else body.from_
    spec = spec_of(body.schedule, services.timezone, zoned=is_zoned(body))
    bare = parse_schedule(spec, anchor_ms=from_ms)
    timing = timing_of(body, clock_of(spec, services.timezone))
    days = await days_of(services, timing)
    schedule = confined(bare, spec, timing, days)
    slots = upcoming(schedule, from_ms, body.count, left=timing.window.max_fires or None)
    answer = PreviewAnswer(
        schedule=schedule_answer(spec),
        timezone=(zone := _shown_in(spec, body.timezone)).name,
        next=_fires(timing, 0, slots, zone),
        warnings=cautions(schedule, spec, timing, days, from_ms),
    )
    return json_answer(answer)


def _shown_in(spec: Spec, timezone: str | None) -> Zone:
    if timezone is not None:
        return resolve_zone(timezone)
    members = spec if isinstance(spec, tuple) else (spec,)
    names = {str(member.get("timezone") or "UTC") for member in members}
    return resolve_zone(names.pop() if len(names) == 1 else "UTC")


def _fires(timing: Timing, job_id: int, slots: list[int], zone: Zone) -> list[Fire]:
    """The jitter of a slot depends on the job: without one it is left out."""
    fires = []
    for slot_ms in slots:
        due_ms = timing.due_ms(job_id, slot_ms) if job_id else slot_ms
        data: dict[str, Any] = {}
        if timing.data_offset_s is not None:
            data_ms = slot_ms + timing.data_offset_s * 1000
            data = {"data_time": iso_local(data_ms, zone.offset_s(data_ms // 1000)), "data_time_ms": data_ms}
        fires.append(
            Fire(
                time=iso_local(due_ms, zone.offset_s(due_ms // 1000)),
                time_ms=due_ms,
                slot=iso_local(slot_ms, zone.offset_s(slot_ms // 1000)),
                slot_ms=slot_ms,
                **data,
            )
        )
    return fires
