"""What the stages see of jobs: absent means deleted, whatever happens while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest

from gateway.core.model import Job, Task
from gateway.core.specs import Specs


def _job(job_id: int) -> Job:
    return Job(job_id, 1, 1, 0, 1, "job", True, {"kind": "fixed_rate", "expression": "10s"}, Task("handler"))


class Reader:
    """Jobs in memory; `meanwhile` happens while one is read."""

    def __init__(self, count: int) -> None:
        self.jobs = {job_id: _job(job_id) for job_id in range(1, count + 1)}
        self.loads = 0
        self.meanwhile = lambda: None

    async def due(self, before_ms: int, limit: int) -> list[object]:
        raise AssertionError("nobody asks for this here")

    async def load(self, job_ids: Collection[int]) -> dict[int, Job]:
        self.loads += 1
        found = {job_id: self.jobs[job_id] for job_id in job_ids if job_id in self.jobs}
        await asyncio.sleep(0)
        self.meanwhile()
        return found


def _versions(specs: Specs, *job_ids: int) -> list[int | None]:
    return [job.version if (job := specs.job(job_id)) else None for job_id in job_ids]


async def test_a_job_edited_while_another_is_read_is_not_deleted():
    reader = Reader(2)
    specs = Specs(reader)
    await specs.ensure([(1, 0)])

    def edit() -> None:
        reader.meanwhile = lambda: None
        reader.jobs[1] = replace(reader.jobs[1], version=2)
        specs.invalidate([1])

    reader.meanwhile = edit
    await specs.ensure([(1, 0), (2, 0)])
    assert _versions(specs, 1, 2) == [2, 1]


async def test_a_job_edited_while_it_is_read_is_read_again():
    reader = Reader(1)
    specs = Specs(reader)

    def edit() -> None:
        reader.meanwhile = lambda: None
        reader.jobs[1] = replace(reader.jobs[1], version=2)
        specs.invalidate([1])

    reader.meanwhile = edit
    await specs.ensure([(1, 0)])
    assert _versions(specs, 1) == [2]


async def test_edits_of_other_jobs_do_not_hold_up_a_load():
    reader = Reader(1)
    specs = Specs(reader)
    reader.meanwhile = lambda: specs.invalidate([7])
    await asyncio.wait_for(specs.ensure([(1, 0)]), 5)
    assert reader.loads == 1


async def test_what_is_wanted_now_is_never_evicted():
    reader = Reader(6)
    specs = Specs(reader, limit=3)
    await specs.ensure([(1, 0), (2, 0), (3, 0)])
    await specs.ensure([(1, 0), (4, 0)])
    assert _versions(specs, 1, 4) == [1, 1]
    await specs.ensure([(job_id, 0) for job_id in range(1, 7)])
    assert _versions(specs, *range(1, 7)) == [1] * 6


@pytest.mark.parametrize("version", [0, 1, 9])
async def test_what_cannot_be_had_is_not_asked_for_again_and_again(version):
    reader = Reader(1)
    specs = Specs(reader)
    await asyncio.wait_for(specs.ensure([(1, version), (5, 0)]), 5)
    assert _versions(specs, 1, 5) == [1, None]
