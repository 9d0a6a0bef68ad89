"""Random lives of a job whose kind and maximum change: what the scheduler does right is proven, one fault is found."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from gateway.core.model import Run
from gateway.core.proof import ON_ITS_WAY, JobProof
from gateway.core.timing import Timing, Window
from gateway.flow.proving import Prover
from gateway.store.evidence import EvidenceStore
from gateway.store.tables import run
from tests.kit.fake_link import FAILING, Behaviour
from tests.kit.flow_world import A, World
from tests.kit.virtual_loop import VirtualLoop

KINDS = (
    {"kind": "second_delay", "expression": 1},
    {"kind": "second_delay", "expression": 3},
    {"kind": "interval", "expression": 2},
    {"kind": "fixed_rate", "expression": 3},
    {"kind": "api"},
)
STEPS = st.one_of(
    st.tuples(st.just("kind"), st.sampled_from(range(len(KINDS)))),
    st.tuples(st.just("most"), st.sampled_from([0, 2, 4, 9])),
    st.tuples(st.sampled_from(["switch", "other", "crash"]), st.just(0)),
)
WAITS = st.sampled_from([0.03, 0.9, 3.3, 8.1])
FAULTS = ("gone", "too many", "too soon")


async def live(directory: Path, steps: list[tuple[tuple[str, int], float]], seed: int) -> None:
    world = World(directory)
    await world.start()
    executor = await world.executor()
    executor.plan.extend([Behaviour(runs_s=1.5), FAILING, Behaviour(runs_s=4)])
    begun_ms = world.clock.now_ms()
    job = await world.job(schedule=KINDS[seed % 4], max_attempts=2)
    for (what, value), wait_s in [(("other", 0), 3.3), *steps, (("other", 0), 8.1)]:
        await world.clock.advance(0.005)  # no two changes at one instant
        now = await world.now.jobs.get(job.id)
        match what:
            case "kind":
                window = now.timing.window if value < 4 else Window()
                await world.change(job, schedule=KINDS[value], timing=Timing(window))
            case "most" if now.schedule != KINDS[4]:
                await world.change(job, timing=Timing(Window(max_fires=value)))
            case "switch":
                await world.change(job, enabled=not now.enabled)
            case "other":
                await world.change(job, priority=world.clock.now_ms() % 90 + 1)
            case "crash":
                await world.crash()
                await world.start()
                await world.beat(A)
        await world.clock.advance(wait_s)
    whole = await proof_of(world, job.id, begun_ms)
    assert whole.is_right, whole
    rows = {one.slot_key: one for one in await world.rows(job_id=job.id, attempt=1)}
    known = [one for slot, one in sorted(rows.items()) if slot <= world.clock.now_ms()]
    assert whole.expected == whole.fired + whole.waiting + sum(
        (whole.skipped + whole.not_sent + whole.unproven).values()
    )
    assert whole.fired == len([one for one in known if one.sent_ms]) - whole.unproven[ON_ITS_WAY]
    long_ago_ms = world.clock.now_ms() - 400
    sent = [one for one in known if one.sent_ms and one.finished_ms and one.slot_key < long_ago_ms]
    if sent and not whole.unproven:
        chance = random.Random(seed)
        what = chance.choice(FAULTS)
        await damage(world, chance.choice(sent), what)
        found = await proof_of(world, job.id, begun_ms)
        assert not found.is_right or (what == "gone" and found.unproven), found
    await world.close()


async def proof_of(world: World, job_id: int, begun_ms: int) -> JobProof:
    prover = Prover(world.clock, EvidenceStore(world.now.db, world.clock, 30))
    return await world.do(prover.prove(job_id, begun_ms, world.clock.now_ms() + 1))


async def damage(world: World, one: Run, what: str) -> None:
    slot = (run.c.job_id == one.job_id, run.c.slot_key == one.slot_key)
    if what == "gone":
        statement = delete(run).where(*slot)
    elif what == "too soon":
        statement = update(run).where(run.c.id == one.id).values(sent_ms=one.slot_key - 700)
    else:
        values = {"id": 7, "root_id": 7, "job_id": one.job_id, "app_id": 1, "slot_key": one.slot_key + 317}
        times = {"due_ms": one.slot_key + 317, "sent_ms": one.slot_key + 317}
        statement = insert(run).values(values | times | {"state": 10, "finished_ms": one.slot_key + 400})

    async def body() -> None:
        async with world.now.db.write() as conn:
            await conn.execute(statement)

    await world.do(body())


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.tuples(STEPS, WAITS), max_size=9), st.integers(0, 999))
def test_what_is_right_is_proven_and_one_fault_is_found(steps, seed):
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(live(Path(name), steps, seed))
