"""The end of a job: what waits is invalid, what runs comes to its end, nothing more is sent."""

from __future__ import annotations

import pytest

from gateway.core.context import Tuning
from gateway.core.model import TriggerKind
from gateway.core.states import RunState
from gateway.core.submission import NOW
from tests.kit.fake_link import SILENT
from tests.kit.flow_world import World

LEAD_S = Tuning().claim_lead_ms / 1000 - 0.02


async def delete(world: World, job_id: int) -> None:
    await world.do(world.now.jobs.delete(job_id))
    await world.do(world.now.operations.jobs_changed([job_id]))


async def test_a_running_run_comes_to_its_end_and_is_not_tried_again(world: World) -> None:
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False, max_attempts=3)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    await delete(world, job.id)
    executor.finish(job.id, code=500, message="no")
    await world.clock.advance(5)
    first, *later = await world.rows(job_id=job.id)
    assert (first.id, first.outcome, first.message) == (run_id, RunState.FAILED, "no")
    assert {run.state for run in later} <= {RunState.INVALID}
    assert len(executor.received) == 1


async def test_what_was_claimed_and_not_sent_is_invalid(world: World) -> None:
    executor = await world.executor()
    job = await world.job()
    await world.clock.advance(10 - LEAD_S)
    (run,) = [run for run in await world.rows(job_id=job.id) if run.state is RunState.DISPATCHING]
    await delete(world, job.id)
    await world.clock.advance(30)
    found = await world.row(run.id)
    assert (found.state, found.reason) == (RunState.INVALID, "the job was deleted")
    assert executor.received == []


@pytest.mark.parametrize("delay_s", [0.0, 3.0])
async def test_a_trigger_that_comes_too_late(world: World, delay_s: float) -> None:
    """A row that was inserted as the job was deleted is nobody's: it ends with the reason."""
    await world.executor()
    job = await world.job(enabled=False)
    await world.do(world.now.jobs.delete(job.id))
    await world.clock.advance(delay_s)
    run_id, _ = await world.do(world.flow.submitter.one(job, NOW, TriggerKind.API))
    await world.do(world.now.operations.jobs_changed([job.id]))
    await world.clock.advance(3)
    assert (await world.row(run_id)).state is RunState.INVALID
