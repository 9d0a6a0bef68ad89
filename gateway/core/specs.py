"""Jobs in memory: the definitions of those that fire, with their schedules parsed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count

import structlog

from gateway.core.clock import Clock
from gateway.core.confine import Slots, schedule_of
from gateway.core.errors import InvalidValue, StoreError
from gateway.core.model import Job
from gateway.core.ports import JobReader
from gateway.core.schedule import Api

log = structlog.get_logger(__name__)

RETRY_S = 1.0
_ALL = 0  # no job has this id


@dataclass(frozen=True, slots=True)
class Spec:
    """`readable` is False for a stored schedule that this version cannot read: such a job has no slots."""

    job: Job
    schedule: Slots
    readable: bool = True


class Specs:
    """A bounded cache of job definitions; what is not due is not here, or soon leaves."""

    def __init__(self, reader: JobReader, limit: int = 30_000) -> None:
        self._reader = reader
        self._limit = limit
        self._specs: OrderedDict[int, Spec] = OrderedDict()
        self._loads: dict[int, set[int]] = {}  # of each load under way, the jobs that were edited meanwhile
        self._load_numbers = count()

    def get(self, job_id: int) -> Spec | None:
        return self._specs.get(job_id)

    def job(self, job_id: int) -> Job | None:
        spec = self._specs.get(job_id)
        return spec.job if spec else None

    def invalidate(self, job_ids: Collection[int]) -> None:
        for edited in self._loads.values():
            edited.update(job_ids)
        for job_id in job_ids:
            self._specs.pop(job_id, None)

    def clear(self) -> None:
        """Forget all: changes may have been missed."""
        self.invalidate(tuple(self._specs))
        for edited in self._loads.values():
            edited.add(_ALL)

    async def ensure(self, wanted: Collection[tuple[int, int]]) -> None:
        """Load what is missing or older than the version named (0 for any). Deleted jobs stay absent."""
        final: set[int] = set()  # deleted, or older than wanted and all that there is
        while missing := {
            job_id: version for job_id, version in wanted if self._lacks(job_id, version, final)
        }:
            jobs, edited = await self._load(missing)
            if _ALL in edited:
                edited.update(missing)
            final -= edited
            for job_id in missing.keys() - edited:  # of an edited one, what was read may be the old version
                job = jobs.get(job_id)
                if job is None:
                    self._specs.pop(job_id, None)
                else:
                    self._specs[job_id] = _spec(job)
                    self._specs.move_to_end(job_id)
                if job is None or job.version < missing[job_id]:
                    final.add(job_id)
        if len(self._specs) > self._limit:
            # Absent means deleted to who asked, so what is wanted now is the last to leave.
            for job_id, _ in wanted:
                if job_id in self._specs:
                    self._specs.move_to_end(job_id)
            while len(self._specs) > max(self._limit, len(wanted)):
                self._specs.popitem(last=False)

    def _lacks(self, job_id: int, version: int, final: Collection[int]) -> bool:
        spec = self._specs.get(job_id)
        return (spec is None or spec.job.version < version) and job_id not in final

    async def _load(self, job_ids: Collection[int]) -> tuple[dict[int, Job], set[int]]:
        """Jobs as the database has them, and which of them were edited while it was asked."""
        number = next(self._load_numbers)
        edited = self._loads[number] = set()
        try:
            return await self._reader.load(job_ids), edited
        finally:
            del self._loads[number]

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
        return Spec(job, schedule_of(job))
    except InvalidValue as error:
        # One such job must not keep all others from firing.
        log.error("schedule_unreadable", job_id=job.id, version=job.version, error=str(error)[:200])
        return Spec(job, Api(), readable=False)
