"""Simulate: the jobs, limits and pauses that are stored become a simulation, which runs in slices.

In: a wish. Out: what would happen. Nothing is written, and runs that are due meanwhile are not held up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

from gateway.core.catalog import AppCatalog, JobCatalog
from gateway.core.clock import Clock
from gateway.core.confine import schedule_of
from gateway.core.errors import Conflict, InvalidValue
from gateway.core.listing import JobFilter
from gateway.core.model import App, Job, Route
from gateway.core.operations import Operations
from gateway.core.pauses import PauseReader, Pauses
from gateway.core.placement import ExecutorSetting
from gateway.core.reachable import reachable
from gateway.core.scenario import (
    DEFAULT_RUN_MS,
    MOST_JOBS,
    Durations,
    Scenario,
    Simulated,
    Subject,
    Wish,
)
from gateway.core.simulate import Simulation

SLICE_S = 0.002
_JOBS_A_PAGE = 100
_APPS_A_PAGE = 500


class FlowSimulator:
    """Implements `core.scenario.Simulator`: one simulation at a time."""

    def __init__(
        self,
        jobs: JobCatalog,
        apps: AppCatalog,
        pauses: PauseReader,
        durations: Durations,
        operations: Operations,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._apps = apps
        self._pauses = pauses
        self._durations = durations
        self._operations = operations
        self._clock = clock
        self._is_busy = False
        self._slice_ends = 0.0

    async def simulate(self, wish: Wish) -> Simulated:
        if self._is_busy:
            raise Conflict("a simulation is at work on this node: try again when it has ended")
        self._is_busy = True
        try:
            return await self._simulate(wish)
        finally:
            self._is_busy = False

    async def _simulate(self, wish: Wish) -> Simulated:
        apps = {**await self._all_apps(), **wish.apps}
        jobs = [job async for job in self._wanted(wish)]
        durations: Mapping[int, int] = {}
        if wish.duration_ms is None:
            durations = await self._durations.mean_ms([job.id for job in jobs if job.id > 0])
        subjects: list[Subject] = []
        unreadable: list[int] = []
        for job in jobs:
            await self._breathe()
            duration_ms = (
                durations.get(job.id, DEFAULT_RUN_MS) if wish.duration_ms is None else wish.duration_ms
            )
            try:
                # At least a moment: what follows an end must come after it.
                subjects.append(Subject(job, schedule_of(job), max(duration_ms, 1)))
            except InvalidValue:
                unreadable.append(job.id)
        pauses = Pauses()
        pauses.replace(await self._pauses.all_pauses())
        scenario = Scenario(
            wish.from_ms,
            wish.to_ms,
            subjects,
            apps,
            pauses,
            await self._executors(jobs, apps),
            wish.away,
            listed=wish.listed,
        )
        simulation = Simulation(scenario)
        for _ in simulation.steps():
            await self._breathe()
        by_id = {subject.job.id: subject for subject in subjects}
        return Simulated(simulation.outcome, by_id, apps, tuple(unreadable))

    async def _breathe(self) -> None:
        """Let others go on once a slice of time is used up."""
        if self._clock.monotonic() >= self._slice_ends:
            await self._clock.sleep(0)
            self._slice_ends = self._clock.monotonic() + SLICE_S

    async def _wanted(self, wish: Wish) -> AsyncIterator[Job]:
        for draft in wish.drafts:
            yield draft
        if not wish.stored:
            return
        if wish.job_ids is not None:
            for job_id in wish.job_ids:
                yield await self._jobs.get(job_id)
            return
        cursor, count = None, 0
        while True:
            page = await self._jobs.page(JobFilter(app_id=wish.app_id), cursor=cursor, limit=_JOBS_A_PAGE)
            for job in page.items:
                yield job
            cursor, count = page.next_cursor, count + len(page.items)
            if cursor is None:
                return
            if count >= MOST_JOBS:
                raise InvalidValue("app", None, f"an app, or jobs: there are more than {MOST_JOBS} of them")

    async def _all_apps(self) -> dict[int, App]:
        found: dict[int, App] = {}
        cursor = None
        while True:
            page = await self._apps.page(cursor=cursor, limit=_APPS_A_PAGE)
            found.update({app.id: app for app in page.items})
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def _executors(self, jobs: Iterable[Job], apps: Mapping[int, App]) -> dict[int, int]:
        """How many executors each job may use that has a run for each of them."""
        found: dict[int, int] = {}
        settings: dict[int, list[ExecutorSetting]] = {}
        for job in jobs:
            app = apps.get(job.app_id)
            if app is None or job.route is not Route.SHARDING_BROADCAST:
                continue
            if app.id not in settings:
                settings[app.id] = await self._apps.settings_of(app.id)
            live = self._operations.live_executors(app.id)
            found[job.id] = reachable(job, app, live, settings[app.id]).usable
        return found
