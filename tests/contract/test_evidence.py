"""What a proof reads: the same on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import delete, insert, update

from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.errors import NotFound
from gateway.core.evidence import UNLIMITED, Fired, FirstRow
from gateway.core.expected import intervals, why_unproven
from gateway.core.late import LATE
from gateway.core.model import AddressMode, App, Job, Task
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from gateway.store import evidence as evidence_module
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.calendars import CalendarStore
from gateway.store.evidence import EvidenceStore
from gateway.store.jobs import JobStore
from gateway.store.tables import calendar_edition, job_next_fire, run, run_daily


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))


@pytest.fixture
async def made(db, clock, jobs):
    app = await AppStore(db, clock, ids.app_ids(db, clock)).create(
        App(0, 1, "billing", "", AddressMode.AUTO, (), 0, 0)
    )
    schedule = {"kind": "fixed_rate", "expression": "1s"}
    (one,) = await jobs.create([Job(0, 1, app.id, 0, 0, "j", True, schedule, Task("h"))])
    return one


async def add(db, *rows):
    async with db.write() as conn:
        for row in rows:
            values = {"job_id": 1, "app_id": 1, "root_id": row["id"], "due_ms": 5, "finished_ms": 9, **row}
            await conn.execute(insert(run).values(values))


async def test_first_rows_only_page_by_page(db, clock, made, monkeypatch):
    monkeypatch.setattr(evidence_module, "_PAGE", 3)
    retry = {"state": 10, "attempt": 2, "finished_ms": 77}
    await add(
        db,
        {"id": 1, "slot_key": 50, "state": 16, "last_slot_ms": 105, "slot_count": 9},
        {"id": 2, "slot_key": 60, "state": 10},
        *({"id": n, "slot_key": 100 + n, "state": 10} for n in range(10, 18)),
        {"id": 20, "slot_key": 111, "state": 10, "shard": -1},
        {"id": 21, "slot_key": 120, "shard": -1, "state": 10},
        {"id": 22, "slot_key": 120, "shard": 0, "trigger_kind": 7, "state": 10},
        {"id": 23, "slot_key": 121, "state": 15},
        {"id": 24, "slot_key": 121, "trigger_kind": 4, **retry},
        {"id": 25, "slot_key": -25, "state": 10},
        {"id": 26, "slot_key": 130, "state": 10},
    )
    found = await EvidenceStore(db, clock, 30).of_job(made.id, 100, 130)
    assert [row.id for row in found.rows] == [1, 10, *(20, 11), *range(12, 18), 21, 23]
    assert found.rows[0] == FirstRow(1, 50, 105, 9, RunState.SKIPPED, "", 5, 0, 9)
    assert found.rows[-1].ended_ms == 77
    assert (found.next_fire_at, found.deleted_ms) == (made.next_fire_at, 0)


async def test_versions_in_force_and_what_is_gone(db, clock, made, jobs):
    begun = clock.ms
    for number in range(2, 6):
        clock.ms += 1000
        await jobs.update(replace(made, version=number - 1, name=f"n{number}", retention_days=2))
    store = EvidenceStore(db, clock, 30)
    found = await store.of_job(made.id, begun + 2500, begun + 3500)
    assert [one.number for one in found.versions] == [2, 3, 4]
    assert found.versions[0].job.anchor_ms == made.anchor_ms
    assert found.cut_ms == (clock.ms // 86_400_000 - 2) * 86_400_000
    async with db.write() as conn:
        sent = {"succeeded": 3, "sent": 3, "duration_max_ms": 5000, "lateness_max_ms": 70}
        await conn.execute(insert(run_daily).values(day=7, job_id=made.id, kind=1, **sent))
        await conn.execute(insert(run_daily).values(day=8, job_id=made.id, kind=0))
        await conn.execute(insert(run_daily).values(day=9, job_id=made.id, kind=1, skipped=1))
    day = 86_400_000
    # What was never sent may have waited, or have been found late, for any time.
    assert (await store.of_job(made.id, 0, 1)).removed == [(0, 10 * day - 1), (6 * day - 5070, 8 * day - 1)]
    clock.ms += 1000
    await jobs.delete(made.id, keep_history=True)
    gone = await store.of_job(made.id, begun, clock.ms)
    assert (gone.deleted_ms, gone.next_fire_at) == (clock.ms, None)
    with pytest.raises(NotFound):
        await store.of_job(99, 0, 1)


async def test_jobs_of_a_range_and_an_app(clock, db, made, jobs):
    store = EvidenceStore(db, clock, 30)
    begun = clock.ms
    clock.ms += 1000
    first, second = await jobs.create([replace(made, name="b"), replace(made, name="c")])
    await jobs.delete(made.id)
    end = clock.ms + 1
    assert await store.jobs(None, 0, 10, begun, end) == [made.id, first.id, second.id]
    assert await store.jobs(made.app_id, made.id, 1, begun, end) == [first.id]
    assert await store.jobs(None, 0, 10, begun, begun + 1) == [made.id]
    assert await store.jobs(None, 0, 10, end, end + 9) == [first.id, second.id]
    assert await store.jobs(77, 0, 10, begun, end) == []


async def test_each_stretch_has_the_days_that_its_calendar_had_then(db, clock, made, jobs):
    calendars = CalendarStore(db, clock, ids.run_ids(db, clock))
    lists = [Days([date(2026, 12, 24 + n)]) for n in range(4)]
    begun = clock.ms
    kept = await calendars.create(Calendar("holidays", lists[0]))
    use = Timing(calendars=(CalendarUse("holidays", CalendarMode.EXCLUDE),))
    await jobs.update(replace(made, timing=use))
    for days in lists[1:3]:
        clock.ms += 100
        kept, _ = await calendars.replace(replace(kept, days=days))
    kept, _ = await calendars.replace(replace(kept, days=lists[3]))  # in the same instant: no slot between
    store = EvidenceStore(db, clock, 30)
    found = await store.of_job(made.id, begun, clock.ms + 100)
    stretches = intervals(found.versions, 0, begun, clock.ms + 100, found.editions)
    told = [(one.after_ms - begun, one.until_ms - begun, one.job.days) for one in stretches]
    assert told == [(0, 100, (lists[0],)), (100, 200, (lists[1],)), (200, 299, (lists[3],))]
    clock.ms += 50
    await jobs.update(replace(await jobs.get(made.id), timing=Timing()))
    await calendars.delete("holidays")
    clock.ms += 50
    await calendars.create(Calendar("holidays", lists[0]))
    assert (await store.of_job(made.id, begun, clock.ms)).editions["holidays"][-2].days == lists[3]
    async with db.write() as conn:
        await conn.execute(delete(calendar_edition).where(calendar_edition.c.from_ms == begun + 100))
    found = await store.of_job(made.id, begun, clock.ms + 1)
    stretches = intervals(found.versions, 0, begun, clock.ms + 1, found.editions)
    unproven = [why_unproven(one.job) for one in stretches]
    assert [bool(why) for why in unproven] == [False, True, False, False]
    assert "days of then were not kept" in unproven[1]


async def test_only_so_many_editions_of_a_calendar_are_kept(db, clock, monkeypatch, rows):
    monkeypatch.setattr("gateway.store.editions.MOST_KEPT", 3)
    calendars = CalendarStore(db, clock, ids.run_ids(db, clock))
    kept = {name: await calendars.create(Calendar(name, Days([]))) for name in "ab"}
    for n in range(5):
        clock.ms += 1
        for name in "ab"[: 2 if n < 2 else 1]:
            days = Days([date(2026, 1, 1 + n)])
            kept[name], _ = await calendars.replace(replace(kept[name], days=days))
    found = [(row["name"], clock.ms - row["until_ms"]) for row in await rows(calendar_edition)]
    assert sorted(found) == [("a", 0), ("a", 1), ("a", 2), ("b", 3), ("b", 4)]


async def test_when_runs_of_a_chain_began_and_which_was_before(db, clock, made, jobs):
    store = EvidenceStore(db, clock, 30)
    await add(
        db,
        {"id": 1, "slot_key": 50, "state": 10, "sent_ms": 51},
        {"id": 2, "slot_key": 60, "state": 15, "sent_ms": 0},
        {
            "id": 3,
            "slot_key": 60,
            "state": 11,
            "sent_ms": 65,
            "attempt": 2,
            "finished_ms": 90,
            "reason": LATE,
        },
        {"id": 4, "slot_key": 100, "state": 10, "shard": -1, "sent_ms": 101},
        {"id": 5, "slot_key": 100, "state": 10, "shard": 0, "sent_ms": 99, "trigger_kind": 7},
        {"id": 6, "slot_key": 130, "state": 4},
    )
    plain = await store.of_job(made.id, 100, clock.ms + 1)
    assert (plain.before, [row.first_sent_ms for row in plain.rows]) == (None, [0, 0])
    await jobs.update(replace(made, schedule={"kind": "second_delay", "expression": 5}))
    found = await store.of_job(made.id, 100, clock.ms + 1)
    assert [(row.id, row.began_ms) for row in found.rows] == [(4, 99), (6, 0)]
    assert found.before is not None
    assert (found.before.began_ms, found.before.ended_ms, found.before.is_belated) == (65, 90, True)
    assert (await store.of_job(made.id, 50, clock.ms + 1)).before is None


async def test_which_run_of_a_chain_was_open_at_a_change(db, clock, made, jobs):
    chained = {"kind": "second_delay", "expression": 5}
    (one,) = await jobs.create([replace(made, schedule=chained, name="chain")])
    running = {
        "id": 7,
        "job_id": one.id,
        "slot_key": clock.ms - 10,
        "state": 4,
        "sent_ms": 5,
        "finished_ms": 0,
    }
    await add(db, running)
    linked = update(job_next_fire).where(job_next_fire.c.job_id == one.id)
    async with db.write() as conn:
        await conn.execute(linked.values(chain_run_id=-7, next_fire_at=None))  # a parent of shards
    store, since_ms = EvidenceStore(db, clock, 30), clock.ms
    clock.ms += 1000
    await jobs.set_enabled(one.id, enabled=False)
    disabled_ms = clock.ms
    clock.ms += 1000
    changed = await jobs.update(replace(await jobs.get(one.id), schedule={"kind": "none"}))
    assert (await store.of_job(one.id, since_ms, clock.ms + 1)).open_at == {disabled_ms: 7, clock.ms: 7}
    async with db.write() as conn:
        await conn.execute(update(run).where(run.c.id == 7).values(state=10, finished_ms=clock.ms))
    clock.ms += 1000
    await jobs.update(replace(changed, schedule=chained))
    clock.ms += 1000
    async with db.write() as conn:
        await conn.execute(linked.values(chain_run_id=7))
        await conn.execute(update(run).where(run.c.id == 7).values(state=4, finished_ms=0))
    await jobs.delete(one.id, keep_history=True)
    found = await store.of_job(one.id, since_ms, clock.ms + 1)
    assert sorted(found.open_at) == [disabled_ms, disabled_ms + 1000, clock.ms]


async def test_what_a_maximum_has_had_before_the_range(db, clock, made, jobs, monkeypatch):
    monkeypatch.setattr(evidence_module, "_VERSIONS", 2)
    hourly = {"kind": "fixed_rate", "expression": "1h"}
    (made,) = await jobs.create([replace(made, schedule=hourly, name="hourly")])
    clock.ms += 1000
    since = clock.ms
    for number, most in enumerate((9, 8, 7, 6), start=1):
        await jobs.update(replace(made, version=number, timing=Timing(Window(max_fires=most))))
        clock.ms += 1000
    store = EvidenceStore(db, clock, 30)
    assert (await store.of_job(made.id, since - 500, clock.ms)).fired is None
    rows = [
        {"id": 1, "slot_key": since - 1, "state": 10},
        {"id": 2, "slot_key": since, "state": 10},
        {"id": 3, "slot_key": since + 1, "state": 10, "finished_ms": since + 5},
        {"id": 4, "slot_key": since + 2, "state": 16, "last_slot_ms": since + 4, "slot_count": 3},
        {"id": 5, "slot_key": since + 5, "state": 10, "finished_ms": since + 4},
        {"id": 6, "slot_key": since + 6, "state": 16, "last_slot_ms": clock.ms, "slot_count": 9},
        {"id": 7, "slot_key": since + 7, "state": 10, "attempt": 2},
        {"id": 8, "slot_key": clock.ms - 500, "state": 10},
    ]
    await add(db, *({"job_id": made.id, **row} for row in rows))
    async with db.write() as conn:
        await conn.execute(update(run).where(run.c.id != 5).values(finished_ms=clock.ms))
    assert (await store.of_job(made.id, clock.ms - 500, clock.ms)).fired == Fired(5, 5, 15)
    async with db.write() as conn:
        values = {"day": clock.ms // 86_400_000, "succeeded": 1, "sent": 1}
        await conn.execute(insert(run_daily).values(job_id=made.id, kind=1, **values))
    assert (await store.of_job(made.id, clock.ms - 500, clock.ms)).fired == Fired(5, 5, UNLIMITED)
