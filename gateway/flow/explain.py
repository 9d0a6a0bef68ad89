"""Explain: what there is to know of a job at an instant is read, by a few short queries; the core makes the answer."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.calendar_days import days_at
from gateway.core.catalog import AppCatalog, JobCatalog, RunCatalog
from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.events import Event, EventCatalog, EventFilter, Source
from gateway.core.explain import Explanation, Known, explain, look, zone_for
from gateway.core.facts import Fact, when
from gateway.core.hindsight import Hindsight
from gateway.core.listing import RunFilter
from gateway.core.model import App, Job, Run
from gateway.core.moments import parse_moment
from gateway.core.operations import Operations
from gateway.core.pauses import Pause, PauseReader, Pauses
from gateway.core.places import Place, Scope
from gateway.core.ports import RunReader
from gateway.core.reachable import NOBODY, Reachable, reachable
from gateway.core.retention import cut_ms
from gateway.core.slot_search import NOWHERE, SAME_MS, local_gap
from gateway.core.states import OPEN, WAITING
from gateway.core.versions import JobVersion
from gateway.core.waiting import QueueDesk
from gateway.core.zones import HORIZON_YEARS, Zone

_NEAR_RUNS = 50
_AHEAD_MS = HORIZON_YEARS * 366 * 86_400_000
_LONG_RUN_MS = 24 * 3_600_000
_QUEUE = 500
_NOW = 1 << 62  # later than any change


class FlowExplainer:
    """Implements `core.explain.Explainer`."""

    def __init__(
        self,
        *,
        jobs: JobCatalog,
        apps: AppCatalog,
        runs: RunCatalog,
        reader: RunReader,
        hindsight: Hindsight,
        pauses: PauseReader,
        events: EventCatalog,
        queues: QueueDesk,
        operations: Operations,
        clock: Clock,
        retention_days: int,
    ) -> None:
        self._jobs = jobs
        self._apps = apps
        self._runs = runs
        self._reader = reader
        self._hindsight = hindsight
        self._pauses = pauses
        self._events = events
        self._queues = queues
        self._operations = operations
        self._clock = clock
        self._retention_days = retention_days

    async def explain(self, job_id: int, at: str | None) -> tuple[int, Explanation]:
        now_ms = self._clock.now_ms()
        job = await self._job(job_id)
        newest = await self._hindsight.version_at(job_id, _NOW)
        told = job or (newest.job if newest else None)
        zone = zone_for(told) if told is not None else Zone("UTC", 0)
        at_ms, gap = _instant(at, zone, now_ms)
        version = await self._hindsight.version_at(job_id, at_ms)
        version, calendar_ms, calendar_known = await self._with_days(version, at_ms)
        known = Known(
            at_ms=at_ms,
            now_ms=now_ms,
            zone=zone,
            job=job,
            version=version,
            look=look(version.job, at_ms, version.created_ms) if version else NOWHERE,
            calendar_ms=calendar_ms,
            calendar_known=calendar_known,
            gap=gap,
            changed=job is not None and version is not None and job.version != version.number,
        )
        known = await self._with_rows(known, job_id)
        if known.rows and version is None:
            known = replace(known, version=newest)  # it came within the first moment of the job
        if job is None and (grave := await self._hindsight.grave(job_id)) is not None:
            deleted = f"the job was deleted by {grave.author or 'system'} at {when(grave.deleted_ms, zone)}"
            known = replace(known, deleted=deleted, deleted_ms=grave.deleted_ms)
        if known.rows:
            if any(run.state in WAITING for run in known.rows):
                known = await self._with_present(known)
        elif at_ms <= now_ms:
            known = await self._with_past(known, job_id)
        else:
            known = await self._with_present(await self._with_past(known, job_id))
        return at_ms, explain(known)

    async def _job(self, job_id: int) -> Job | None:
        try:
            return await self._jobs.get(job_id)
        except NotFound:
            return None

    async def _with_days(self, version: JobVersion | None, at_ms: int) -> tuple[JobVersion | None, int, bool]:
        """With the days of its calendars at that instant; when these were changed after it; and whether they are known.

        Where they are not, with the present ones.
        """
        if version is None or not version.job.timing.calendars:
            return version, 0, True
        uses = version.job.timing.calendars
        editions = await self._hindsight.editions(version.job, at_ms)
        days = days_at(uses, editions, at_ms)
        is_known = days is not None
        ends = [one.until_ms for all_of in editions.values() for one in all_of if one.until_ms]
        starts = [one.from_ms for all_of in editions.values() for one in all_of if not one.until_ms]
        changed_ms = min(ends, default=0) if is_known else max(starts, default=0)
        if not is_known:
            days = days_at(uses, editions, _NOW)
        return replace(version, job=replace(version.job, days=days)), changed_ms, is_known

    # ------------------------------------------------------------ rows

    async def _with_rows(self, known: Known, job_id: int) -> Known:
        """The rows of the slot; else those of a run that was due or under way then; and those of the slot before."""
        slot_ms = known.look.slot_ms
        if slot_ms is not None:
            rows = await self._family(await self._hindsight.slot_row(job_id, slot_ms))
            return replace(known, rows=rows)
        if known.at_ms > known.now_ms + _LONG_RUN_MS:
            return known
        near, earlier = await self._near(known, job_id)
        if near is not None:
            return replace(known, rows=await self._family(near))
        before_ms = known.look.before_ms
        if known.version is not None and is_chained(known.version.job):
            before_ms = await self._hindsight.latest_slot(job_id, known.at_ms)
        if before_ms is None:
            return replace(known, before=await self._family(earlier))
        before = await self._family(await self._hindsight.slot_row(job_id, before_ms))
        return replace(known, before=before)

    async def _near(self, known: Known, job_id: int) -> tuple[Run | None, Run | None]:
        """A run that was due within a second of the instant, else the latest that was open then; and the one before."""
        at_ms = known.at_ms
        wanted = RunFilter(job_id=job_id, from_ms=at_ms - _LONG_RUN_MS, to_ms=at_ms + SAME_MS)
        found = [
            run
            for run in (await self._runs.page(wanted, cursor=None, limit=_NEAR_RUNS)).items
            if run.shard <= 0 and run.attempt == 1
        ]
        due = [run for run in found if abs(run.due_ms - at_ms) < SAME_MS]
        if due:
            return min(due, key=lambda run: (abs(run.due_ms - at_ms), run.id)), None
        is_open = [run for run in found if run.sent_ms and (run.state in OPEN or run.finished_ms >= at_ms)]
        return (
            max(is_open, key=lambda run: run.due_ms, default=None),
            max(found, key=lambda run: run.due_ms, default=None),
        )

    async def _family(self, run: Run | None) -> tuple[Run, ...]:
        if run is None:
            return ()
        return tuple(await self._reader.family(run.job_id, run.slot_key))

    # ------------------------------------------------------------ what else counts

    async def _with_past(self, known: Known, job_id: int) -> Known:
        job = known.job or (known.version.job if known.version else None)
        days = (job.retention_days if job else 0) or self._retention_days
        return replace(
            known,
            disabled=await self._event(job_id, "disabled", known.at_ms + 1),
            removed=await self._event(job_id, "runs_removed", None),
            kept_from_ms=cut_ms(known.now_ms, days),
        )

    async def _event(self, job_id: int, reason: str, to_ms: int | None) -> Event | None:
        wanted = EventFilter(source_type=Source.JOB, source_id=str(job_id), reason=reason, to_ms=to_ms)
        page = await self._events.page(wanted, cursor=None, limit=1)
        return page.items[0] if page.items else None

    async def _with_present(self, known: Known) -> Known:
        """Pause, limits, executors, as they are now."""
        job = known.job
        if job is None:
            return known
        app = await self._app(job)
        at_ms = max(known.at_ms, known.now_ms)
        running_app = running_job = None
        in_app: list[Place] = []
        in_job: list[Place] = []
        if app is not None and app.max_running is not None:
            in_app = await self._reader.under_way(Scope("app", app.id, job.part))
            running_app = sum(place.shard >= 0 for place in in_app)
        if job.concurrency.limited:
            in_job = await self._reader.under_way(Scope("job", job.id, job.part))
            running_job = len(in_job)
        pause = await self._pause(job, at_ms)
        return replace(
            known,
            app=app,
            pause=pause,
            executors=await self._executors(job, app),
            running_app=running_app,
            running_job=running_job,
            held_app=[place.run_id for place in in_app if place.held],
            held_job=[place.run_id for place in in_job if place.held],
            waits=pause.words if pause is not None else await self._waits(known, app),
        )

    async def _app(self, job: Job) -> App | None:
        name = (await self._apps.names([job.app_id])).get(job.app_id)
        return await self._apps.get(name) if name is not None else None

    async def _pause(self, job: Job, at_ms: int) -> Pause | None:
        pauses = Pauses()
        pauses.replace(await self._pauses.all_pauses())
        return pauses.find(job.app_id, job.id, at_ms)

    async def _executors(self, job: Job, app: App | None) -> Reachable:
        if app is None:
            return NOBODY
        return reachable(
            job, app, self._operations.live_executors(app.id), await self._apps.settings_of(app.id)
        )

    async def _waits(self, known: Known, app: App | None) -> str:
        """Its place in the queue of the app, and when it will start if all goes on as before."""
        waiting = [run for run in known.rows if run.state in WAITING and run.due_ms <= known.now_ms]
        if app is None or not waiting:
            return ""
        ids = {run.id for run in waiting}
        queue = await self._queues.view(app, _QUEUE)
        for one in queue.first:
            if one.run.id in ids:
                expected = (
                    f", expected to start at {when(one.predicted_ms, known.zone)}" if one.predicted_ms else ""
                )
                return f"{one.reason}; number {one.position} of {queue.count} that wait in the app{expected}"
        return ""


def _instant(at: str | None, zone: Zone, now_ms: int) -> tuple[int, Fact | None]:
    """An instant as people write it, and the fact that it does not exist if that is so. Raises `InvalidValue`."""
    if at is None:
        return now_ms, None
    if (found := local_gap(at, zone)) is not None:
        return found
    at_ms = parse_moment(_with_plus(at), zone, field="at")
    if at_ms > now_ms + _AHEAD_MS:
        raise InvalidValue("at", at, f"an instant of the next {HORIZON_YEARS} years, or of the past")
    return at_ms, None


def _with_plus(text: str) -> str:
    """A plus sign that was not escaped in an address arrives as a blank."""
    head, blank, tail = text.strip().rpartition(" ")
    return f"{head}+{tail}" if blank and "T" in head else text
