"""The simulation: against previews, against a model of one limited app, and each policy by an example."""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.children import Child, Join, On
from gateway.core.clock import iso_utc
from gateway.core.confine import schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.exclusions import Once
from gateway.core.model import AddressMode, App, Job, Misfire, Route, Task, TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.pauses import Pause, Pauses, Scope
from gateway.core.scenario import Scenario, Subject
from gateway.core.simulate import LOOKED_AT_ONCE, Simulation
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from gateway.core.upcoming import upcoming

T0 = 1_795_003_200_000  # a full hour
MINUTE = 60_000
APP = App(1, 1, "shop", "", AddressMode.AUTO, (), 0, 0)
EVERY_MINUTE = {"kind": "cron", "expression": "0 * * * * ?", "timezone": "UTC"}
ON_DEMAND = {"kind": "api"}


def job_of(job_id: int = 1, schedule=EVERY_MINUTE, **fields) -> Job:
    given = {"next_fire_at": T0, "anchor_ms": T0, "enabled": True, **fields}
    return Job(job_id, 1, 1, 3, 1, f"job {job_id}", schedule=schedule, task=Task("handler"), **given)


def simulated(*jobs: Job | tuple[Job, int], minutes: float = 10, app: App = APP, **more):
    subjects = []
    for one in jobs:
        job, duration_ms = one if isinstance(one, tuple) else (one, 1000)
        subjects.append(Subject(job, schedule_of(job), duration_ms))
    to_ms = T0 + int(minutes * MINUTE)
    simulation = Simulation(Scenario(T0, to_ms, subjects, {1: app}, **more))
    for _ in simulation.steps():
        pass
    return simulation.outcome


def told(outcome):
    """Each run in a line: job, minutes from the beginning to its start (or None), state."""
    return [
        (fire.job_id, (fire.start_ms - T0) / MINUTE if fire.start_ms else None, fire.state.word)
        for fire in outcome.fires
    ]


# ------------------------------------------------------------ without limits

schedules = st.one_of(
    st.builds(
        lambda s, m: {"kind": "cron", "expression": f"{s} {m} * * * ?", "timezone": "Asia/Kolkata"},
        st.sampled_from(["0", "*/7", "15,45"]),
        st.sampled_from(["*", "*/5", "3-9"]),
    ),
    st.builds(lambda n: {"kind": "fixed_rate", "expression": n}, st.integers(11, 900)),
    st.builds(lambda n: {"kind": "interval", "expression": n, "offset": 5}, st.integers(11, 900)),
    st.just(({"kind": "fixed_rate", "expression": 61}, {"kind": "interval", "expression": 90})),
)


@settings(max_examples=40, deadline=None)
@given(
    schedules,
    st.integers(0, 40),
    st.sampled_from([0, 30_000]),
    st.integers(0, 1),
    st.integers(1, 50),
)
def test_without_limits_what_fires_is_the_preview(schedule, most, jitter_ms, window, minutes):
    timing = Timing(
        window=Window(T0 + window * 5 * MINUTE, T0 + 40 * MINUTE if window else 0, most), jitter_ms=jitter_ms
    )
    job = job_of(schedule=schedule, timing=timing)
    job = replace(job, next_fire_at=schedule_of(job).first_after(T0 - 1))
    to_ms = T0 + minutes * MINUTE
    wanted = upcoming(
        schedule_of(job), T0 - 1, 10_000 if most else 300, left=most or None, next_fire_at=job.next_fire_at
    )
    wanted = [slot for slot in wanted if slot < to_ms]
    outcome = simulated(job, minutes=minutes)
    assert [fire.slot_ms for fire in outcome.fires][:300] == wanted
    assert outcome.total.fires == len(outcome.fires)
    for fire in outcome.fires:
        assert fire.due_ms == timing.due_ms(1, fire.slot_ms)
        assert fire.start_ms == (fire.due_ms if fire.due_ms < to_ms else 0)


# ------------------------------------------------------------ a limited app against a model


def model(jobs: list[tuple[Job, int]], to_ms: int, most: int):
    """(start, job, slot) of an app with so many places: at each instant the first in line gets what is free."""
    due = []
    for job, _ in jobs:
        slot = schedule_of(job).first_after(T0 - 1)
        while slot is not None and slot < to_ms:
            due.append((slot, job.id, -job.priority))
            slot = schedule_of(job).next_after(slot)
    due.sort()
    durations = {job.id: duration for job, duration in jobs}
    line: list[tuple[int, int, int]] = []
    ends: list[int] = []
    started = []
    instants = [slot for slot, _, _ in due]
    heapq.heapify(instants)
    while instants and (now := heapq.heappop(instants)) < to_ms:
        ends = [end for end in ends if end > now]
        while due and due[0][0] <= now:
            slot, job_id, rank = due.pop(0)
            line.append((rank, slot, job_id))
        line.sort()
        while line and len(ends) < most:
            _, slot, job_id = line.pop(0)
            started.append((now, job_id, slot))
            ends.append(now + durations[job_id])
            heapq.heappush(instants, now + durations[job_id])
    return started


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(20, 200), st.integers(1, 15), st.integers(1, 150_000)), min_size=1, max_size=6
    ),
    st.integers(1, 3),
)
def test_a_limit_holds_and_starts_go_by_priority(drawn, most):
    jobs = [
        (job_of(n, {"kind": "interval", "expression": every}, priority=priority), duration_ms)
        for n, (every, priority, duration_ms) in enumerate(drawn, 1)
    ]
    outcome = simulated(*jobs, minutes=15, app=replace(APP, max_running=most))
    started = sorted((fire.start_ms, fire.job_id, fire.slot_ms) for fire in outcome.fires if fire.start_ms)
    assert started == sorted(model(jobs, T0 + 15 * MINUTE, most))
    assert outcome.apps[1].running_max <= most
    waits = [fire.wait_ms for fire in outcome.fires if fire.wait_ms]
    assert outcome.total.wait_max_ms == max(waits, default=0)
    assert outcome.total.waited == len(waits)
    assert outcome.total.fires == len(outcome.fires) == len(started) + outcome.total.waiting


def test_the_queue_is_told_with_its_reason():
    jobs = [(job_of(n), 30_000) for n in range(1, 5)]
    outcome = simulated(*jobs, minutes=1, app=replace(APP, max_running=1))
    app = outcome.apps[1]
    assert (app.queue_max, app.queue_max_at_ms, app.running_max) == (3, T0, 1)
    assert [fire.wait_ms for fire in outcome.fires] == [0, 30_000, None, None]
    assert outcome.fires[1].reason == "1 of 1 runs of app 'shop' are under way"
    assert outcome.total.waiting == 2


def test_a_start_rate():
    outcome = simulated(
        *(job_of(n) for n in range(1, 6)), minutes=0.5, app=replace(APP, starts_per_second=0.5)
    )
    assert [fire.wait_ms for fire in outcome.fires] == [0, 2000, 4000, 6000, 8000]


# ------------------------------------------------------------ policies of a job


@pytest.mark.parametrize(
    ("overlap", "wanted", "reasons"),
    [
        (Overlap.ALLOW, [(1, 0, "succeeded"), (1, 1, "succeeded"), (1, 2, "running"), (1, 3, "running")], {}),
        (
            Overlap.SKIP,
            [(1, 0, "succeeded"), (1, None, "skipped"), (1, 2, "running"), (1, None, "skipped")],
            {"overlap skip": 2},
        ),
        (
            Overlap.QUEUE,
            [(1, 0, "succeeded"), (1, 1.5, "succeeded"), (1, 3, "running"), (1, None, "queued")],
            {},
        ),
        (
            Overlap.REPLACE,
            [(1, 0, "stopped"), (1, 1, "stopped"), (1, 2, "stopped"), (1, 3, "running")],
            {},
        ),
    ],
)
def test_overlap(overlap, wanted, reasons):
    limit = Concurrency(overlap, 1) if overlap is not Overlap.ALLOW else Concurrency()
    outcome = simulated((job_of(concurrency=limit), 90_000), minutes=3.1)
    assert told(outcome) == wanted
    assert outcome.reasons == reasons


def test_a_time_to_live():
    job = job_of(concurrency=Concurrency(Overlap.QUEUE, 1), ttl_s=20)
    outcome = simulated((job, 90_000), minutes=3)
    assert told(outcome) == [(1, 0, "succeeded"), (1, None, "expired"), (1, 2, "running")]
    assert outcome.reasons == {"expired": 1}
    assert outcome.total.expired == 1


def test_second_delay_counts_from_the_end():
    job = job_of(schedule={"kind": "second_delay", "expression": 60})
    outcome = simulated((job, 90_000), minutes=6)
    assert told(outcome) == [(1, 0, "succeeded"), (1, 2.5, "succeeded"), (1, 5, "running")]


def test_the_bounds_of_a_second_delay():
    schedule = {"kind": "second_delay", "expression": 60}
    excluded = (Once(T0 + 2 * MINUTE, T0 + 4 * MINUTE),)
    job = job_of(schedule=schedule, timing=Timing(Window(T0 + MINUTE, 0, 3), excluded))
    found = told(simulated((job, 30_000), minutes=30))
    assert found == [(1, 1, "succeeded"), (1, 4, "succeeded"), (1, 5.5, "succeeded")]
    ended = replace(job, timing=Timing(Window(0, T0 + 5 * MINUTE)))
    assert [at for _, at, _ in told(simulated((ended, 30_000), minutes=30))] == [0, 1.5, 3, 4.5]
    over = replace(job, next_fire_at=None)
    assert told(simulated(over)) == []
    under_way = replace(job, next_fire_at=None, chain_run_id=7, fired=2)
    assert len(told(simulated(under_way))) == 1


def test_a_second_delay_that_nobody_was_there_for_waits_for_the_end_of_an_exclusion():
    excluded = (Once(T0 + 3 * MINUTE, T0 + 6 * MINUTE),)
    job = job_of(schedule={"kind": "second_delay", "expression": 60}, timing=Timing(exclusions=excluded))
    away = [(T0 + 2 * MINUTE, T0 + 4 * MINUTE)]
    starts = [at for _, at, _ in told(simulated((job, 30_000), minutes=7, away=away))]
    assert starts == [0, 1.5, 6]


def test_the_jitter_of_a_second_delay():
    job = job_of(schedule={"kind": "second_delay", "expression": 60}, timing=Timing(jitter_ms=20_000))
    fires = simulated((job, 30_000)).fires
    assert all(fire.due_ms == job.timing.due_ms(1, fire.slot_ms) for fire in fires)
    assert all(later.slot_ms - fire.end_ms == MINUTE for fire, later in pairwise(fires))


def test_children_and_joins():
    parents = [
        job_of(1, children=(Child(3),)),
        job_of(2, {"kind": "interval", "expression": "2m"}, children=(Child(3, On.END), Child(4))),
    ]
    joined = job_of(3, ON_DEMAND, join=Join.ALL, next_fire_at=None)
    other = job_of(4, ON_DEMAND, enabled=False, next_fire_at=None)
    outcome = simulated(*((one, 30_000) for one in (*parents, joined, other)), minutes=2)
    starts = [(job_id, at) for job_id, at, _ in told(outcome)]
    assert starts == [(1, 0), (2, 0), (3, 0.5), (4, 0.5), (1, 1)]
    assert {fire.cause for fire in outcome.fires if fire.job_id > 2} == {TriggerKind.CHILD}


def test_a_broadcast_is_one_fire_and_its_shards_need_places():
    job = job_of(route=Route.SHARDING_BROADCAST, children=(Child(2),))
    child = job_of(2, ON_DEMAND, next_fire_at=None)
    outcome = simulated((job, 20_000), child, minutes=1, app=replace(APP, max_running=2), executors={1: 3})
    assert (outcome.jobs[1].fires, outcome.jobs[1].started) == (1, 1)
    assert [(fire.shard, fire.wait_ms) for fire in outcome.fires] == [
        (-1, 0),
        (0, 0),
        (1, 0),
        (2, 20_000),
        (0, 0),
    ]
    assert outcome.fires[0].end_ms == outcome.fires[4].start_ms == T0 + 40_000
    assert outcome.apps[1].running_max == 2


def test_a_broadcast_that_is_replaced_stops_with_its_shards():
    job = job_of(route=Route.SHARDING_BROADCAST, concurrency=Concurrency(Overlap.REPLACE, 1))
    outcome = simulated((job, 90_000), minutes=1.5, executors={1: 2})
    assert [fire.state.word for fire in outcome.fires] == ["stopped"] * 3 + ["running"] * 3
    assert outcome.apps[1].running_max == 2


# ------------------------------------------------------------ pauses, outages


def paused(until_ms: int = 0, scope: Scope = Scope.JOB, scope_id: int = 1) -> Pauses:
    pauses = Pauses()
    pauses.replace([Pause(scope, scope_id, "stock-taking", "alice", T0 - 1, until_ms)])
    return pauses


def test_a_pause_skips_slots_and_holds_up_the_rest():
    chained = job_of(2, {"kind": "second_delay", "expression": 60})
    pauses = paused(T0 + 2 * MINUTE + 500, Scope.APP)
    outcome = simulated(job_of(1), chained, minutes=4, pauses=pauses)
    assert told(outcome)[:2] == [(1, None, "skipped"), (2, 2 + 500 / MINUTE, "succeeded")]
    assert (
        outcome.fires[0].reason
        == f"the app is paused by alice, until {iso_utc(pauses.next_end_ms(T0))}: stock-taking"
    )
    assert outcome.reasons == {"paused": 3}
    assert outcome.apps[1].queue_max == 1


def test_a_pause_without_end():
    chained = job_of(schedule={"kind": "second_delay", "expression": 60})
    outcome = simulated(chained, pauses=paused())
    assert told(outcome) == [(1, None, "queued")]
    assert outcome.total.waiting == 1


@pytest.mark.parametrize(
    ("misfire", "wanted", "skipped"),
    [
        (Misfire.SKIP, [(None, 3), (4.5, 1)], 3),
        (Misfire.FIRE_ONCE, [(None, 2), (4.5, 1), (4.5, 1)], 2),
        (Misfire.FIRE_ALL, [(4.5, 1), (4.5, 1), (4.5, 1), (4.5, 1)], 0),
    ],
)
def test_an_outage_is_made_up_for_by_the_misfire_policy(misfire, wanted, skipped):
    away = [(T0 + MINUTE // 2, T0 + 4 * MINUTE + MINUTE // 2)]
    outcome = simulated(job_of(misfire=misfire, misfire_after_s=45), minutes=5, away=away)
    assert [
        ((fire.start_ms - T0) / MINUTE if fire.start_ms else None, fire.slot_count)
        for fire in outcome.fires[1:]
    ] == wanted
    assert outcome.total.skipped == outcome.reasons["misfire"] == skipped
    assert outcome.total.fires == 5


# ------------------------------------------------------------ bounds


def test_too_many_runs_are_refused():
    with pytest.raises(InvalidValue, match="a shorter range, or fewer jobs: 5 runs are the most") as refused:
        simulated(job_of(), most_fires=5)
    assert refused.value.field == "to"


def test_too_many_runs_are_refused_before_most_of_the_work():
    job, steps = job_of(), 0
    scenario = Scenario(
        T0, T0 + 3660 * MINUTE, [Subject(job, schedule_of(job), 1000)], {1: APP}, most_fires=2000
    )
    try:
        for _ in Simulation(scenario).steps():
            steps += 1
    except InvalidValue as refused:
        assert refused.expected.endswith("2000 runs are the most")  # noqa: PT017 - the steps before it count
    assert steps == 2000 // LOOKED_AT_ONCE


def test_disabled_jobs_have_no_slots_and_others_are_listed_up_to_a_number():
    outcome = simulated(job_of(1), job_of(2, enabled=False), listed=3)
    assert (outcome.total.fires, len(outcome.fires), 2 in outcome.jobs) == (10, 3, False)
    assert outcome.fires[0].state is RunState.SUCCEEDED
