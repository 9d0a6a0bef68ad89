"""Proving: goes through the slots of a job in portions, so that runs that are due are not held up."""

from __future__ import annotations

from gateway.core.clock import Clock
from gateway.core.evidence import EvidenceReader
from gateway.core.expected import intervals
from gateway.core.judge import Judge
from gateway.core.proof import JobProof

SLOTS_AT_ONCE = 200


class Prover:
    """Implements `core.proof.Proofs`."""

    def __init__(self, clock: Clock, evidence: EvidenceReader) -> None:
        self._clock = clock
        self._evidence = evidence

    async def jobs(
        self, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
    ) -> list[int]:
        return await self._evidence.jobs(app_id, after_id, limit, from_ms, to_ms)

    async def prove(self, job_id: int, from_ms: int, to_ms: int) -> JobProof:
        """Raises `NotFound`, and `InvalidValue` for a range with too many slots."""
        now_ms = self._clock.now_ms()
        to_ms = min(to_ms, now_ms + 1)
        evidence = await self._evidence.of_job(job_id, from_ms, to_ms)
        found = intervals(evidence.versions, evidence.deleted_ms, from_ms, to_ms, evidence.editions)
        judge = Judge(job_id, evidence, found, now_ms)
        for number, _ in enumerate(judge.steps()):
            if number % SLOTS_AT_ONCE == SLOTS_AT_ONCE - 1:
                await self._clock.sleep(0)
        return judge.verdict()
