"""Chains against a model of their own: whatever happens, each slot follows from the end before it and from the job."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.core.exclusions import Once
from gateway.core.model import Run
from gateway.core.states import OPEN
from gateway.flow.proving import Prover
from gateway.store.evidence import EvidenceStore
from tests.kit.fake_link import FAILING, REFUSED, Behaviour
from tests.kit.flow_world import A, World
from tests.kit.virtual_loop import VirtualLoop

RUNS = st.sampled_from(
    [Behaviour(runs_s=0.1), Behaviour(runs_s=2.5), FAILING, REFUSED, Behaviour(code=502, runs_s=1)]
)
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.03, 0.7, 2.0, 6.5])),
    st.tuples(st.just("exclude"), st.sampled_from([0, 1, 4, 9])),
    st.tuples(st.just("jitter"), st.sampled_from([0, 700])),
    st.tuples(st.just("delay"), st.sampled_from([1, 3, 5])),
    st.tuples(st.sampled_from(["enable", "disable", "trigger", "stop", "crash", "other"]), st.just(0)),
)
Setting = tuple[int, bool, int, int]
"""From when on, whether the job is enabled, its delay, and how much of each 10 s is excluded."""
ROUND_MS = 10_000


def exclusions(seconds: float, from_ms: int) -> tuple[Once, ...]:
    """The first seconds of the next rounds of 10 s, of so many that a test never comes to their end."""
    first_ms = from_ms // ROUND_MS * ROUND_MS
    return (
        tuple(Once(first_ms + n * ROUND_MS, first_ms + n * ROUND_MS + int(seconds) * 1000) for n in range(40))
        if seconds
        else ()
    )


def allowed(at_ms: int, excluded_ms: int) -> int:
    return max(at_ms, at_ms // ROUND_MS * ROUND_MS + excluded_ms)


def expected_due(end_ms: int, job: list[Setting]) -> int | None:
    """The first instant, at or after an end, at which the job is enabled and its delay is over."""
    for (since, enabled, delay_ms, excluded_ms), (until, *_) in pairwise([*job, (1 << 60, False, 0, 0)]):
        due_ms = allowed(max(end_ms + delay_ms, since), excluded_ms)
        if enabled and due_ms < until:
            return due_ms
    return None


async def live(directory: Path, runs: list[Behaviour], steps: list[tuple[str, float]]) -> None:
    world = World(directory)
    await world.start()
    executor = await world.executor()
    executor.plan.extend(runs)
    job = await world.job(schedule={"kind": "second_delay", "expression": 3}, max_attempts=2)
    life: list[Setting] = [(job.created_ms, True, 3000, 0)]
    for what, value in [*steps, ("wait", 12.0)]:
        await world.clock.advance(0.005)  # no two of them at one instant
        _, enabled, delay_ms, excluded_ms = life[-1]
        match what:
            case "wait":
                await world.clock.advance(value)
            case "delay":
                delay_ms = int(value) * 1000
                await world.change(job, schedule={"kind": "second_delay", "expression": value})
            case "exclude":
                excluded_ms = int(value) * 1000
                timing = (await world.now.jobs.get(job.id)).timing
                found = exclusions(value, life[0][0])
                await world.change(job, timing=replace(timing, exclusions=found))
            case "jitter":
                timing = (await world.now.jobs.get(job.id)).timing
                await world.change(job, timing=replace(timing, jitter_ms=int(value)))
            case "enable" | "disable":
                enabled = what == "enable"
                await world.change(job, enabled=enabled)
            case "trigger":
                await world.trigger(job)
            case "other":
                await world.change(job, priority=world.clock.now_ms() % 90 + 1)
            case "stop":
                waiting = [run for run in await world.rows(job_id=job.id) if run.state in OPEN]
                if waiting and not waiting[-1].sent_ms:
                    await world.stop(waiting[-1].id)
            case "crash":
                await world.crash()
                await world.start()
                await world.beat(A)
        changed = (await world.now.jobs.get(job.id)).updated_ms
        if (enabled, delay_ms, excluded_ms) != life[-1][1:]:
            life.append((changed, enabled, delay_ms, excluded_ms))
    rows = [run for run in await world.rows(job_id=job.id) if run.slot_key > 0]
    judge(rows, life)
    known = [run for run in rows if run.slot_key <= world.clock.now_ms()]
    goes_on = (await world.now.jobs.get(job.id)).next_fire_at or any(run.state in OPEN for run in rows)
    assert bool(goes_on) == life[-1][1]
    assert max(world.executions.values()) == 1
    prover = Prover(world.clock, EvidenceStore(world.now.db, world.clock, 30))
    proof = await world.do(prover.prove(job.id, 1, world.clock.now_ms() + 1))
    assert proof.is_right, proof
    assert (proof.expected, dict(proof.unproven)) == (len({run.slot_key for run in known}), {}), proof
    await world.close()


def judge(rows: list[Run], life: list[Setting]) -> None:
    ends: dict[int, int] = {}
    for run in rows:
        ends[run.slot_key] = max(run.finished_ms, ends.get(run.slot_key, 0))
    slots = sorted(ends)
    assert slots[0] == life[0][0]
    for before, after in pairwise(slots):
        # One that was stopped ahead of its instant was decided by what held then.
        ahead = 0 < ends[after] < after
        known = [one for one in life if not ahead or one[0] < ends[after]]
        assert after == expected_due(ends[before], known), (before, after, ends[before], life)
    assert len([run for run in rows if run.state in OPEN]) <= 1  # one chain


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(RUNS, max_size=4), st.lists(STEPS, max_size=8))
def test_each_slot_follows_from_the_end_before_it(runs, steps):
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(live(Path(name), runs, steps))
