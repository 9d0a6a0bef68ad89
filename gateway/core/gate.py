"""The gate: who may start under the limits of jobs and apps, who waits, and in which order.

A run first needs its job's leave (`overlap`), then a place in its app (`max_running`) and a start in this second
(`starts_per_second`). It waits for its job in the job's line and for its app in the app's; both keep the same
order. Memory only: what is counted here is what the database says, read when a job or an app is met for the first
time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from gateway.core import held_up
from gateway.core.line import Line
from gateway.core.model import BROADCAST_PARENT, App, Job, NewRun, TriggerKind
from gateway.core.overlap import Overlap
from gateway.core.places import Place, Places, Scope
from gateway.core.startrate import StartRate
from gateway.core.states import RunState

MARK_AFTER_MS = 1000
WORTH_A_WORD_MS = 100
# Next attempts, and what a backfill paces by itself: neither turned away nor replaced.
_PATIENT = frozenset({TriggerKind.RETRY, TriggerKind.BACKFILL})


@dataclass(slots=True, eq=False)
class _Waiter:
    """`line` is None once nothing holds the run up. `has_leave`: it counts as one of its job's already.

    `is_due`: it is to be judged by its job's overlap. `is_taken`: it was, and waits.
    """

    run: NewRun
    job: Job
    line: Line | None = None
    has_leave: bool = False
    is_due: bool = False
    is_taken: bool = False
    is_marked: bool = False


@dataclass(slots=True)
class Decisions:
    """Who starts now; who ends without having started; which running run is to be stopped for which.

    `waited`: of those that start late and whose rows do not say so yet, what held them up.
    """

    start: list[NewRun] = field(default_factory=list)
    end: list[tuple[NewRun, RunState, str]] = field(default_factory=list)
    stop: list[tuple[int, int]] = field(default_factory=list)
    waited: dict[int, str] = field(default_factory=dict)


def is_limited(job: Job, app: App | None) -> bool:
    return job.concurrency.limited or (app is not None and app.limited)


def expiry_ms(run: NewRun, job: Job) -> int:
    """When a run that still waits expires; 0 for never."""
    return run.expires_ms or (run.due_ms + job.ttl_s * 1000 if job.ttl_s else 0)


def expired_reason(run: NewRun, job: Job, now_ms: int) -> str | None:
    """Why a run that comes to its turn now must not start any more, or None."""
    expires_ms = expiry_ms(run, job)
    if not expires_ms or now_ms < expires_ms:
        return None
    return f"expired: its turn came {(now_ms - run.due_ms) / 1000:.1f} s after it was due"


class Gate:
    """`app_of` gives an app as it is now; `on_room` is called when somebody who waits may go on.

    `drops` counts how often parts have gone.
    """

    def __init__(self, app_of: Callable[[int], App | None]) -> None:
        self._app_of = app_of
        self.places = Places()
        self.drops = 0
        self.on_room: Callable[[], object] = lambda: None
        self._waiters: dict[int, _Waiter] = {}
        self._jobs: dict[int, Line] = {}
        self._apps: dict[int, Line] = {}
        self._ready: dict[int, _Waiter] = {}
        self._leaves: dict[int, dict[int, NewRun]] = {}  # by job: who has its leave and no place yet
        self._rates: dict[int, StartRate] = {}
        self._next_start_ms: dict[int, int] = {}  # by app: when its rate lets the next one start
        self._timed: list[tuple[int, int]] = []
        self._open_jobs: set[int] = set()
        self._open_apps: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._waiters

    # ------------------------------------------------------------ what is counted

    def is_limited(self, job: Job) -> bool:
        return is_limited(job, self._app_of(job.app_id))

    def unknown_scopes(self, job: Job) -> list[Scope]:
        """What has to be counted before a run of this job is offered."""
        found: list[Scope] = []
        if job.concurrency.limited:
            found.append(Scope("job", job.id, job.part))
        app = self._app_of(job.app_id)
        if app is not None and app.limited:
            found.append(Scope("app", job.app_id, job.part))
        return [scope for scope in found if not self.places.knows(scope)]

    def learn(self, scope: Scope, found: Collection[Place], now_ms: int) -> None:
        self.places.learn(scope, found)
        app = self._app_of(scope.id) if scope.kind == "app" else None
        if app is not None and app.starts_per_second is not None:
            self._rates[scope.id] = StartRate(app.starts_per_second, now_ms)

    def free(self, run_id: int) -> None:
        """The run has no place any more, says the database."""
        place = self.places.free(run_id)
        if place is not None:
            self._open(place.job_id, place.app_id)

    def app_changed(self, app_id: int) -> None:
        """Nobody keeps count of an app without limits: should it get some again, it is counted anew."""
        app = self._app_of(app_id)
        if app is None or not app.limited:
            self.places.unlearn("app", app_id)
            self._rates.pop(app_id, None)
        self._next_start_ms.pop(app_id, None)
        self._open(0, app_id)

    def not_stopped(self, run_id: int) -> None:
        """A run that was to make room could not be stopped: the next one that is due may ask again."""
        place = self.places.get(run_id)
        if place is not None:
            place.asked_to_stop = False

    def _open(self, job_id: int, app_id: int) -> None:
        if job_id in self._jobs:
            self._open_jobs.add(job_id)
        if app_id in self._apps:
            self._open_apps.add(app_id)
        if self._open_jobs or self._open_apps:
            self.on_room()

    # ------------------------------------------------------------ who waits

    def offer(self, run: NewRun, job: Job, now_ms: int) -> None:
        """A run that is due, or nearly so, and whose scopes are known. `decide` tells what becomes of it."""
        self.take_out_run(run.id)  # two may have told of it
        waiter = self._waiters[run.id] = _Waiter(run, job, is_marked=bool(run.waiting_ms))
        run.waiting_ms = run.waiting_ms or now_ms
        if expires_ms := expiry_ms(run, job):
            heapq.heappush(self._timed, (expires_ms, run.id))
        if run.bypass:
            self._ready[run.id] = waiter
        elif not job.concurrency.limited or self.places.is_covered(run.id, run.root_id):
            self._to_app(waiter)
        else:
            waiter.line = self._jobs.setdefault(job.id, Line())
            waiter.line.add(run)
            self._open_jobs.add(job.id)
            # Judged when it is due, not before: an earlier run may end until then.
            heapq.heappush(self._timed, (run.due_ms, run.id))

    def _to_app(self, waiter: _Waiter) -> None:
        run = waiter.run
        app = self._app_of(run.app_id)
        # Of a broadcast the shards need places, the parent only stands for them.
        if app is None or not app.limited or run.shard == BROADCAST_PARENT:
            waiter.line = None
            self._ready[run.id] = waiter
            return
        waiter.line = self._apps.setdefault(run.app_id, Line())
        waiter.line.add(run)
        self._open_apps.add(run.app_id)

    def take_out(self, job_ids: Collection[int]) -> list[NewRun]:
        """Forget what waits of these jobs, and return it: they have changed, and are counted anew."""
        for job_id in job_ids:
            self.places.unlearn("job", job_id)
        return self._remove([one for one in self._waiters.values() if one.run.job_id in job_ids])

    def take_out_all(self) -> list[NewRun]:
        """As `take_out`, of all jobs: changes may have been missed."""
        return self.take_out(
            {waiter.run.job_id for waiter in self._waiters.values()} | self.places.known_jobs()
        )

    def take_out_where(self, wanted: Callable[[NewRun], bool]) -> list[NewRun]:
        """Forget what waits and is wanted so, and return it."""
        return self._remove([one for one in self._waiters.values() if wanted(one.run)])

    def take_out_run(self, run_id: int) -> None:
        if run_id in self._waiters:
            self._leave(self._waiters[run_id])

    def drop(self, parts: Collection[int]) -> list[NewRun]:
        """Forget what waits and what is counted in these parts, and return what waits: another node has it."""
        self.drops += 1
        self.places.drop(parts)
        return self._remove([one for one in self._waiters.values() if one.run.part in parts])

    def _remove(self, waiters: Collection[_Waiter]) -> list[NewRun]:
        for waiter in waiters:
            self._leave(waiter)
        return [waiter.run for waiter in waiters]

    def _leave(self, waiter: _Waiter) -> None:
        run = waiter.run
        del self._waiters[run.id]
        self._ready.pop(run.id, None)
        if waiter.line is not None:
            waiter.line.remove(run)
            lines, key = (
                (self._jobs, run.job_id)
                if waiter.line is self._jobs.get(run.job_id)
                else (self._apps, run.app_id)
            )
            if not waiter.line:
                del lines[key]
        if waiter.has_leave:
            leaves = self._leaves[run.job_id]
            del leaves[run.id]
            if not leaves:
                del self._leaves[run.job_id]
            self._open(run.job_id, 0)

    def to_mark(self, now_ms: int) -> list[tuple[NewRun, str]]:
        """Those that have waited for a while and whose rows do not say so yet: with the reason."""
        return [
            (waiter.run, f"waits: {self._why(waiter)}")
            for waiter in self._waiters.values()
            if not waiter.is_marked and now_ms - waiter.run.due_ms >= MARK_AFTER_MS
        ]

    def marked(self, run_ids: Iterable[int]) -> None:
        for run_id in run_ids:
            if run_id in self._waiters:
                self._waiters[run_id].is_marked = True

    def longest_wait_ms(self, now_ms: int) -> int:
        return max((now_ms - waiter.run.due_ms for waiter in self._waiters.values()), default=0)

    def why(self, run_id: int) -> str:
        """What holds up a run that waits."""
        return self._why(self._waiters[run_id])

    def _why(self, waiter: _Waiter) -> str:
        run, app = waiter.run, self._app_of(waiter.run.app_id)
        if waiter.line is not None and waiter.line is self._jobs.get(run.job_id):
            running = [place.run_id for place in self.places.of_job(run.job_id)]
            waiting = len(self._leaves.get(run.job_id, ()))
            held = self.places.held(job_id=run.job_id)
            return held_up.by_job(waiter.job.concurrency, running, waiting, held)
        if app is None or waiter.line is None:
            return held_up.NOTHING
        return held_up.by_app(app, self.places.of_app(app.id), self.places.held(app_id=app.id))

    # ------------------------------------------------------------ decisions

    def next_ms(self) -> int | None:
        """When `decide` has something to say at the earliest; None while only an end can change anything."""
        if self._ready or self._open_jobs or self._open_apps:
            return 0
        times = list(self._next_start_ms.values())
        if self._timed:
            times.append(self._timed[0][0])
        return min(times, default=None)

    def decide(self, now_ms: int, room: int) -> Decisions:
        """At most `room` starts. Those that start have their places from now on; `free` gives one back."""
        made = Decisions()
        while self._timed and self._timed[0][0] <= now_ms:
            waiter = self._waiters.get(heapq.heappop(self._timed)[1])
            if waiter is not None:
                self._is_time(waiter, now_ms, made)
        for app_id in [app_id for app_id, at_ms in self._next_start_ms.items() if at_ms <= now_ms]:
            del self._next_start_ms[app_id]
            self._open(0, app_id)
        while self._open_jobs:
            self._by_job(self._open_jobs.pop(), made)
        for waiter in list(self._ready.values())[:room]:
            self._start(waiter, now_ms, made)
        for app_id in list(self._open_apps):
            self._by_app(app_id, now_ms, room, made)
        return made

    def _is_time(self, waiter: _Waiter, now_ms: int, made: Decisions) -> None:
        expires_ms = expiry_ms(waiter.run, waiter.job)
        if expires_ms and expires_ms <= now_ms:
            waited_s = (now_ms - waiter.run.due_ms) / 1000
            self._end(waiter, RunState.EXPIRED, f"expired after {waited_s:.1f} s: {self._why(waiter)}", made)
        elif waiter.run.due_ms <= now_ms:
            waiter.is_due = True
            self._open(waiter.run.job_id, 0)

    def _by_job(self, job_id: int, made: Decisions) -> None:
        """Give the job's leave to as many as it has room for, then judge those that are due and got none."""
        line = self._jobs.get(job_id)
        while line and self._room_of(self._waiters[line.first().id].job) > 0:
            waiter = self._waiters[line.first().id]
            line.remove(waiter.run)
            waiter.has_leave = True
            self._leaves.setdefault(job_id, {})[waiter.run.id] = waiter.run
            self._to_app(waiter)
        if not line:
            self._jobs.pop(job_id, None)
            return
        queued = sum(self._waiters[run.id].is_taken for run in line)
        for run in list(line):
            waiting = self._waiters.get(run.id)  # one that is judged may end others
            if waiting is not None and waiting.is_due:
                waiting.is_due = False
                waiting.is_taken = self._judge(waiting, line, queued, made)
                queued += waiting.is_taken

    def _room_of(self, job: Job) -> int:
        return job.concurrency.places - len(self.places.of_job(job.id)) - len(self._leaves.get(job.id, ()))

    def _judge(self, waiter: _Waiter, line: Line, queued: int, made: Decisions) -> bool:
        """Whether it waits, being due and finding no room. The next attempt of a run is never turned away."""
        run, limit = waiter.run, waiter.job.concurrency
        if run.trigger_kind in _PATIENT:
            return True
        if limit.overlap is Overlap.SKIP:
            self._end(waiter, RunState.SKIPPED, f"overlap skip: {self._why(waiter)}", made)
            return False
        if limit.overlap is Overlap.QUEUE and queued >= limit.queue_limit:
            reason = f"overlap queue: {queued} runs wait already, as many as queue_limit lets"
            self._end(waiter, RunState.SKIPPED, reason, made)
            return False
        if limit.overlap is Overlap.REPLACE:
            self._replace(waiter, line, made)
        return True

    def _replace(self, waiter: _Waiter, line: Line, made: Decisions) -> None:
        """Whoever waits gives way at once; whoever runs is stopped, those that have run for longest first."""
        run = waiter.run
        for one in (*line, *self._leaves.get(run.job_id, {}).values()):
            is_older = (one.due_ms, one.id) < (run.due_ms, run.id)
            if is_older and one.trigger_kind not in _PATIENT:
                self._end(
                    self._waiters[one.id],
                    RunState.SKIPPED,
                    f"overlap replace: run {run.id} takes its place",
                    made,
                )
        running = self.places.of_job(run.job_id)
        excess = max(len(running) - waiter.job.concurrency.places + 1, 0)
        for place in [place for place in running if not place.held][:excess]:
            if not place.asked_to_stop:
                place.asked_to_stop = True
                made.stop.append((place.run_id, run.id))

    def _end(self, waiter: _Waiter, state: RunState, reason: str, made: Decisions) -> None:
        self._leave(waiter)
        made.end.append((waiter.run, state, reason))

    def _by_app(self, app_id: int, now_ms: int, room: int, made: Decisions) -> None:
        line, app = self._apps.get(app_id), self._app_of(app_id)
        while line and len(made.start) < room:
            run = line.first()
            if app is not None:
                if app.max_running is not None and self.places.of_app(app_id) >= app.max_running:
                    break
                rate, at_ms = self._rate(app, now_ms), max(now_ms, run.due_ms)
                if rate is not None and rate.next_ms() > at_ms:
                    self._next_start_ms[app_id] = rate.next_ms() - (at_ms - now_ms)
                    break
                if rate is not None:
                    rate.note(at_ms)
            self._start(self._waiters[run.id], now_ms, made)
        if len(made.start) < room:
            self._open_apps.discard(app_id)

    def _start(self, waiter: _Waiter, now_ms: int, made: Decisions) -> None:
        run = waiter.run
        if not waiter.is_marked and now_ms - run.due_ms >= WORTH_A_WORD_MS:
            app = self._app_of(run.app_id)
            made.waited[run.id] = held_up.until_now(waiter.job.concurrency, app, by_its_job=waiter.is_taken)
        self.places.take(Place(run.id, run.job_id, run.app_id, run.part, run.root_id, run.shard, now_ms))
        self._leave(waiter)
        made.start.append(run)

    def _rate(self, app: App, now_ms: int) -> StartRate | None:
        if app.starts_per_second is None:
            return None
        known = self._rates.get(app.id)
        if known is None:
            rate = StartRate(app.starts_per_second, now_ms)
        else:
            rate = known.changed(app.starts_per_second, now_ms)
        self._rates[app.id] = rate
        return rate
