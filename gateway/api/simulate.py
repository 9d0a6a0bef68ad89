"""Handler: simulations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from gateway.api.calendars import days_of
from gateway.api.drafts import job_of
from gateway.api.intake import read_as
from gateway.api.models.simulation import (
    AppCountsAnswer,
    CountsAnswer,
    FireAnswer,
    JobCountsAnswer,
    ReasonCount,
    SimulationAnswer,
    SimulationBody,
)
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES, Services
from gateway.core.clock import iso_utc
from gateway.core.confine import schedule_of
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.model import BROADCAST_PARENT, App, Job
from gateway.core.scenario import DEFAULT_RUN_MS, Simulated, Subject, Wish
from gateway.core.tallies import AppTally, Fire, Tally

_A_SLICE = 100
_MOST_JOBS = 1000


async def simulate(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, SimulationBody)
    from_ms = services.clock.now_ms() if body.from_ is None else body.from_
    if body.to <= from_ms:
        raise InvalidValue("to", iso_utc(body.to), f"an instant after from, which is {iso_utc(from_ms)}")
    app = None if body.app is None else await _app(services, body.app, "app")
    given: Mapping[str, Any] = {"listed": body.fires, "duration_ms": body.duration_s}
    wish = Wish(
        from_ms,
        body.to,
        app.id if app is not None else None,
        None if body.job_ids is None else tuple(dict.fromkeys(body.job_ids)),
        stored=body.jobs is None or body.app is not None or body.job_ids is not None,
        drafts=await _drafts(services, body, from_ms),
        away=tuple((outage.from_, outage.to) for outage in body.outages),
        apps=await _apps(services, body),
        **given,
    )
    found = await services.simulator.simulate(wish)
    return json_answer(await _answer(services, wish, found))


async def _app(services: Services, appname: str, field: str) -> App:
    try:
        return await services.apps.get(appname)
    except NotFound:
        raise InvalidValue(field, appname, "the appname of an app that exists") from None


async def _apps(services: Services, body: SimulationBody) -> dict[int, App]:
    """Apps with the limits that are to be tried."""
    found: dict[int, App] = {}
    for number, limit in enumerate(body.limits):
        app = await _app(services, limit.app, f"limits[{number}].app")
        changes = {name: getattr(limit, name) for name in limit.model_fields_set - {"app"}}
        found[app.id] = replace(found.get(app.id, app), **changes)
    return found


async def _drafts(services: Services, body: SimulationBody, from_ms: int) -> tuple[Job, ...]:
    """As though they were created when the range begins. Checked in slices, as other jobs are."""
    drafts: list[Job] = []
    for number, one in enumerate(body.jobs or ()):
        within = f"jobs[{number}]"
        app = await _app(services, one.app, f"{within}.app")
        job = job_of(one, app.id, now_ms=from_ms, default_timezone=services.timezone, within=within)
        days = await days_of(services, job.timing, within)
        job = replace(job, id=-number - 1, anchor_ms=from_ms, days=days)
        drafts.append(replace(job, next_fire_at=schedule_of(job).first_after(from_ms - 1)))
        if number % _A_SLICE == _A_SLICE - 1:
            await services.clock.sleep(0)
    return tuple(drafts)


async def _answer(services: Services, wish: Wish, found: Simulated) -> SimulationAnswer:
    outcome = found.outcome
    fires: list[FireAnswer] = []
    for number, fire in enumerate(sorted(outcome.fires, key=lambda one: (one.due_ms, one.run_id))):
        fires.append(_fire(fire, found))
        if number % _A_SLICE == _A_SLICE - 1:
            await services.clock.sleep(0)
    waits = sorted(outcome.jobs.items(), key=lambda item: (-item[1].wait_max_ms, item[0]))
    return SimulationAnswer(
        total=CountsAnswer(**_counts(outcome.total)),
        apps=[_app_counts(found.apps[app_id], tally) for app_id, tally in sorted(outcome.apps.items())],
        jobs=[_job_counts(found.subjects[job_id], found, tally) for job_id, tally in waits[:_MOST_JOBS]],
        reasons=[ReasonCount(reason=reason, count=count) for reason, count in outcome.reasons.most_common()],
        fires=fires,
        more_fires=outcome.runs > len(fires),
        notes=_notes(wish, found),
        **times(**{"from": wish.from_ms, "to": wish.to_ms}),
    )


def _notes(wish: Wish, found: Simulated) -> list[str]:
    notes = [
        "It begins with nothing waiting and nothing under way. Runs succeed, and executors are always there."
    ]
    if wish.duration_ms is None:
        notes.append(
            "Each run takes as long as the last 20 of its job did on the average, "
            f"{DEFAULT_RUN_MS / 1000:g} s where there are none."
        )
    if found.unreadable:
        ids = ", ".join(map(str, found.unreadable[:10]))
        notes.append(f"Left out, because their schedules cannot be read: jobs {ids}.")
    return notes


def _names(job: Job, found: Simulated) -> dict[str, Any]:
    app = found.apps.get(job.app_id)
    return {"job_id": job.id, "job": job.name, "app": app.appname if app else ""}


def _fire(fire: Fire, found: Simulated) -> FireAnswer:
    job = found.subjects[fire.job_id].job
    is_shard = fire.cause.name == "SHARD" or fire.shard == BROADCAST_PARENT
    return FireAnswer(
        run=fire.run_id,
        trigger=fire.cause.name.lower(),
        slots=fire.slot_count,
        wait_ms=fire.wait_ms,
        state=fire.state.word,
        shard=fire.shard if is_shard else None,
        reason=fire.reason or None,
        **_names(job, found),
        **times(slot=fire.slot_ms, due=fire.due_ms, start=fire.start_ms, end=fire.end_ms),
    )


def _counts(tally: Tally) -> dict[str, Any]:
    plain = ("fires", "started", "skipped", "expired", "stopped", "waiting", "waited", "wait_max_ms")
    mean_ms = tally.wait_total_ms // tally.waited if tally.waited else 0
    return {name: getattr(tally, name) for name in plain} | {"wait_mean_ms": mean_ms}


def _app_counts(app: App, tally: AppTally) -> AppCountsAnswer:
    return AppCountsAnswer(
        app=app.appname,
        max_running=app.max_running,
        starts_per_second=app.starts_per_second,
        queue_max=tally.queue_max,
        running_max=tally.running_max,
        **_counts(tally),
        **times(queue_max_at=tally.queue_max_at_ms, running_max_at=tally.running_max_at_ms),
    )


def _job_counts(subject: Subject, found: Simulated, tally: Tally) -> JobCountsAnswer:
    return JobCountsAnswer(duration_ms=subject.duration_ms, **_names(subject.job, found), **_counts(tally))
