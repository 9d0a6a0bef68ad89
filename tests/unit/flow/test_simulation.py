"""Many small lives of the scheduler under random faults, judged by what executors counted and by arithmetic.

A failure names its seed: `SIMULATION_SEEDS=17 pytest tests/unit/flow/test_simulation.py` plays that one again,
`SIMULATION_SEEDS=0-2000` a long night.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from gateway.core.context import Tuning
from gateway.core.model import Guarantee, Job, Misfire, Route, Run, TriggerKind
from gateway.core.routing import Router
from gateway.core.states import OPEN, RunState
from tests.kit.fake_link import (
    FAILING,
    GOOD,
    LOST_ANSWER,
    LOST_REQUEST,
    NOT_SENT,
    REFUSED,
    Behaviour,
    FakeExecutor,
)
from tests.kit.flow_world import A, B, C, Life, World

FAULTY_S = 15
QUIET_S = 50
TUNING = Tuning(sweep_every_s=5.0, sweep_confirm_ms=10_000, settle_give_up_ms=15_000)
POINTS = ("after_claim", "after_send", "after_answer")


def _seeds() -> list[int]:
    text = os.environ.get("SIMULATION_SEEDS", "0-39")
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("seed", _seeds())
async def test_promises_hold(seed: int, tmp_path: Path) -> None:
    print(f"seed {seed}")
    simulation = Simulation(seed, tmp_path)
    try:
        await simulation.play()
        await simulation.judge()
    finally:
        await simulation.world.close()


class Simulation:
    def __init__(self, seed: int, directory: Path) -> None:
        self.rng = random.Random(seed)
        random.seed(seed)  # the jitter and the claim tokens of the product
        self.world = World(directory, TUNING)
        self.faulty = True
        self.jobs: dict[int, Job] = {}
        self.every_ms: dict[int, int] = {}

    # ------------------------------------------------------------ what happens

    async def play(self) -> None:
        world, rng = self.world, self.rng
        await self.start()
        for address in (A, B, C)[: rng.randint(1, 3)]:
            await world.executor(address, usual=self.behaviour)
        for number in range(rng.randint(1, 5)):
            await self.add_job(number)
        steps = FAULTY_S * 10
        for step in range(steps):
            await world.clock.advance(0.1)
            if world.life is not None and world.now.signals.crashed:
                await world.crash()
            if world.life is None:
                if rng.random() < 0.1:
                    await self.start()
            elif rng.random() < 0.004:
                await world.crash()
            if world.life is not None and rng.random() < 0.01:
                world.now.signals.crash_at = rng.choice(POINTS)
            self.disturb(rng.choice(list(world.executors.values())))
            if step % 100 == 0:
                await self.beat()
        self.faulty = False
        for executor in world.executors.values():
            executor.thaw()
            executor.up = True
        if world.life is None or world.now.signals.crashed:
            if world.life is not None:
                await world.crash()
            await self.start()
        world.now.signals.crash_at = None
        for _ in range(QUIET_S // 10):
            await self.beat()
            await world.clock.advance(10)

    async def start(self) -> None:
        def prepare(life: Life) -> None:
            life.faulty.next_fault = self.fault
            life.faulty.pause_s = lambda: (
                self.rng.choice((0, 0, 0.001, 0.004, 0.03)) if self.faulty else 0.001
            )

        life = await self.world.start(prepare)
        life.flow.admitter._router = Router(self.rng)

    async def beat(self) -> None:
        if self.world.life is None:
            return
        for address, executor in self.world.executors.items():
            if executor.up and not executor.frozen:
                await self.world.beat(address)

    async def add_job(self, number: int) -> None:
        rng = self.rng
        every_s = rng.choice((1, 2, 3, 7))
        route = rng.choice(list(Route))
        job = await self.world.job(
            name=f"job {number}",
            schedule={"kind": "fixed_rate", "expression": f"{every_s}s"},
            misfire=rng.choice(list(Misfire)),
            misfire_after_s=rng.choice((5, 60)),
            route=route,
            max_attempts=rng.choice((1, 1, 3)),
            guarantee=rng.choice((Guarantee.AT_MOST_ONCE, Guarantee.AT_MOST_ONCE, Guarantee.AT_LEAST_ONCE)),
        )
        self.jobs[job.id] = job
        self.every_ms[job.id] = every_s * 1000

    def fault(self) -> str | None:
        if not self.faulty or self.rng.random() > 0.03:
            return None
        return self.rng.choice(("deadlock", "gone_before_commit", "gone_after_commit", "refused_at_begin"))

    def behaviour(self, _order: object) -> Behaviour:
        rng = self.rng
        if not self.faulty:
            return GOOD
        if rng.random() < 0.7:
            return Behaviour(
                runs_s=rng.choice((0.001, 0.01, 0.1, 0.5, 1.5)), repeats=rng.choice((1, 1, 1, 2))
            )
        return rng.choice(
            (
                GOOD,
                FAILING,
                NOT_SENT,
                REFUSED,
                LOST_ANSWER,
                LOST_REQUEST,
                Behaviour(answer_after_s=0.3, runs_s=0.001),  # its result comes before its answer
                Behaviour(answered=False, runs_s=4.0),
                Behaviour(code=502, message="it took too long"),
            )
        )

    def disturb(self, executor: FakeExecutor) -> None:
        rng = self.rng
        chance = rng.random()
        if chance < 0.005:
            executor.restart()
        elif chance < 0.008:
            executor.stop()
        elif chance < 0.011:
            executor.frozen = executor.up
        elif chance < 0.05:
            executor.thaw()
            if not executor.up:
                executor.restart()

    # ------------------------------------------------------------ what must be true

    async def judge(self) -> None:
        runs = await self.world.rows()
        by_id = {run.id: run for run in runs}
        self.judge_once(by_id)
        self.judge_complete(runs)
        self.judge_never_early(by_id)
        self.judge_results(by_id)
        self.judge_ended(runs)

    def judge_once(self, by_id: dict[int, Run]) -> None:
        """P1: no run is executed twice, unless its job wants that rather than a loss."""
        for run_id, count in self.world.executions.items():
            run = by_id[run_id]
            job = self.jobs[run.job_id]
            assert count == 1 or job.guarantee is Guarantee.AT_LEAST_ONCE, (
                f"run {run_id} executed {count} times: {run}"
            )
        keys = Counter((run.job_id, run.slot_key, run.shard, run.attempt) for run in by_id.values())
        assert max(keys.values()) == 1

    def judge_complete(self, runs: list[Run]) -> None:
        """P2: every due slot has exactly one first row."""
        now_ms = self.world.clock.now_ms()
        covered: dict[int, Counter[int]] = defaultdict(Counter)
        for run in runs:
            if run.attempt != 1 or run.shard > 0 or run.trigger_kind is TriggerKind.SHARD:
                continue
            every_ms = self.every_ms[run.job_id]
            last = run.last_slot_ms or run.slot_key
            slots = range(run.slot_key, last + 1, every_ms)
            assert len(slots) == run.slot_count, run
            covered[run.job_id].update(slots)
        for job_id, job in self.jobs.items():
            every_ms = self.every_ms[job_id]
            due = range(job.anchor_ms + every_ms, now_ms, every_ms)
            wrong = {slot: covered[job_id][slot] for slot in due if covered[job_id][slot] != 1}
            assert not wrong, (job, wrong)

    def judge_never_early(self, by_id: dict[int, Run]) -> None:
        """P3, by the executors' own look at the clock."""
        for executor in self.world.executors.values():
            for request in executor.received:
                assert request.at_ms >= by_id[request.run_id].slot_key
        assert [run_id for life in self.world.lives for run_id in life.link.early] == []

    def judge_results(self, by_id: dict[int, Run]) -> None:
        """P6: each result that was acknowledged is in its row, the first one of several."""
        first: dict[int, int] = {}
        for result in self.world.acknowledged:
            first.setdefault(result.run_id, result.code)
        meanings = {200: RunState.SUCCEEDED, 500: RunState.FAILED, 502: RunState.TIMED_OUT}
        for run_id, code in first.items():
            run = by_id[run_id]
            if run.state is RunState.RETRYING and run.outcome is RunState.LOST:
                continue  # given up, and tried again: kept apart
            assert (run.outcome, run.result_code) == (meanings[code], code), run

    def judge_ended(self, runs: list[Run]) -> None:
        """What was due has ended by now; a failed attempt that may be repeated was repeated."""
        recent_ms = self.world.clock.now_ms() - 5000
        left = [run for run in runs if run.state in OPEN and run.due_ms < recent_ms]
        assert not left, _shown(left)
        keys = {(run.job_id, run.slot_key, run.shard, run.attempt) for run in runs}
        for run in runs:
            again = (run.job_id, run.slot_key, run.shard, run.attempt + 1)
            assert (run.state is RunState.RETRYING) == (again in keys), run


def _shown(runs: list[Run]) -> str:
    return "\n".join(map(str, runs))
