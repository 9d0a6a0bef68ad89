"""Handlers: backfills."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import path_id, query_as, read_as
from gateway.api.jobs import job_id_in
from gateway.api.models.backfills import (
    BackfillAnswer,
    BackfillBody,
    BackfillList,
    BackfillPlan,
    BackfillQuery,
)
from gateway.api.models.base import MAX_ID
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES, Services
from gateway.core.acting import author
from gateway.core.backfill import MAX_SLOTS, Backfill
from gateway.core.clock import iso_utc
from gateway.core.confine import schedule_of
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.model import Job
from gateway.core.schedule import is_timed

_PARALLEL = 10
_SLOTS_A_SLICE = 100


async def create(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, BackfillBody)
    job = await services.jobs.get(job_id_in(request))
    now_ms = services.clock.now_ms()
    if body.to > now_ms:
        raise InvalidValue(
            "to", iso_utc(body.to), f"an instant that is not in the future: it is {iso_utc(now_ms)}"
        )
    slots = await _slots(services, job, body.from_, body.to)
    if body.dry_run:
        return json_answer(BackfillPlan(total=len(slots), **times(first=slots[0], last=slots[-1])))
    parallel = (body.max_parallel or _PARALLEL) if body.overlap == "parallel" else 1
    made = await services.backfills.create(
        Backfill(
            id=0,
            job_id=job.id,
            from_ms=body.from_,
            to_ms=body.to,
            total=len(slots),
            max_parallel=parallel,
            per_minute=body.per_minute or 0,
            newest_first=body.order == "newest_first",
            params=body.params,
            reason=body.reason,
            author=author(),
            created_ms=now_ms,
        ),
        slots,
    )
    services.operations.backfills_changed()
    return json_answer(_answer(made, with_runs=True), 201)


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    job_id, query = job_id_in(request), query_as(request, BackfillQuery)
    await services.jobs.get(job_id)
    found = await services.backfills.of_job(job_id, query.limit)
    return json_answer(BackfillList(items=[_answer(one) for one in found]))


async def get(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    return json_answer(_answer(await services.backfills.get(_id_in(request)), with_runs=True))


async def cancel(request: web.Request) -> web.Response:
    services, backfill_id = request.app[SERVICES], _id_in(request)
    await services.backfills.cancel(backfill_id)
    return json_answer(_answer(await services.backfills.get(backfill_id), with_runs=True))


def _id_in(request: web.Request) -> int:
    backfill_id = path_id(request, "backfill_id")
    if backfill_id > MAX_ID:
        raise NotFound("backfill", backfill_id)
    return backfill_id


async def _slots(services: Services, job: Job, from_ms: int, to_ms: int) -> list[int]:
    """All slots of the job's schedule in the range, as it is now. In slices, for runs may be due meanwhile."""
    if not is_timed(job.schedule):
        raise Conflict(f"job {job.id} has no slots of its own: there is nothing to backfill")
    schedule, slots = schedule_of(job), list[int]()
    at = schedule.next_after(from_ms - 1)
    while at is not None and at < to_ms:
        if len(slots) == MAX_SLOTS:
            raise InvalidValue(
                "to",
                iso_utc(to_ms),
                f"a range of at most {MAX_SLOTS} slots: this one has them up to {iso_utc(at)}",
            )
        slots.append(at)
        if len(slots) % _SLOTS_A_SLICE == 0:
            await services.clock.sleep(0)
        at = schedule.next_after(at)
    if not slots:
        raise InvalidValue("from", iso_utc(from_ms), "a range in which the job's schedule has slots")
    return slots


def _answer(found: Backfill, *, with_runs: bool = False) -> BackfillAnswer:
    return BackfillAnswer(
        id=found.id,
        job_id=found.job_id,
        state=found.state.word,
        from_=iso_utc(found.from_ms),
        from_ms=found.from_ms,
        to=iso_utc(found.to_ms),
        to_ms=found.to_ms,
        overlap="one_after_another" if found.max_parallel == 1 else "parallel",
        max_parallel=found.max_parallel,
        per_minute=found.per_minute or None,
        order="newest_first" if found.newest_first else "oldest_first",
        params=found.params,
        reason=found.reason,
        author=found.author,
        total=found.total,
        started=found.started,
        runs=dict(found.outcomes) if with_runs else None,
        **times(created=found.created_ms, finished=found.finished_ms),
    )
