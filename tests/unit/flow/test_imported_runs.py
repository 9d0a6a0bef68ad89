"""Runs of an old admin are history: whatever is heard of them, nothing follows from it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy import insert

from gateway.core.access import EVERY_APP
from gateway.core.children import Child, On
from gateway.core.model import AddressMode, App, Beat, ExecutorResult, LogPage, Task, TriggerKind
from gateway.core.states import RunState
from gateway.store.import_logs import LogImportStore, OldRun
from gateway.store.tables import foreign_result, import_source
from importer.apply import apply_plan
from importer.plan.values import Action, PlannedApp
from tests.contract.test_imports import a_plan, planned
from tests.kit.fake_link import SILENT, FakeExecutor
from tests.kit.flow_world import CLIENT, A, B

OLD_ID = 4711
LARGE_ID = 3_000_000_000
NO_RESULT = "no result had come"


@pytest.fixture
async def old(world):
    """A job that would retry and start a child, and its runs at the old admin."""
    await world.executor(usual=SILENT)
    child = await world.job(enabled=False)
    job = await world.job(enabled=False, max_attempts=3, children=(Child(child.id, On.SUCCESS),))
    return await brought(world, job, OLD_ID)


async def brought(world, job, old_id, state=RunState.LOST):
    trigger_ms = (world.clock.now_ms() - 600_000) // 1000 * 1000
    run = OldRun(
        old_id, job.id, state, trigger_ms, trigger_ms, trigger_ms, 0, A, 0, 1, 1, "p", None, NO_RESULT
    )
    store = LogImportStore(world._look, world.clock)
    async with world._look.write() as conn:
        await conn.execute(insert(import_source).values(name=f"old {old_id}"))
    mark = await world.do(store.mark(f"old {old_id}"))
    await world.do(store.append(mark, [run], replace(mark, first=1, mark=old_id)))
    (found,) = await world.rows(claim_token=old_id)
    return found


def result(run, code, late_ms=437, *, strict=True):
    """The executor was given the old admin's time in milliseconds, of which its database kept the seconds."""
    return ExecutorResult(
        run.log_id, code, "said late", run.trigger_ms + late_ms, run.due_ms + 900_000, strict
    )


async def heard(world, *results):
    assert await world.do(world.flow.report(results, CLIENT, EVERY_APP))
    await world.clock.advance(5)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("code", "state"), [(200, RunState.SUCCEEDED), (500, RunState.FAILED)])
async def test_a_result_that_comes_after_all_is_written_down_and_that_is_all(world, old, code, state, strict):
    before = len(await world.rows())
    await heard(world, result(old, code, strict=strict))
    run = await world.row(old.id)
    assert (run.state, run.result_code, run.message) == (state, code, "said late")
    assert len(await world.rows()) == before
    assert world.sent == []
    await heard(world, result(old, 500))
    assert (await world.row(old.id)).state is state
    assert await world.table(foreign_result) == []


async def test_one_of_a_chain_does_not_move_it(world):
    await world.executor(usual=SILENT)
    job = await world.job(schedule={"kind": "second_delay", "expression": "30s"})
    await world.clock.advance(2)
    run = await brought(world, job, OLD_ID)
    chain = (await world.now.jobs.get(job.id)).chain_run_id
    assert chain
    await heard(world, result(run, 500))
    assert (await world.row(run.id)).state is RunState.FAILED
    assert (await world.now.jobs.get(job.id)).chain_run_id == chain
    assert len(await world.rows(job_id=job.id)) == 2


async def test_results_with_another_time_are_of_something_else(world, old):
    await heard(world, result(old, 200, late_ms=2500))
    assert (await world.row(old.id)).state is RunState.LOST
    assert [kept["log_id"] for kept in await world.table(foreign_result)] == [OLD_ID]


async def test_nobody_asks_for_them_and_they_take_no_place(world):
    await world.executor(usual=SILENT)
    job = await world.job(enabled=False)
    run = await brought(world, job, OLD_ID)
    await world.crash()
    await world.start()
    await world.clock.advance(200)
    assert await world.row(run.id) == run
    assert world.sent == []
    assert (await world.until_final(run.id)).trigger_kind is TriggerKind.IMPORTED


@pytest.mark.parametrize("old_id", [OLD_ID, LARGE_ID])
async def test_its_log_is_asked_for_as_its_executor_knows_it(world, old_id):
    await world.executor(usual=SILENT)
    run = await brought(world, await world.job(enabled=False), old_id)
    assert (run.id == old_id) is (old_id == OLD_ID)
    asked = []

    async def log(address, dialect, appname, run_id, log_time_ms, from_line):
        asked.append((address, dialect, appname, run_id, log_time_ms))
        return LogPage(from_line, 1, "a line\n", is_end=True)

    world.now.link.log = log
    page = await world.do(world.now.operations.log(run.id, 1))
    assert (page.content, page.is_end) == ("a line\n", True)
    assert asked == [(A, "rest", "shop", old_id, run.trigger_ms)]


async def test_a_running_node_learns_of_an_import(world):
    """Its app takes executors, its jobs can be triggered and edited, and old versions are in no memory any more."""
    await world.executor(usual=SILENT)
    there = await world.job()
    await world.clock.advance(12)
    app = App(30, 1, "brought", "", AddressMode.AUTO, (), 0, 0)
    new = replace(there, id=70, app_id=30, version=1, enabled=False, name="new")
    now = await world.now.jobs.get(there.id)
    changed = replace(now, schedule={"kind": "fixed_rate", "expression": "7s"}, task=Task("other"))
    plan = a_plan(
        apps=[PlannedApp(Action.CREATE, app, ("30",))],
        jobs=[planned(new), planned(changed, Action.UPDATE)],
    )
    await world.do(apply_plan(world._look, world.clock, plan))
    at_ms = world.clock.now_ms()
    await world.clock.advance(3)
    await world.do(world.flow.register(Beat("brought", B, "rest", CLIENT, world.clock.now_ms())))
    world.executors[B] = FakeExecutor(world.clock, B, world.deliver)
    run_id = await world.trigger(new)
    assert (await world.until_final(run_id)).address == B
    await world.clock.advance(30)
    later = [row for row in await world.rows(job_id=there.id) if row.due_ms > at_ms and row.claimed_ms]
    assert {row.job_version for row in later} == {now.version + 1}
    assert {b.due_ms - a.due_ms for a, b in pairwise(later)} == {7000}
