"""Old runs leave, in the background, and no more than is old enough."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from gateway.core.daily import DAY_MS, DailyFilter, day_of
from gateway.core.retention import calm_in_ms
from gateway.core.states import RunState
from gateway.store.daily import DailyStore
from gateway.store.history import HistoryStore
from gateway.store.tables import deleted_job, event, job_version, run, run_daily, setting
from tests.kit.fake_link import SILENT
from tests.kit.flow_world import World


async def age(world: World, days: int) -> None:
    """All runs become so much older."""
    by_ms = days * DAY_MS
    ended = run.c.open_part.is_(None)
    times = {"created_ms": run.c.created_ms - by_ms, "finished_ms": run.c.finished_ms - by_ms}

    async def body() -> None:
        async with world.now.db.write() as conn:
            await conn.execute(update(run).where(ended).values(**times))

    await world.do(body())


@pytest.fixture
async def two_runs(world: World) -> tuple[World, int, int]:
    await world.executor()
    job = await world.job(enabled=False)
    first = await world.trigger(job)
    await world.until_final(first)
    await age(world, 40)
    second = await world.trigger(job)
    await world.until_final(second)
    return world, first, second


async def test_a_pass_removes_what_is_old_and_keeps_its_counts(two_runs: tuple[World, int, int]) -> None:
    world, _, second = two_runs
    await world.do(world.flow.retention.pass_once())
    assert [run.id for run in await world.rows()] == [second]
    found = await world.do(DailyStore(world.now.db, world.clock).read(DailyFilter(0, 99_999)))
    today = day_of(world.clock.now_ms())
    assert [(one.day, one.tally.succeeded) for one in found] == [(today - 40, 1), (today, 1)]
    assert world.now.counters.values["runs_removed"] == 1
    (row,) = [row for row in await world.table(setting) if row["name"] == "history.node-1"]
    assert '"removed": 1' in row["value"]


async def test_days_are_counted_before_they_are_removed(two_runs: tuple[World, int, int]) -> None:
    """A crash between the two loses no count: what was removed was added in the same transaction."""
    world, _, _ = two_runs
    (kept,) = await world.do(HistoryStore(world.now.db, world.clock).kept(range(128), 0, 9, deleted=False))
    portion = await world.do(HistoryStore(world.now.db, world.clock).remove(kept, world.clock.now_ms(), 0))
    assert portion.removed == 2
    await world.crash()
    rows = [(row["kind"], row["succeeded"]) for row in await world.table(run_daily)]
    assert rows == [(1, 1), (1, 1)]


async def test_it_goes_on_by_itself_after_a_start(two_runs: tuple[World, int, int]) -> None:
    world, first, _ = two_runs
    await world.crash()
    await world.start()
    await world.clock.advance(150)
    assert first not in {run.id for run in await world.rows()}


async def test_the_history_of_a_deleted_job(two_runs: tuple[World, int, int]) -> None:
    world, _, second = two_runs
    job = await world.now.jobs.get((await world.row(second)).job_id)
    executor = next(iter(world.executors.values()))
    executor.usual = SILENT
    third = await world.trigger(job)
    await world.clock.advance(1)
    await world.do(world.now.jobs.delete(job.id))
    await world.do(world.now.operations.jobs_changed([job.id]))
    await world.do(world.flow.retention.clear_deleted())
    assert [(run.id, run.state) for run in await world.rows()] == [(third, RunState.RUNNING)]
    assert len(await world.table(job_version)) == len(await world.table(deleted_job)) == 1
    executor.finish(job.id)
    await world.clock.advance(1)
    await world.do(world.flow.retention.clear_deleted())
    assert [await world.rows(), await world.table(job_version), await world.table(deleted_job)] == [
        [],
        [],
        [],
    ]
    assert "deleted" in {row["reason"] for row in await world.table(event)}


async def test_a_node_looks_after_its_own_parts_only(several: World) -> None:
    await several.executor()
    jobs = [await several.job(enabled=False) for _ in range(24)]
    for job in jobs:
        await several.until_final(await several.trigger(job))
    await age(several, 40)
    a, b = several.nodes["a"], several.nodes["b"]
    await several.do(a.flow.retention.pass_once(), by=a)
    left = {run.part for run in await several.rows()}
    assert left == {job.part for job in jobs if job.part in b.context.held} != set()
    await several.do(b.flow.retention.pass_once(), by=b)
    assert await several.rows() == []


@pytest.mark.parametrize(
    ("within", "wait_ms"), [(0, 50), (50, 0), (699, 0), (700, 350), (850, 200), (999, 51)]
)
def test_never_just_before_a_full_second(within: int, wait_ms: int) -> None:
    assert calm_in_ms(1_795_000_000_000 + within) == wait_ms
