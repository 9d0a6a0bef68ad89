"""`/jobinfo/*`: jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from compat.admin import job_forms
from compat.admin.calls import Call
from compat.admin.groups import addresses_of, app_by_id, known_addresses
from compat.admin.paging import MOST_SEARCH, window_of
from compat.admin.replies import Json, Rows, local_date
from compat.admin.schedules import next_fires
from gateway.core.acting import author
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.model import DEFAULT_NAMESPACE, Job
from gateway.core.placement import address_key
from gateway.core.positions import JobSearch
from gateway.core.submission import Submission

_ATTEMPTS = 3
_SLICE = 200


async def page(call: Call) -> Json:
    given = call.given
    status = given.number("triggerStatus", -1)
    search = JobSearch(
        app_ids=await apps_asked_for(call),
        enabled=None if status < 0 else status == 1,
        name=(given.text("jobDesc", "name", most=MOST_SEARCH) or "").strip(),
        handler=(given.text("executorHandler", most=MOST_SEARCH) or "").strip(),
        author=(given.text("author", most=MOST_SEARCH) or "").strip(),
    )
    found = await call.ports.positions.jobs(search, window_of(given))
    return Rows(found.total, await rows_of(call, found.items))


async def rows_of(call: Call, jobs: Sequence[Job]) -> list[Json]:
    """In slices: runs may be due meanwhile."""
    rows: list[Json] = []
    for start in range(0, len(jobs), _SLICE):
        await call.ports.clock.sleep(0)
        some = jobs[start : start + _SLICE]
        due = await call.ports.positions.last_due([job.id for job in some if job.enabled])
        rows += [job_forms.row(job, call.style, due.get(job.id, 0)) for job in some]
    return rows


async def apps_asked_for(call: Call) -> frozenset[int] | None:
    """`jobGroup`; for none, all of the caller's, which is None for an admin. Raises `Refused`."""
    app_id = await call.app_id("jobGroup", 0)
    if app_id > 0:
        call.require_app(app_id)
        return frozenset({app_id})
    return None if call.user.is_admin else call.user.app_ids


async def add(call: Call) -> Json:
    """The id of the new job, as text."""
    app_id = await call.app_id("jobGroup", 0)
    call.require_app(app_id)
    app = await app_by_id(call, app_id)
    (made,) = await call.ports.jobs.create([await job_forms.new_job(call, app.id)])
    await call.ports.operations.jobs_changed([made.id])
    return str(made.id)


async def update(call: Call) -> Json:
    async def changed(old: Job) -> Job:
        app_id = await call.app_id("jobGroup", 0)
        if app_id > 0 and app_id != old.app_id:
            raise InvalidValue("jobGroup", app_id, f"{old.app_id}: a job cannot move to another executor")
        return await job_forms.changed_job(call, old)

    await change_job(call, call.given.number("id"), changed)


async def remove(call: Call) -> Json:
    """One that is gone already is as good as removed, and one of an app that is not the caller's as good as gone."""
    found = await call.ports.jobs.load(call.given.ids())
    mine = sorted(job.id for job in found.values() if call.user.may(job.app_id))
    outcomes = await call.ports.jobs.delete_all(mine)
    await call.ports.operations.jobs_changed(mine)
    for outcome in outcomes.values():
        if isinstance(outcome, Exception) and not isinstance(outcome, NotFound):
            raise outcome


async def start(call: Call) -> Json:
    job = await job_of(call, call.given.one_id())
    if isinstance(job.schedule, dict) and job.schedule["kind"] in ("none", "api"):
        raise Conflict(f"job {job.id} has the scheduleType NONE: there is nothing to start")
    await _switch(call, job, enabled=True)


async def stop(call: Call) -> Json:
    await _switch(call, await job_of(call, call.given.one_id()), enabled=False)


async def trigger(call: Call) -> Json:
    """Without `executorParam` the run gets an empty one, not the job's: as at the admin."""
    job = await job_of(call, call.given.number("id"))
    addresses = await _addresses(call, job)
    wanted = Submission(
        params=call.given.text("executorParam") or "",
        addresses=addresses or None,
        author=author()[:64],
    )
    await call.ports.quotas.take(DEFAULT_NAMESPACE)
    await call.ports.operations.trigger(job.id, wanted, kind=call.kind)


async def next_trigger_time(call: Call) -> Json:
    found = next_fires(call.given, call.ports.zone.name, call.ports.clock.now_ms())
    return [local_date(at_ms, call.ports.zone) for at_ms in found]


async def change_job(call: Call, job_id: int, changed: Callable[[Job], Awaitable[Job]]) -> None:
    """Again, if somebody else was faster. Raises `NotFound`, `Refused`, and what `changed` raises."""
    for attempt in range(1, _ATTEMPTS + 1):
        job = await changed(await job_of(call, job_id))
        try:
            await call.ports.jobs.update(job)
            break
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
    await call.ports.operations.jobs_changed([job_id])


async def job_of(call: Call, job_id: int) -> Job:
    """Raises `NotFound`, also for one of an app that is not the caller's."""
    job = await call.ports.jobs.get(job_id)
    call.require_app(job.app_id, NotFound("job", job_id))
    return job


async def _addresses(call: Call, job: Job) -> tuple[str, ...]:
    """A run takes the access token, and perhaps a source, along: who is no admin sends it to the app's executors alone."""
    addresses = addresses_of(call.given.text("addressList") or "", "addressList")
    if addresses and not call.user.is_admin:
        known = await known_addresses(call, await app_by_id(call, job.app_id))
        for one in addresses:
            if address_key(one) not in known:
                raise InvalidValue(
                    "addressList", one, f"addresses of this executor (jobGroup); {one} is none"
                )
    return addresses


async def _switch(call: Call, job: Job, *, enabled: bool) -> None:
    await call.ports.jobs.set_enabled(job.id, enabled=enabled)
    await call.ports.operations.jobs_changed([job.id])
