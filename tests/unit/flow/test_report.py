"""A result is acknowledged when it is durable, whatever the database does, and counts once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.access import EVERY_APP
from gateway.core.errors import StoreError
from gateway.core.model import ExecutorResult, Route
from gateway.core.states import RunState
from gateway.store.tables import foreign_result
from tests.kit.fake_link import SILENT, Behaviour
from tests.kit.flow_world import CLIENT


async def running(world, **job):
    """A run that is out and gives no result by itself."""
    executor = await world.executor(usual=SILENT)
    job = await world.job(enabled=False, **job)
    run_id = await world.trigger(job)
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.RUNNING
    return executor, job, run_id


def result(run, code=200, message=None, **changes):
    fields = {"log_time_ms": run.trigger_ms, "received_ms": run.due_ms + 5000, "strict_time": True}
    return ExecutorResult(run.id, code, message, **(fields | changes))


def reporting(world, *results):
    return asyncio.ensure_future(world.flow.report(results, CLIENT, EVERY_APP))


async def report(world, *results):
    return await world.do(world.flow.report(results, CLIENT, EVERY_APP))


# ------------------------------------------------------------ what a result means


@pytest.mark.parametrize(
    ("code", "state"),
    [(200, RunState.SUCCEEDED), (500, RunState.FAILED), (502, RunState.TIMED_OUT), (0, RunState.FAILED)],
)
async def test_codes(world, code, state):
    _, _, run_id = await running(world)
    assert await report(world, result(await world.row(run_id), code, "what it says"))
    run = await world.row(run_id)
    assert (run.state, run.outcome, run.result_code, run.message) == (state, state, code, "what it says")


async def test_the_result_comes_before_the_answer(world):
    executor = await world.executor()
    executor.plan.append(Behaviour(answer_after_s=0.5, runs_s=0.01))
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(0.1)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    await world.clock.advance(2)
    run = await world.row(run_id)
    assert run.state is RunState.SUCCEEDED
    assert run.sent_ms
    assert len(world.flow.context.flights) == 0


async def test_repeated_results_count_once(world):
    _, job, run_id = await running(world, max_attempts=3)
    row = await world.row(run_id)
    assert await report(world, result(row, 500, "first"), result(row, 200, "second"))
    assert await report(world, result(row, 500, "third"))
    rows = await world.rows(job_id=job.id)
    assert next((run.attempt, run.state) for run in rows) == (1, RunState.RETRYING)
    assert rows[0].message == "first"
    assert len(rows) == 2


async def test_the_same_result_twice_at_once(world):
    _, job, run_id = await running(world, max_attempts=3)
    row = await world.row(run_id)
    both = [reporting(world, result(row, 500)) for _ in range(2)]
    await world.clock.advance(0.5)
    assert [one.result() for one in both] == [True, True]
    assert len(await world.rows(job_id=job.id)) == 2


async def test_a_late_result_corrects_a_lost_run(world):
    executor, _job, run_id = await running(world)
    executor.restart()
    assert (await world.until_final(run_id, at_most_s=200)).state is RunState.LOST
    assert await report(world, result(await world.row(run_id), 200, "after all"))
    run = await world.row(run_id)
    assert (run.state, run.message, run.reason) == (
        RunState.SUCCEEDED,
        "after all",
        "the result came after the run had been given up",
    )


async def test_a_late_result_of_a_run_that_was_tried_again(world):
    executor, _job, run_id = await running(world, max_attempts=2)
    executor.restart()
    assert (await world.until_final(run_id, at_most_s=200)).state is RunState.RETRYING
    assert await report(world, result(await world.row(run_id), 200, "after all"))
    run = await world.row(run_id)
    assert (run.state, run.message) == (RunState.SUCCEEDED, "after all")
    assert await world.table(foreign_result) == []


@pytest.mark.parametrize("case", ["unknown", "other time", "never sent"])
async def test_foreign_results_are_acknowledged_and_kept(world, case):
    _, _job, run_id = await running(world)
    row = await world.row(run_id)
    if case == "unknown":
        foreign = ExecutorResult(77, 200, "old admin", 5, 6, True)
    elif case == "other time":
        foreign = result(row, log_time_ms=row.trigger_ms - 1)
    else:
        planned = await world.job()
        await world.clock.advance(9)
        foreign = result((await world.rows(job_id=planned.id))[0])
    assert await report(world, foreign)
    assert [kept["log_id"] for kept in await world.table(foreign_result)] == [foreign.run_id]
    assert (await world.row(run_id)).state is RunState.RUNNING


async def test_a_result_for_the_parent_of_shards_is_foreign(world):
    """Nobody was sent the parent: only its shards end it."""
    await world.executor(usual=Behaviour(runs_s=100))
    job = await world.job(enabled=False, route=Route.SHARDING_BROADCAST)
    parent_id = await world.trigger(job)
    await world.clock.advance(1)
    parent = await world.row(parent_id)
    assert await report(world, result(parent, log_time_ms=None, strict_time=False))
    assert (await world.row(parent_id)).state is RunState.RUNNING
    assert [kept["log_id"] for kept in await world.table(foreign_result)] == [parent_id]


async def test_a_client_with_times_of_its_own_is_believed(world):
    _, _, run_id = await running(world)
    assert await report(world, result(await world.row(run_id), log_time_ms=1, strict_time=False))
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


async def test_own_and_foreign_results_in_one_callback(world):
    _, _, run_id = await running(world)
    row = await world.row(run_id)
    assert await report(world, ExecutorResult(77, 200, None, 5, 6, True), result(row))
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


# ------------------------------------------------------------ the database is away


async def test_a_database_that_stands_still(world):
    """Acknowledged from the spool in time; forgotten there only when the database has it."""
    _, _, run_id = await running(world)
    row = await world.row(run_id)
    world.now.faulty.up.clear()  # commits hang, reading goes on
    answer = reporting(world, result(row))
    await world.clock.advance(0.49)
    assert not answer.done()
    await world.clock.advance(0.31)
    assert answer.result() is True
    assert world.spool.files
    await world.clock.advance(5)
    assert world.spool.files
    await world.crash()
    await world.start()
    await world.clock.advance(3)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert not world.spool.files


async def test_a_database_that_comes_back_counts_the_result_once(world):
    _, job, run_id = await running(world, max_attempts=3)
    row = await world.row(run_id)
    world.now.faulty.up.clear()
    answer = reporting(world, result(row, 500))
    await world.clock.advance(2)
    assert answer.result() is True
    world.now.faulty.up.set()
    await world.clock.advance(5)
    assert not world.spool.files
    assert len(await world.rows(job_id=job.id)) == 2


async def test_a_database_that_is_gone(world):
    _, _, run_id = await running(world)
    row = await world.row(run_id)
    world.now.faulty.next_fault = lambda: "refused_at_begin"
    await world.clock.advance(1)
    answer = reporting(world, result(row))
    await world.clock.advance(0.1)
    assert answer.result() is True  # at once: it is known to be away
    assert world.spool.files
    world.now.faulty.next_fault = lambda: None
    await world.clock.advance(5)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert not world.spool.files


async def test_a_database_that_goes_again_and_again(world):
    """What was spooled in an earlier absence says nothing about how much of this one's file is written."""
    runs = []
    for number in range(3):
        _, _, run_id = await running(world, name=f"job {number}")
        row = await world.row(run_id)
        world.now.faulty.next_fault = lambda: "refused_at_begin"
        await world.clock.advance(1)
        answer = reporting(world, result(row))
        await world.clock.advance(0.1)
        assert answer.result() is True
        assert world.spool.files
        world.now.faulty.next_fault = lambda: None
        await world.clock.advance(5)
        assert not world.spool.files
        runs.append(await world.row(run_id))
    assert [run.state for run in runs] == [RunState.SUCCEEDED] * 3


@pytest.mark.parametrize("spool", ["broken", "stalled"])
@pytest.mark.parametrize("database", ["hangs", "gone"])
async def test_neither_database_nor_spool(world, spool, database):
    """The client is told in time to send it again, and then it counts."""
    _, job, run_id = await running(world, max_attempts=3)
    row = await world.row(run_id)
    setattr(world.spool, spool, True)
    if database == "hangs":
        world.now.faulty.up.clear()
    else:
        world.now.faulty.next_fault = lambda: "refused_at_begin"
        await world.clock.advance(1)
    answer = reporting(world, result(row, 500))
    await world.clock.advance(0.8)
    assert answer.result() is False
    setattr(world.spool, spool, False)
    world.now.faulty.up.set()
    world.now.faulty.next_fault = lambda: None
    await world.clock.advance(3)
    assert await report(world, result(row, 500))
    rows = await world.rows(job_id=job.id)
    assert (rows[0].state, len(rows)) == (RunState.RETRYING, 2)


async def test_a_retried_result_waits_for_the_first_one(world):
    """The repetition is not acknowledged before the result is durable."""
    _, _, run_id = await running(world)
    row = await world.row(run_id)
    world.spool.broken = True
    world.now.faulty.up.clear()
    first = reporting(world, result(row))
    await world.clock.advance(1)
    second = reporting(world, result(row))
    await world.clock.advance(1)
    assert (first.result(), second.result()) == (False, False)
    world.now.faulty.up.set()
    await world.clock.advance(3)
    assert await report(world, result(row))
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


async def test_a_result_that_cannot_be_taken_is_taken_when_it_comes_again(world):
    """An error on the way must leave nothing behind that the next one would wait for."""
    _, _, run_id = await running(world, max_attempts=2)
    row = await world.row(run_id)
    take = world.now.ids.take

    def used_up(count):
        world.now.ids.take = take
        raise StoreError("the reserve of ids is used up")

    world.now.ids.take = used_up
    with pytest.raises(StoreError):
        await report(world, result(row, 500))
    assert await report(world, result(row, 500))
    assert (await world.row(run_id)).state is RunState.RETRYING
    assert world.spool.files == {}


@pytest.mark.parametrize("fault", ["deadlock", "gone_before_commit", "gone_after_commit"])
async def test_a_fault_at_the_commit(world, fault):
    _, job, run_id = await running(world, max_attempts=2)
    row = await world.row(run_id)
    world.faults(fault)
    answer = reporting(world, result(row, 500))
    await world.clock.advance(3)
    assert answer.result() is True
    await world.clock.advance(3)
    rows = await world.rows(job_id=job.id)
    assert [run.attempt for run in rows] == [1, 2]
    assert rows[1].state is RunState.RUNNING  # the retry was not forgotten either


async def test_a_result_after_a_restart(world):
    executor, job, run_id = await running(world)
    await world.crash()
    await world.start()
    executor.finish(job.id)
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
