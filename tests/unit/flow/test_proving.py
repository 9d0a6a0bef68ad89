"""What a whole scheduler has done can be proven, through crashes, edits and misfires; and what it has not done is found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Delete, Update, delete, update

from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.model import Route
from gateway.core.proof import JobProof
from gateway.core.timing import Timing, Window
from gateway.flow.proving import Prover
from gateway.store.calendars import CalendarStore
from gateway.store.evidence import EvidenceStore
from gateway.store.history import HistoryStore
from gateway.store.tables import run
from tests.kit.fake_link import Behaviour
from tests.kit.flow_world import World

Prove = Callable[[int], Awaitable[JobProof]]


@pytest.fixture
def prove(world: World) -> Prove:
    begun_ms = world.clock.now_ms()

    async def prove_job(job_id: int) -> JobProof:
        prover = Prover(world.clock, EvidenceStore(world.now.db, world.clock, 30))
        return await world.do(prover.prove(job_id, begun_ms, world.clock.now_ms() + 60_000))

    return prove_job


async def test_a_life_with_everything(world: World, prove: Prove) -> None:
    await world.executor()
    job = await world.job(misfire_after_s=5, schedule={"kind": "fixed_rate", "expression": "4s"})
    await world.clock.advance(21)
    await world.crash()
    await world.clock.advance(40)
    await world.start()
    await world.executor()
    await world.clock.advance(9)
    await world.change(job, schedule={"kind": "fixed_rate", "expression": "3s"})
    await world.clock.advance(10)
    await world.change(job, enabled=False)
    await world.clock.advance(10)
    await world.change(job, enabled=True, max_attempts=2)
    await world.clock.advance(10)
    found = await prove(job.id)
    assert found.is_right, found
    assert found.fired > 10
    assert found.skipped["misfire"] > 5
    assert found.expected == found.fired + found.waiting + sum(found.skipped.values())


async def test_a_row_that_was_lost_is_found(world: World, prove: Prove) -> None:
    await world.executor()
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "2s"})
    await world.clock.advance(11)
    lost = (await world.rows(job_id=job.id))[2]

    async def lose() -> None:
        async with world.now.db.write() as conn:
            await conn.execute(delete(run).where(run.c.id == lost.id))

    await world.do(lose())
    found = await prove(job.id)
    assert (found.missing, found.is_right) == ([lost.slot_key], False)


async def test_attempts_and_shards_are_not_slots(world: World, prove: Prove) -> None:
    executor = await world.executor()
    await world.executor("http://10.0.0.2:9999/")
    executor.usual = Behaviour(code=500)
    job = await world.job(
        route=Route.SHARDING_BROADCAST, max_attempts=2, schedule={"kind": "fixed_rate", "expression": "5s"}
    )
    await world.clock.advance(17)
    found = await prove(job.id)
    assert (found.expected, found.fired, found.is_right) == (3, 3, True)


async def test_gaps_of_a_second_delay(world: World, prove: Prove) -> None:
    executor = await world.executor()
    executor.usual = Behaviour(code=500, runs_s=2)
    job = await world.job(max_attempts=2, schedule={"kind": "second_delay", "expression": "3s"})
    await world.clock.advance(40)
    found = await prove(job.id)
    assert found.is_right, found
    assert found.gaps is not None
    assert found.gaps.kept >= 4


async def write(world: World, statement: Update | Delete) -> None:
    async def body() -> None:
        async with world.now.db.write() as conn:
            await conn.execute(statement)

    await world.do(body())


async def test_a_gap_that_the_planner_did_not_see_is_found(world: World, prove: Prove) -> None:
    await world.executor(usual=Behaviour(runs_s=1))
    job = await world.job(schedule={"kind": "second_delay", "expression": "3s"})
    await world.clock.advance(20)
    third = (await world.rows(job_id=job.id))[2]
    earlier = {"sent_ms": third.sent_ms - 2000, "due_ms": third.due_ms - 2000}
    await write(world, update(run).where(run.c.id == third.id).values(earlier))
    found = await prove(job.id)
    assert found.gaps is not None
    assert (found.gaps.too_short, found.early, found.is_right) == (1, 1, False)


async def test_each_maximum_has_its_own_count(world: World, prove: Prove) -> None:
    await world.executor()
    every_second = {"kind": "interval", "expression": "1s"}
    job = await world.job(schedule=every_second, timing=Timing(Window(max_fires=4)))
    await world.clock.advance(9.3)
    for fires in (6, 0, 3, 5, 2):
        await world.change(job, timing=Timing(Window(max_fires=fires)))
        await world.clock.advance(6)
    assert [run.state.word for run in await world.rows(job_id=job.id)] == ["succeeded"] * (6 + 6 + 5)
    found = await prove(job.id)
    assert (found.expected, found.fired, found.is_right) == (17, 17, True)
    lost = (await world.rows(job_id=job.id))[14]
    await write(world, delete(run).where(run.c.id == lost.id))
    assert (await prove(job.id)).missing == [lost.slot_key]


async def test_a_change_to_second_delay(world: World, prove: Prove) -> None:
    await world.executor()
    job = await world.job(schedule={"kind": "interval", "expression": "2s"})
    await world.clock.advance(9.35)
    changed = await world.change(job, schedule={"kind": "second_delay", "expression": 2})
    await world.clock.advance(11)
    first = next(run for run in await world.rows(job_id=job.id) if run.slot_key >= changed.updated_ms)
    assert first.slot_key == changed.updated_ms
    found = await prove(job.id)
    assert found.gaps is not None
    assert (found.expected, found.is_right) == (found.fired + found.waiting, True)
    assert found.gaps.kept == found.gaps.runs - 1 > 3


async def test_a_change_to_second_delay_at_the_instant_of_a_slot(world: World, prove: Prove) -> None:
    await world.executor()
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "2s"})
    await world.clock.advance((job.created_ms + 6000 - world.clock.now_ms()) / 1000)
    changed = await world.change(job, schedule={"kind": "second_delay", "expression": 2})
    assert changed.updated_ms == job.created_ms + 6000
    await world.clock.advance(15)
    found = await prove(job.id)
    assert found.gaps is not None
    assert (found.is_right, found.gaps.runs) == (True, 8), found


async def test_what_was_removed_by_hand_is_said(world: World, prove: Prove) -> None:
    await world.executor()
    jobs = [
        await world.job(schedule={"kind": kind, "expression": "3s"}, name=kind)
        for kind in ("second_delay", "fixed_rate")
    ]
    await world.clock.advance(20)
    history = HistoryStore(world.now.db, world.clock)
    for job in jobs:
        ended = [one for one in await world.rows(job_id=job.id) if one.finished_ms]
        await world.do(history.remove_runs(ended))
        found = await prove(job.id)
        assert found.unproven["removed by hand that day"] == (1 if job is jobs[0] else len(ended))
        assert found.expected == found.waiting + found.unproven["removed by hand that day"]
        assert found.is_right


async def test_a_deleted_job(world: World, prove: Prove) -> None:
    await world.executor()
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "2s"})
    await world.clock.advance(7)
    await world.do(world.now.jobs.delete(job.id, keep_history=True))
    await world.do(world.now.operations.jobs_changed([job.id]))
    await world.clock.advance(7)
    found = await prove(job.id)
    assert (found.expected, found.fired, found.is_right) == (3, 3, True)
    with pytest.raises(NotFound):
        await prove(99)


async def test_a_range_with_too_many_slots(
    world: World, prove: Prove, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.evidence.MOST_SLOTS", 3)
    job = await world.job(schedule={"kind": "fixed_rate", "expression": "1s"})
    await world.clock.advance(9)
    with pytest.raises(InvalidValue, match="at most 3 slots"):
        await prove(job.id)


@pytest.mark.parametrize(
    "schedule", [{"kind": "fixed_rate", "expression": "3s"}, {"kind": "second_delay", "expression": "3s"}]
)
async def test_calendars_that_were_changed_meanwhile(
    world: World, prove: Prove, schedule: dict[str, str]
) -> None:
    await world.executor()
    calendars = CalendarStore(world.now.db, world.clock, world.now.ids)
    today = datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).date()
    kept = [await world.do(calendars.create(Calendar(name, Days([])))) for name in ("a", "b")]
    uses = tuple(CalendarUse(one.name, CalendarMode.EXCLUDE) for one in kept)
    job = await world.job(schedule={**schedule, "timezone": "UTC"}, timing=Timing(calendars=uses))
    for index, listed in ((0, [today]), (1, [today]), (0, []), (1, []), (1, [today])):
        await world.clock.advance(10.7)
        kept[index], ids = await world.do(calendars.replace(replace(kept[index], days=Days(listed))))
        await world.do(world.now.operations.jobs_changed(ids))
    await world.clock.advance(20)
    found = await prove(job.id)
    assert (found.is_right, sum(found.unproven.values()), found.missing) == (True, 0, []), found
    assert 5 <= found.fired <= 8
    lost = (await world.rows(job_id=job.id))[1]
    # Were all judged by the days of now, each run would be one too many.
    assert found.expected == found.fired + sum(found.skipped.values())
    async with world._look.write() as conn:
        await conn.execute(update(run).where(run.c.id == lost.id).values(slot_key=lost.slot_key + 20_000))
    assert (await prove(job.id)).unexpected == [lost.slot_key + 20_000]
