"""The gate against a model that looks at everything anew at each instant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.gate import Gate
from gateway.core.model import BROADCAST_PARENT, AddressMode, App, Job, NewRun, Task, TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.places import Place
from gateway.core.startrate import StartRate
from gateway.core.states import RunState

APP = App(1, 1, "shop", "", AddressMode.AUTO, (), 0, 0)
JOB = Job(1, 1, 1, 3, 1, "job", enabled=True, schedule={"kind": "api"}, task=Task("handler"))


def job_with(job_id: int = 1, **concurrency) -> Job:
    return replace(JOB, id=job_id, concurrency=Concurrency(**concurrency))


def run_of(run_id: int, job: Job = JOB, due_ms: int = 0, **how) -> NewRun:
    kind = how.pop("kind", TriggerKind.SCHEDULE)
    how.setdefault("root_id", run_id)
    return NewRun(
        run_id,
        1,
        job.id,
        job.app_id,
        job.part,
        due_ms or -run_id,
        due_ms,
        due_ms,
        kind,
        RunState.QUEUED,
        **how,
    )


class Tried:
    """A gate in front of one app, and what it has let in so far."""

    def __init__(self, **limits) -> None:
        self.app = replace(APP, **limits)
        self.gate = Gate(lambda _app_id: self.app)

    def offer(self, run: NewRun, job: Job, now_ms: int) -> None:
        for scope in self.gate.unknown_scopes(job):
            self.gate.learn(scope, [], now_ms - 10**6)
        self.gate.offer(run, job, now_ms)

    def decide(self, now_ms: int, room: int = 1000):
        made = self.gate.decide(now_ms, room)
        return [run.id for run in made.start], {run.id: state for run, state, _ in made.end}, made.stop


def test_a_queue_is_full_whatever_the_priority_of_the_next():
    tried, job = Tried(), job_with(overlap=Overlap.QUEUE, queue_limit=2)
    ended: dict[int, RunState] = {}
    for run_id in range(1, 9):
        tried.offer(run_of(run_id, job, priority=run_id), job, 0)
        ended |= tried.decide(0)[1]
    assert ended == dict.fromkeys(range(4, 9), RunState.SKIPPED)
    tried.gate.free(1)
    assert tried.decide(0)[0] == [3]


# ------------------------------------------------------------ against the model


@dataclass
class Model:
    """Fifty lines that know nothing of lines, heaps and wake-ups."""

    max_running: int | None
    jobs: dict[int, Job]
    running: list[NewRun] = field(default_factory=list)
    leaves: list[NewRun] = field(default_factory=list)
    waiting: list[NewRun] = field(default_factory=list)
    judged: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)

    def step(self, offered: list[NewRun]):
        self.waiting += offered
        skipped: set[int] = set()
        stopped: list[tuple[int, int]] = []

        def order(runs):
            return sorted(runs, key=lambda run: (-run.queue_rank, -run.priority, run.due_ms, run.id))

        def of(job, runs):
            return [run for run in runs if run.job_id == job.id]

        def give_leave():
            for run in order(self.waiting):
                job = self.jobs[run.job_id]
                room = job.concurrency.places - len(of(job, self.running)) - len(of(job, self.leaves))
                if not job.concurrency.limited or room > 0:
                    self.waiting.remove(run)
                    self.leaves.append(run)

        give_leave()
        for run in order(self.waiting):
            job = self.jobs[run.job_id]
            if run.id in skipped or run.id in self.judged:
                continue
            queued = [one for one in of(job, self.waiting) if one.id in self.judged - skipped]
            self.judged.add(run.id)
            if run.trigger_kind is TriggerKind.RETRY:
                continue
            if job.concurrency.overlap is Overlap.SKIP or (
                job.concurrency.overlap is Overlap.QUEUE and len(queued) >= job.concurrency.queue_limit
            ):
                skipped.add(run.id)
            elif job.concurrency.overlap is Overlap.REPLACE:
                for one in of(job, self.waiting) + of(job, self.leaves):
                    if (one.due_ms, one.id) < (
                        run.due_ms,
                        run.id,
                    ) and one.trigger_kind is not TriggerKind.RETRY:
                        skipped.add(one.id)
                old = of(job, self.running)
                for one in old[: max(len(old) - job.concurrency.places + 1, 0)]:
                    if one.id not in self.asked:
                        self.asked.add(one.id)
                        stopped.append((one.id, run.id))
        self.waiting = [run for run in self.waiting if run.id not in skipped]
        self.leaves = [run for run in self.leaves if run.id not in skipped]
        give_leave()
        started: list[int] = []
        for run in order(self.leaves):
            if self.max_running is None or len(self.running) < self.max_running:
                self.leaves.remove(run)
                self.running.append(run)
                started.append(run.id)
        return started, skipped, stopped


policies = st.builds(
    Concurrency,
    overlap=st.sampled_from(Overlap),
    places=st.integers(1, 3),
    queue_limit=st.integers(1, 3),
)
# At each instant: new runs (job, priority, whether it is a next attempt), and which of the running ones end.
steps = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from([1, 5, 10, 15]), st.booleans(), st.integers(0, 1)),
            max_size=4,
        ),
        st.lists(st.integers(0, 5), max_size=3),
    ),
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(policies, min_size=3, max_size=3), st.none() | st.integers(1, 4), steps)
def test_the_gate_decides_as_the_model_does(chosen, max_running, days):
    jobs = {n: replace(JOB, id=n, concurrency=one) for n, one in enumerate(chosen, 1)}
    model, tried, next_id = Model(max_running, jobs), Tried(max_running=max_running), 1
    for now_ms, (new, ends) in enumerate(days, 1):
        for index in sorted(set(ends), reverse=True):
            if index < len(model.running):
                tried.gate.free(model.running.pop(index).id)
        offered = []
        for job_id, priority, is_retry, rank in new:
            kind = TriggerKind.RETRY if is_retry else TriggerKind.API
            run = run_of(next_id, jobs[job_id], now_ms, priority=priority, kind=kind, queue_rank=rank)
            tried.offer(run, jobs[job_id], now_ms)
            offered.append(run)
            next_id += 1
        started, skipped, stopped = model.step(offered)
        # A run that gives way makes room that the gate finds at its next look.
        got = tried.decide(now_ms)
        while (next_ms := tried.gate.next_ms()) is not None and next_ms <= now_ms:
            more = tried.decide(now_ms)
            got = (got[0] + more[0], got[1] | more[1], got[2] + more[2])
        assert set(got[0]) == set(started)
        assert set(got[1]) == skipped
        assert sorted(got[2]) == sorted(stopped)
        assert len(tried.gate) == len(model.waiting) + len(model.leaves)
    if max_running is not None:
        assert tried.gate.places.of_app(APP.id) <= max_running


# ------------------------------------------------------------ single cases


def test_the_highest_priority_then_the_earliest_starts_first():
    tried = Tried(max_running=1)
    for run in (
        run_of(1, due_ms=1, priority=5),
        run_of(2, due_ms=3, priority=10),
        run_of(3, due_ms=2, priority=10),
        run_of(4, due_ms=9, priority=1, queue_rank=1),
    ):
        tried.offer(run, JOB, 10)
    order = []
    for _ in range(4):
        started, *_ = tried.decide(10)
        order += started
        tried.gate.free(started[0])
    assert order == [4, 3, 2, 1]


def test_a_run_is_not_skipped_before_it_is_due():
    tried, job = Tried(), job_with(overlap=Overlap.SKIP)
    tried.offer(run_of(1, job, 1000), job, 1000)
    assert tried.decide(1000)[0] == [1]
    tried.offer(run_of(2, job, 2000), job, 1820)
    assert tried.decide(1820) == ([], {}, [])
    tried.gate.free(1)
    assert tried.decide(1990)[0] == [2]
    tried.offer(run_of(3, job, 3000), job, 2820)
    assert tried.decide(2999) == ([], {}, [])
    assert tried.gate.next_ms() == 3000
    assert tried.decide(3000)[1] == {3: RunState.SKIPPED}


def test_a_broadcast_counts_once_for_its_job_and_its_shards_for_the_app():
    tried, job = Tried(max_running=2), job_with(overlap=Overlap.SKIP)
    tried.offer(run_of(1, job, 1, shard=BROADCAST_PARENT), job, 1)
    assert tried.decide(1)[0] == [1]
    for shard in range(3):
        tried.offer(run_of(2 + shard, job, 1, shard=shard, shard_total=3, root_id=1), job, 1)
    assert tried.decide(1)[0] == [2, 3]
    tried.offer(run_of(9, job, 2, shard=BROADCAST_PARENT), job, 2)
    assert tried.decide(2)[1] == {9: RunState.SKIPPED}
    tried.gate.free(2)
    assert tried.decide(3)[0] == [4]


def test_a_run_expires_at_its_instant_also_behind_others():
    tried = Tried(max_running=1)
    tried.offer(run_of(1, due_ms=1), JOB, 1)
    tried.decide(1)
    tried.offer(run_of(2, due_ms=2, expires_ms=5000), JOB, 2)
    job = replace(JOB, ttl_s=3)
    tried.offer(run_of(3, job, due_ms=3), job, 3)
    assert tried.gate.next_ms() == 0
    tried.decide(4)
    assert tried.gate.next_ms() == 3003
    assert tried.decide(3003)[1] == {3: RunState.EXPIRED}
    assert tried.decide(5000)[1] == {2: RunState.EXPIRED}
    assert len(tried.gate) == 0


def test_the_limit_may_be_bypassed_once():
    tried = Tried(max_running=1, starts_per_second=1.0)
    tried.offer(run_of(1, due_ms=1), JOB, 1)
    tried.decide(1)
    tried.offer(run_of(2, due_ms=2, bypass=True), JOB, 2)
    assert tried.decide(2)[0] == [2]
    assert tried.gate.places.of_app(APP.id) == 2


def test_limits_change_while_runs_wait():
    tried = Tried(max_running=1)
    for n in range(1, 5):
        tried.offer(run_of(n, due_ms=n), JOB, 5)
    assert tried.decide(5)[0] == [1]
    tried.app = replace(tried.app, max_running=3)
    tried.gate.app_changed(APP.id)
    assert tried.decide(6)[0] == [2, 3]
    tried.app = replace(tried.app, max_running=None)
    tried.gate.app_changed(APP.id)
    assert tried.decide(7)[0] == [4]


def test_what_was_running_before_the_limit_counts():
    tried = Tried(max_running=2)
    (scope,) = tried.gate.unknown_scopes(JOB)
    tried.gate.learn(scope, [Place(70 + n, 9, 1, 3, 70 + n, 0, 0, settled=True) for n in range(3)], 0)
    tried.offer(run_of(1, due_ms=1), JOB, 1)
    assert tried.decide(1)[0] == []
    tried.gate.free(70)
    assert tried.decide(2)[0] == []
    tried.gate.free(71)
    assert tried.decide(3)[0] == [1]


@pytest.mark.parametrize("parts", [{3}, {4}])
def test_parts_go_with_all_that_waits_and_counts(parts):
    tried = Tried(max_running=1)
    for n in (1, 2):
        tried.offer(run_of(n, due_ms=n), JOB, 5)
    tried.decide(5)
    dropped = tried.gate.drop(parts)
    assert [run.id for run in dropped] == ([2] if parts == {3} else [])
    assert len(tried.gate.places) == (parts == {4})
    assert bool(tried.gate.unknown_scopes(JOB)) == (parts == {3})


# ------------------------------------------------------------ starts per second


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([0.2, 0.5, 1.0, 2.5, 5.0, 100.0]),
    st.lists(st.integers(0, 800), min_size=1, max_size=60),
)
def test_no_window_holds_more_starts_than_it_may(rate, gaps):
    """The starts of somebody who starts as early as he may, with pauses of his own between."""
    now, starts = 10**6, []
    limit = StartRate(rate, now)
    for gap in gaps:
        now = max(now + gap, limit.next_ms())
        limit.note(now)
        starts.append(now)
    most = max(1, int(rate))
    window = most * 1000 / rate
    for index in range(len(starts) - most):
        assert starts[index + most] - starts[index] >= window


def test_a_rate_changes_without_a_burst():
    limit = StartRate(5.0, 0)
    for _ in range(5):
        limit.note(1000)
    slower = limit.changed(2.0, 1500)
    assert slower.next_ms() == 2000
    assert limit.changed(5.0, 1500) is limit
    assert limit.changed(10.0, 1500).next_ms() <= 1500
