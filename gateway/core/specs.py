"""Jobs in memory: the definitions of those that fire, with their schedules parsed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from gateway.core.clock import Clock
from gateway.core.errors import InvalidValue, StoreError
from gateway.core.model import Job
from gateway.core.ports import JobReader
from gateway.core.schedule import Api, Schedule, parse_schedule

log = structlog.get_logger(__name__)

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Spec:
    """`readable` is False for a stored schedule that this version cannot read: such a job has no slots."""

    job: Job
    schedule: Schedule
    readable: bool = True


class Specs:
    """A bounded cache of job definitions; what is not due is not here, or soon leaves."""

    def __init__(self, reader: JobReader, limit: int = 30_000) -> None:
        self._reader = reader
        self._limit = limit
        self._specs: OrderedDict[int, Spec] = OrderedDict()
        self._edits = 0

    def get(self, job_id: int) -> Spec | None:
        return self._specs.get(job_id)

    def job(self, job_id: int) -> Job | None:
        spec = self._specs.get(job_id)
        return spec.job if spec else None

    def invalidate(self, job_ids: Collection[int]) -> None:
        self._edits += 1
        for job_id in job_ids:
            self._specs.pop(job_id, None)

    async def ensure(self, wanted: Collection[tuple[int, int]]) -> None:
        """Load what is missing or older than the version named (0 for any). Deleted jobs stay absent."""
        missing = [
            job_id
            for job_id, version in wanted
            if (spec := self._specs.get(job_id)) is None or spec.job.version < version
        ]
        while missing:
            edits = self._edits
            jobs = await self._reader.load(missing)
            if edits != self._edits:
                continue  # an edit came in between: what was read may be the old version
            for job in jobs.values():
                self._specs[job.id] = _spec(job)
                self._specs.move_to_end(job.id)
            for job_id in set(missing) - set(jobs):
                self._specs.pop(job_id, None)
            break
        while len(self._specs) > self._limit:
            self._specs.popitem(last=False)

    async def ensure_patiently(self, wanted: Collection[tuple[int, int]], clock: Clock) -> None:
        """As `ensure`, but an unreachable database only delays it: for what must not be dropped half-way."""
        while True:
            try:
                await self.ensure(wanted)
            except StoreError as error:
                log.warning("jobs_not_loaded", error=str(error)[:200])
                await clock.sleep(RETRY_S)
            else:
                return


def _spec(job: Job) -> Spec:
    try:
        return Spec(job, parse_schedule(job.schedule, anchor_ms=job.anchor_ms))
    except InvalidValue as error:
        # One such job must not keep all others from firing.
        log.error("schedule_unreadable", job_id=job.id, version=job.version, error=str(error)[:200])
        return Spec(job, Api(), readable=False)
