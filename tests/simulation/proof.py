"""The proof that the product offers says of a simulated life what the oracle says: nothing lost, nothing doubled."""

from __future__ import annotations

from gateway.flow.proving import Prover
from gateway.store.evidence import EvidenceStore
from tests.simulation.simulation import Simulation


async def judge_proof(simulation: Simulation) -> None:
    world = simulation.world
    prover = Prover(world.clock, EvidenceStore(world.now.db, world.clock, 30))
    for job_id in simulation.people.jobs:
        found = await world.do(prover.prove(job_id, 1, world.clock.now_ms() + 1))
        assert found.is_right, found
        assert found.waiting == 0, found
        told = found.fired + sum((found.skipped + found.not_sent + found.unproven).values())
        assert found.expected == told, found
