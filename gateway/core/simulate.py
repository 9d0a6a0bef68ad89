"""Simulation: what the schedules, pauses, limits and policies of jobs make of a range of time, in no time.

The decisions are those of the running scheduler, by the same code: schedules, the gate, misfire, pauses, children,
chains. Only time and executors are made up: every run takes as long as it is assumed to, and succeeds. It begins with
nothing under way and nothing waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from gateway.core.chain import delay_of, is_chained
from gateway.core.children import Join, Marks, ParentEnd, join, started_by
from gateway.core.claims import OF_SCHEDULE, why_not
from gateway.core.clock import iso_utc
from gateway.core.confine import ConfinedChain
from gateway.core.errors import InvalidValue
from gateway.core.gate import Gate
from gateway.core.model import BROADCAST_PARENT, Job, NewRun, TriggerKind
from gateway.core.policy import late_before, misfire_reason, plan_slots
from gateway.core.scenario import Scenario, Subject, parents_of
from gateway.core.shards import first_row, shard_rows, shards_of
from gateway.core.states import RunState
from gateway.core.tallies import AppTally, Fire, Outcome, Tally

ROOM = 500
LOOKED_AT_ONCE = 500
_LONG_AGO_MS = 1 << 50  # so that the rate of starts remembers none


class _Kind(IntEnum):
    """In this order at one instant: who ends makes room for who is due."""

    END = 0
    SLOT = 1
    DUE = 2


class _Event(NamedTuple):
    at_ms: int
    kind: _Kind
    number: int  # of the job for a slot, else of the run


class Simulation:
    """`steps` does the work, a little up to each of its stops; `outcome` is whole after the last."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._subjects = {subject.job.id: subject for subject in scenario.subjects}
        self._parents = parents_of(scenario.subjects)
        self._gate = Gate(scenario.apps.get)
        self._events: list[_Event] = []
        self._runs: dict[int, NewRun] = {}  # that wait or run
        self._fires: dict[int, Fire] = {}  # of these
        self._shards: dict[int, set[int]] = {}  # open ones, by parent
        self._broken: set[int] = set()  # parents of which a shard has not succeeded
        self._paused: dict[int, NewRun] = {}
        self._paused_until_ms: int | None = None
        self._late: dict[int, list[int]] = {}  # by job: slots that nobody was there for
        self._left: dict[int, int] = {}  # by job: slots that its maximum still allows
        self._marks: Marks = {}
        self._offered: list[int] = []  # runs that did not start as soon as they were due, of this instant
        self._touched: dict[int, AppTally] = {}
        self._made = 0
        self._now_ms = scenario.from_ms
        self.outcome = Outcome()

    def steps(self) -> Iterator[None]:
        """Raises `InvalidValue` when there are too many runs."""
        scenario = self._scenario
        yield from self._count_slots()
        for subject in scenario.subjects:
            yield from self._begin(subject)
        while (now_ms := self._next_ms()) < scenario.to_ms:
            self._now_ms = now_ms
            while self._events and self._awake(self._events[0].at_ms) <= now_ms:
                self._handle(heapq.heappop(self._events))
                yield
            for job_id, slots in self._late.items():
                self._catch_up(self._subjects[job_id].job, slots)
                yield
            self._late.clear()
            yield from self._decide()
            for run_id in self._offered:
                if run_id in self._gate:
                    self._fires[run_id].reason = self._gate.why(run_id)
                    yield
            self._offered.clear()
            for app in self._touched.values():
                app.look(now_ms)
            self._touched.clear()
        for run_id, run in self._runs.items():
            if not self._fires[run_id].start_ms and run.trigger_kind is not TriggerKind.SHARD:
                for tally in self._tallies(run):
                    tally.waiting += 1

    # ------------------------------------------------------------ time

    def _awake(self, at_ms: int) -> int:
        """When what happens at that instant is noticed."""
        for start_ms, end_ms in self._scenario.away:
            if start_ms <= at_ms < end_ms:
                return end_ms
        return at_ms

    def _next_ms(self) -> int:
        times = [self._scenario.to_ms]
        if self._events:
            times.append(self._events[0].at_ms)
        if (gate_ms := self._gate.next_ms()) is not None:
            times.append(max(gate_ms, self._now_ms))
        if self._paused_until_ms is not None:
            times.append(self._paused_until_ms)
        return self._awake(min(times))

    def _push(self, at_ms: int, kind: _Kind, number: int) -> None:
        heapq.heappush(self._events, _Event(at_ms, kind, number))

    # ------------------------------------------------------------ slots

    def _begin(self, subject: Subject) -> Iterator[None]:
        """Find the job's first slot in the range."""
        job, from_ms = subject.job, self._scenario.from_ms
        if not job.enabled:
            return
        if is_chained(job):
            # One whose run is open begins with the range: nothing is under way then.
            if job.next_fire_at is not None or job.chain_run_id:
                self._chain_goes_on(subject, max(job.next_fire_at or 0, from_ms), job.fired)
            return
        if most := job.timing.window.max_fires:
            yield from self._count_before(subject, most - job.fired)
        first_ms = subject.schedule.first_after(from_ms - 1)
        yield
        if first_ms is not None:
            self._push(first_ms, _Kind.SLOT, job.id)

    def _count_slots(self) -> Iterator[None]:
        """Refuse too many runs before the work for most of them is done."""
        counted = looked = 0
        for subject in self._scenario.subjects:
            job, schedule = subject.job, subject.schedule
            if not job.enabled or is_chained(job) or job.timing.window.max_fires:
                continue
            at_ms = schedule.first_after(self._scenario.from_ms - 1)
            while at_ms is not None and at_ms < self._scenario.to_ms:
                looked += 1
                counted += self._awake(at_ms) == at_ms  # the others share few rows
                if counted > self._scenario.most_fires:
                    raise self._too_many("")
                at_ms = schedule.next_after(at_ms)
                if not looked % LOOKED_AT_ONCE:
                    yield

    def _chain_goes_on(self, subject: Subject, over_ms: int, fired: int) -> None:
        """The next slot of a chain whose delay is over at that instant."""
        job, most = subject.job, subject.job.timing.window.max_fires
        if most and self._left.setdefault(job.id, most - fired) <= 0:
            return
        slot_ms = subject.schedule.first_after(over_ms)
        if slot_ms is not None:
            self._push(slot_ms, _Kind.SLOT, job.id)

    def _count_before(self, subject: Subject, left: int) -> Iterator[None]:
        """How many slots its maximum leaves to a job from the beginning of the range on."""
        at_ms, counted = subject.job.next_fire_at, 0
        while at_ms is not None and at_ms < self._scenario.from_ms and left > 0:
            left, counted = left - 1, counted + 1
            self._limit(counted)
            at_ms = subject.schedule.next_after(at_ms)
            yield
        self._left[subject.job.id] = 0 if subject.job.next_fire_at is None else max(left, 0)

    def _handle(self, event: _Event) -> None:
        if event.kind is _Kind.SLOT:
            self._slot(self._subjects[event.number], event.at_ms)
        elif event.number not in self._runs:
            return  # it was stopped
        elif event.kind is _Kind.DUE:
            self._admit(self._runs[event.number])
        else:
            self._end(event.number, RunState.SUCCEEDED, event.at_ms)

    def _slot(self, subject: Subject, slot_ms: int) -> None:
        job = subject.job
        if is_chained(job):
            if isinstance(subject.schedule, ConfinedChain):
                now_slot_ms = subject.schedule.slot_of(slot_ms, self._now_ms)
                if now_slot_ms != slot_ms:  # nobody was there for it, and now is excluded
                    if now_slot_ms is not None:
                        self._push(now_slot_ms, _Kind.SLOT, job.id)
                    return
            if job.id in self._left:
                self._left[job.id] -= 1
            self._submit(job, TriggerKind.SCHEDULE, slot_ms)
            return
        if job.id in self._left:
            if not self._left[job.id]:
                return
            self._left[job.id] -= 1
        if slot_ms < self._now_ms:
            late = self._late.setdefault(job.id, [])
            late.append(slot_ms)
            self._limit(len(late))
        else:
            self._submit(job, TriggerKind.SCHEDULE, slot_ms)
        following = subject.schedule.next_after(slot_ms)
        if following is not None:
            self._push(following, _Kind.SLOT, job.id)

    def _catch_up(self, job: Job, slots: Sequence[int]) -> None:
        """Slots that nobody was there for, divided by the job's misfire policy."""
        plan = plan_slots(slots, self._now_ms, job, further=0)
        if plan.skipped:
            run = self._new(job, TriggerKind.SCHEDULE, plan.skipped[0], slots=len(plan.skipped))
            reason = misfire_reason(plan.skipped[0], self._now_ms, job)
            self._turn_away(run, RunState.SKIPPED, reason, "misfire")
        limit_ms = late_before(self._now_ms, job)
        for slot_ms in plan.runs:
            self._submit(job, TriggerKind.MISFIRE if slot_ms < limit_ms else TriggerKind.SCHEDULE, slot_ms)

    # ------------------------------------------------------------ runs

    def _limit(self, further: int = 0) -> None:
        if self._made + further > self._scenario.most_fires:
            raise self._too_many(f", and there are more before {iso_utc(self._now_ms + 1)}")

    def _too_many(self, where: str) -> InvalidValue:
        expected = f"a shorter range, or fewer jobs: {self._scenario.most_fires} runs are the most{where}"
        return InvalidValue("to", iso_utc(self._scenario.to_ms), expected)

    def _new(self, job: Job, kind: TriggerKind, slot_ms: int = 0, *, slots: int = 1) -> NewRun:
        """A run of the job for a slot, or of now."""
        due_ms = self._now_ms
        if slot_ms:
            due_ms = slot_ms if slots > 1 else job.timing.due_ms(job.id, slot_ms)
        run_id = self._made = self._made + 1
        self._limit()
        slot_key = slot_ms or -run_id
        run = first_row(
            job, run_id, kind, slot_key=slot_key, due_ms=due_ms, now_ms=self._now_ms, state=RunState.QUEUED
        )
        self._keep(run, slot_ms).slot_count = slots
        for tally in self._tallies(run):
            tally.fires += slots
        return run

    def _keep(self, run: NewRun, slot_ms: int) -> Fire:
        self._runs[run.id] = run
        self.outcome.runs += 1
        fire = Fire(run.id, run.job_id, run.app_id, run.trigger_kind, slot_ms, run.due_ms, shard=run.shard)
        self._fires[run.id] = fire
        if len(self.outcome.fires) < self._scenario.listed:
            self.outcome.fires.append(fire)
        return fire

    def _submit(self, job: Job, kind: TriggerKind, slot_ms: int = 0) -> None:
        run = self._new(job, kind, slot_ms)
        if run.due_ms > self._now_ms:
            self._push(run.due_ms, _Kind.DUE, run.id)
        else:
            self._admit(run)

    def _admit(self, run: NewRun) -> None:
        """In the order in which the scheduler judges."""
        job, now_ms, pauses = self._subjects[run.job_id].job, self._now_ms, self._scenario.pauses
        if (reason := why_not(run, job)) is not None:
            self._turn_away(run, RunState.SKIPPED, reason, reason)
        elif (pause := pauses.find(run.app_id, run.job_id, now_ms)) is not None:
            if run.trigger_kind in OF_SCHEDULE and not is_chained(job):
                self._turn_away(run, RunState.SKIPPED, pause.words, "paused")
            else:
                self._paused[run.id] = run
                self._paused_until_ms = pauses.next_end_ms(now_ms)
                self._fires[run.id].reason = pause.words
                self._app(run.app_id).queue += 1
        elif self._gate.is_limited(job):
            for scope in self._gate.unknown_scopes(job):
                self._gate.learn(scope, (), now_ms - _LONG_AGO_MS)
            self._gate.offer(run, job, now_ms)
            self._offered.append(run.id)
            self._app(run.app_id).queue += 1
        else:
            self._start(run)

    def _decide(self) -> Iterator[None]:
        now_ms, gate = self._now_ms, self._gate
        if self._paused_until_ms is not None and self._paused_until_ms <= now_ms:
            yield from self._look_again()
        while (next_ms := gate.next_ms()) is not None and next_ms <= now_ms:
            made = gate.decide(now_ms, ROOM)
            for run, state, reason in made.end:
                self._app(run.app_id).queue -= 1
                self._turn_away(run, state, reason, reason.partition(":")[0].partition(" after ")[0])
                yield
            for run in made.start:
                self._app(run.app_id).queue -= 1
                self._start(run)
                yield
            for run_id, by in made.stop:
                self._stop(run_id, f"overlap replace: run {by} takes its place")
            yield

    def _look_again(self) -> Iterator[None]:
        """A pause has ended."""
        held_up, self._paused, self._paused_until_ms = self._paused, {}, None
        for run in held_up.values():
            self._app(run.app_id).queue -= 1
            self._admit(run)
            yield

    def _start(self, run: NewRun) -> None:
        fire, subject, now_ms = self._fires[run.id], self._subjects[run.job_id], self._now_ms
        fire.state, fire.start_ms = RunState.RUNNING, now_ms
        for tally in self._tallies(run):
            tally.note_wait(now_ms - run.due_ms)
            tally.started += run.trigger_kind is not TriggerKind.SHARD
        if run.shard == BROADCAST_PARENT:
            self._expand(run, subject.job)
            return
        self._app(run.app_id).running += 1
        self._push(now_ms + subject.duration_ms, _Kind.END, run.id)

    def _expand(self, parent: NewRun, job: Job) -> None:
        count = max(self._scenario.executors.get(job.id, 1), 1)
        shards = shards_of(parent, job, [f"executor {number}" for number in range(count)])
        ids = range(self._made + 1, self._made + len(shards) + 1)
        self._made += len(shards)
        self._limit()
        rows = shard_rows(parent, shards, ids, self._now_ms, total=len(shards))
        self._shards[parent.id] = set(ids)
        for row in rows:
            self._keep(row, max(row.slot_key, 0))
        for row in rows:
            self._admit(row)

    def _stop(self, run_id: int, reason: str) -> None:
        """Executors are assumed to stop at once what they are told to."""
        for shard_id in self._shards.pop(run_id, ()):
            self._stop(shard_id, reason)
        run = self._runs[run_id]
        if run_id in self._gate or run_id in self._paused:
            self._app(run.app_id).queue -= 1
        self._fires[run_id].reason = reason
        self._end(run_id, RunState.STOPPED, self._now_ms)

    def _turn_away(self, run: NewRun, state: RunState, reason: str, kind: str) -> None:
        fire = self._fires[run.id]
        fire.reason = reason
        self.outcome.reasons[kind] += fire.slot_count
        self._end(run.id, state, self._now_ms)

    def _end(self, run_id: int, state: RunState, at_ms: int) -> None:
        """The end of a run, and what follows it."""
        run, fire = self._runs.pop(run_id), self._fires.pop(run_id)
        fire.state, fire.end_ms = state, at_ms
        if fire.start_ms and run.shard != BROADCAST_PARENT:
            self._app(run.app_id).running -= 1
        self._paused.pop(run_id, None)
        self._gate.take_out_run(run_id)
        self._gate.free(run_id)
        if run.trigger_kind is TriggerKind.SHARD:
            self._shard_ended(run, state, at_ms)
            return
        for tally in self._tallies(run):
            tally.skipped += fire.slot_count * (state is RunState.SKIPPED)
            tally.expired += state is RunState.EXPIRED
            tally.stopped += state is RunState.STOPPED
        job = self._subjects[run.job_id].job
        if run.slot_key > 0 and is_chained(job):
            self._chain_goes_on(self._subjects[job.id], at_ms + delay_of(job), 0)
        for child in started_by(job.children, state, None):
            subject = self._subjects.get(child.job_id)
            if subject is None:
                continue
            mark = ParentEnd(child.job_id, job.id, run.root_id)
            if subject.job.join is Join.ANY or join([mark], self._parents, self._marks):
                self._submit(subject.job, TriggerKind.CHILD)

    def _shard_ended(self, shard: NewRun, state: RunState, at_ms: int) -> None:
        """A parent ends with the last of its shards, unless it is being stopped."""
        parent_id = shard.root_id
        if parent_id not in self._shards:
            return
        if state is not RunState.SUCCEEDED:
            self._broken.add(parent_id)
        self._shards[parent_id].discard(shard.id)
        if not self._shards[parent_id]:
            del self._shards[parent_id]
            is_broken = parent_id in self._broken
            self._broken.discard(parent_id)
            self._end(parent_id, RunState.FAILED if is_broken else RunState.SUCCEEDED, at_ms)

    # ------------------------------------------------------------ counting

    def _app(self, app_id: int) -> AppTally:
        tally = self.outcome.apps.get(app_id)
        if tally is None:
            tally = self.outcome.apps[app_id] = AppTally()
        self._touched[app_id] = tally
        return tally

    def _tallies(self, run: NewRun) -> tuple[Tally, ...]:
        jobs = self.outcome.jobs
        if run.job_id not in jobs:
            jobs[run.job_id] = Tally()
        return self.outcome.total, jobs[run.job_id], self._app(run.app_id)
