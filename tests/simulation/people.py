"""What people do in a simulation: they edit jobs and trigger them, through any node. Each deed is written down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.errors import AlreadySubmitted, GatewayError, NotFound
from gateway.core.model import Guarantee, Job, Misfire, Route
from gateway.core.overlap import UNLIMITED, Concurrency, Overlap
from gateway.core.pauses import Pause, Scope
from gateway.core.states import RunState
from gateway.core.submission import Submission
from tests.kit.flow_world import World
from tests.kit.life import Life

RATES_S = (1, 2, 3, 7)
DELAYS_S = (1, 2, 3)
CHANGES = ("params", "rate", "disable", "enable", "delete")
WEIGHTS = (3, 3, 3, 4, 1)
LIMITS = (1, 2, 3, 5, 8, None)
CONCURRENCIES = (
    UNLIMITED,
    UNLIMITED,
    Concurrency(Overlap.SKIP),
    Concurrency(Overlap.QUEUE, 2),
    Concurrency(Overlap.QUEUE, 1, queue_limit=2),
    Concurrency(Overlap.REPLACE),
)
TASK_IDS = ("red", "green", "blue")


@dataclass
class Edit:
    """`answered` is the number of the event with which its answer came, 0 for none; `version` what it made.

    `asked_ms` and `over_ms` bound the instant of its commit, if there was one. An edit that was not answered may be
    in the database all the same.
    """

    job_id: int
    kind: str
    asked: int
    asked_ms: int
    over_ms: int = 1 << 62
    answered: int = 0
    version: int = 0


@dataclass
class LimitEdit:
    """How many runs of the app there may be at once from then on; numbers as those of an `Edit`."""

    most: int | None
    asked: int
    answered: int = 0


@dataclass
class PauseEdit:
    """Nothing of this scope starts once it is answered, until somebody asks for its end; numbers as those of an `Edit`."""

    scope: Scope
    scope_id: int
    asked: int
    answered: int = 0
    until: int = 1 << 62


@dataclass
class Trigger:
    job_id: int
    task_id: str | None
    run_id: int = 0
    is_first: bool = True


@dataclass
class People:
    """`number` counts all that happens in the world, so that two events have an order."""

    world: World
    rng: random.Random
    number: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    limits: list[LimitEdit] = field(default_factory=list)
    limiting: bool = False
    pauses: list[PauseEdit] = field(default_factory=list)
    pausing: bool = False
    triggers: list[Trigger] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)
    # Runs that were stopped before they were sent, by the number of the answer; a kill takes others of the job.
    stopped: dict[int, int] = field(default_factory=dict)
    stopped_jobs: set[int] = field(default_factory=set)

    def next_number(self) -> int:
        self.number += 1
        return self.number

    async def add_job(self, number: int, *, limited: bool, chained: bool) -> None:
        rng, life = self.rng, self.world.now
        more: dict[str, Any] = {}
        schedule = every(rng.choice(RATES_S))
        if chained and rng.random() < 0.6:
            schedule = {"kind": "second_delay", "expression": f"{rng.choice(DELAYS_S)}s"}
        if limited:
            more = {"concurrency": rng.choice(CONCURRENCIES), "priority": rng.choice((1, 5, 10, 15))}
        # Else all would be in the same few parts.
        await self.world.do(life.jobs._ids.draw(rng.randint(1, 15)))
        job = await self.world.job(
            name=f"job {number}",
            schedule=schedule,
            misfire=rng.choice(list(Misfire)),
            misfire_after_s=rng.choice((5, 60)),
            route=rng.choice(list(Route)),
            max_attempts=rng.choice((1, 1, 3)),
            guarantee=rng.choice((Guarantee.AT_MOST_ONCE, Guarantee.AT_MOST_ONCE, Guarantee.AT_LEAST_ONCE)),
            **more,
        )
        self.jobs[job.id] = job

    # ------------------------------------------------------------ edits

    def is_over(self, job_id: int) -> bool:
        """Whether the job is known to have been deleted."""
        return any(edit.job_id == job_id and edit.kind == "delete" and edit.answered for edit in self.edits)

    def edit_something(self, life: Life) -> None:
        """Now, or a moment before the job's next slot, when its claim may have been made already."""
        rng, world = self.rng, self.world
        idle = [job_id for job_id in self.jobs if job_id not in self.busy and not self.is_over(job_id)]
        if not idle:
            return
        kind, job_id = rng.choices(CHANGES, WEIGHTS)[0], rng.choice(idle)
        self.busy.add(job_id)  # a node that stands still begins later
        due_ms = world.server.next_due(job_id, world.clock.now_ms())
        wait_s = max((due_ms - world.clock.now_ms()) / 1000 - rng.uniform(0, 0.2), 0) if due_ms else 0.0
        world.clock.call_later(rng.choice((0.0, wait_s, wait_s)), lambda: self._edit_now(life, job_id, kind))

    def _edit_now(self, life: Life, job_id: int, kind: str) -> None:
        if life.serving:
            deed = self._begin(life, self.edit(life, job_id, kind))
            deed.add_done_callback(lambda _: self.busy.discard(job_id))
        else:
            self.busy.discard(job_id)

    def _begin(self, life: Life, deed: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = life.process.spawn(deed, name="people")
        task.add_done_callback(self._seen)
        return task

    def _seen(self, task: asyncio.Task[Any]) -> None:
        """A node that died took the deed with it; what else goes wrong is an error."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    async def edit(self, life: Life, job_id: int, kind: str) -> bool:
        """To be run in the process of that node. True once it has been answered."""
        clock = self.world.clock
        edit = Edit(job_id, kind, self.next_number(), clock.now_ms())
        self.edits.append(edit)
        try:
            edit.version = await self._commit(life, job_id, kind)
            await life.operations.jobs_changed([job_id])
            edit.answered = self.next_number()
        except GatewayError as error:
            self.world.note(f"{kind} of job {job_id} through {life.name} failed: {error}")
            await clock.sleep(1)  # a commit of unknown outcome may still come
        finally:
            edit.over_ms = clock.now_ms() + (0 if edit.answered else 1000)
        return bool(edit.answered)

    async def _commit(self, life: Life, job_id: int, kind: str) -> int:
        if kind == "delete":
            await life.jobs.delete(job_id, keep_history=True)
            return 1 << 30
        if kind in ("disable", "enable"):
            return (await life.jobs.set_enabled(job_id, enabled=kind == "enable")).version
        old = await life.jobs.get(job_id)
        if kind == "params":
            task = replace(old.task, params=f"params {self.number}")
            return (await life.jobs.update(replace(old, task=task))).version
        if old.schedule["kind"] == "second_delay":
            return old.version
        rate = every(self.rng.choice(RATES_S))
        return (await life.jobs.update(replace(old, schedule=rate))).version

    # ------------------------------------------------------------ limits of the app

    def limit_something(self, life: Life) -> None:
        if not self.limiting:
            self.limiting = True
            deed = self._begin(life, self.limit(life, self.rng.choice(LIMITS)))
            deed.add_done_callback(lambda _: setattr(self, "limiting", False))

    async def limit(self, life: Life, most: int | None) -> None:
        """To be run in the process of that node."""
        assert self.world.app is not None
        edit = LimitEdit(most, self.next_number())
        self.limits.append(edit)
        try:
            app = await life.apps.get(self.world.app.appname)
            changed, moved = await life.apps.update(replace(app, max_running=most))
            await life.operations.app_changed(changed.id, moved)
            edit.answered = self.next_number()
            self.world.note(f"at most {most} runs at once, through {life.name}")
        except GatewayError as error:
            self.world.note(f"limit {most} through {life.name} failed: {error}")
            await self.world.clock.sleep(1)  # a commit of unknown outcome may still come

    # ------------------------------------------------------------ pauses

    def pause_something(self, life: Life) -> None:
        """Or end it: one deed at a time; now, or a moment before a slot, when its claim may have been made already."""
        if self.pausing or not self.jobs:
            return
        self.pausing = True
        job, world = self.rng.choice(list(self.jobs.values())), self.world
        scope = self.rng.choice(list(Scope))
        due_ms = world.server.next_due(job.id, world.clock.now_ms())
        wait_s = max((due_ms - world.clock.now_ms()) / 1000 - self.rng.uniform(0, 0.2), 0) if due_ms else 0.0
        world.clock.call_later(self.rng.choice((0.0, wait_s)), lambda: self._pause_now(life, scope, job))

    def _pause_now(self, life: Life, scope: Scope, job: Job) -> None:
        if not life.serving:
            self.pausing = False
            return
        scope_id = {Scope.ALL: 0, Scope.APP: job.app_id, Scope.JOB: job.id}[scope]
        is_paused = any(
            (one.scope, one.scope_id, one.until) == (scope, scope_id, 1 << 62) for one in self.pauses
        )
        deed = self.resume(life, scope, scope_id) if is_paused else self.pause(life, scope, scope_id)
        self._begin(life, deed).add_done_callback(lambda _: setattr(self, "pausing", False))

    async def pause(self, life: Life, scope: Scope, scope_id: int) -> None:
        """To be run in the process of that node."""
        edit = PauseEdit(scope, scope_id, self.next_number())
        self.pauses.append(edit)
        try:
            pause = Pause(scope, scope_id, "simulated", "somebody", self.world.clock.now_ms())
            await life.pauses.put(pause, called=str(scope_id))
            await life.operations.pauses_changed()
            edit.answered = self.next_number()
            self.world.note(f"{scope} {scope_id} paused through {life.name}")
            await self.world.clock.sleep(self.rng.choice((0.3, 0.7, 1.5)))
            await self.resume(life, scope, scope_id)  # for little would happen while it lasts
        except GatewayError as error:
            self.world.note(f"pause of {scope} {scope_id} through {life.name} failed: {error}")

    async def resume(self, life: Life, scope: Scope, scope_id: int) -> None:
        """To be run in the process of that node."""
        asked = self.next_number()
        for one in self.pauses:
            if (one.scope, one.scope_id) == (scope, scope_id):
                one.until = min(one.until, asked)
        try:
            await life.pauses.end(scope, scope_id, called=str(scope_id))
            await life.operations.pauses_changed()
        except NotFound:
            return
        except GatewayError as error:
            self.world.note(f"end of the pause of {scope} {scope_id} through {life.name} failed: {error}")
            return
        self.world.note(f"{scope} {scope_id} goes on")

    # ------------------------------------------------------------ triggers and stops

    def stop_something(self, life: Life) -> None:
        open_runs = self.world.server.open_runs()
        if open_runs:
            self._begin(life, self._stop(life, *self.rng.choice(open_runs)))

    async def _stop(self, life: Life, run_id: int, job_id: int) -> None:
        self.stopped_jobs.add(job_id)
        try:
            report = await life.operations.stop(run_id)
        except GatewayError as error:
            self.world.note(f"stop of run {run_id} through {life.name} failed: {error}")
            return
        if report.state is RunState.STOPPED:
            self.stopped[run_id] = self.next_number()

    def trigger_something(self, life: Life) -> None:
        if self.jobs:
            task_id = self.rng.choice((None, *TASK_IDS))
            self._begin(life, self._trigger(life, self.rng.choice(list(self.jobs)), task_id))

    async def _trigger(self, life: Life, job_id: int, task_id: str | None) -> None:
        trigger = Trigger(job_id, task_id)
        try:
            trigger.run_id = await life.operations.trigger(job_id, Submission(task_id=task_id))
        except AlreadySubmitted as error:
            trigger.run_id, trigger.is_first = error.run_id, False
        except GatewayError as error:
            self.world.note(f"trigger of job {job_id} through {life.name} failed: {error}")
            return
        self.triggers.append(trigger)


def every(seconds: int) -> dict[str, str]:
    return {"kind": "fixed_rate", "expression": f"{seconds}s"}
