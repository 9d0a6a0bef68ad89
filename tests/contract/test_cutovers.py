"""Imported jobs are given to this scheduler, each at a slot that is said; and taken back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, select, text, update

from gateway.core.acting import acting_for
from gateway.core.claims import DISABLED
from gateway.core.errors import Refused, StoreError
from gateway.core.model import AddressMode, App, Job, Task
from gateway.core.registry import DEAD_AFTER_MS
from gateway.core.states import RunState
from gateway.store.apps import AppStore
from gateway.store.cutovers import AT_ONCE, AUTHOR
from gateway.store.hindsight import HindsightStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.starts import Start
from gateway.store.tables import app, event, executor, job, job_next_fire, job_version, run
from gateway.store.undo import UndoStore
from gateway.store.way_back import WayBackStore
from importer.apply import apply_plan, read_target
from importer.plan.values import Action, Fires, Firsts, Plan, PlannedApp, PlannedJob, Verdict
from importer.way_back import held, next_times, take_back

SOURCE = "xxl_job@10.0.0.5:3306"
CRON = {"kind": "cron", "expression": "0/10 * * * * ?", "timezone": "Asia/Shanghai"}
RATE = {"kind": "fixed_rate", "expression": 7}
DELAY = {"kind": "second_delay", "expression": 30}
SHOP = App(3, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0)
FIXED = App(4, 1, "fixed", "Fixed", AddressMode.MANUAL, ("http://10.0.0.9:9999/",), 0, 0)


@pytest.fixture
def store(db, clock):
    return WayBackStore(db, clock)


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))


@pytest.fixture
def imported(db, clock, store):
    """`await imported(schedule, …)`: jobs 1, 2 … of an import, and their source."""

    async def make(*schedules, app=SHOP, wants=True):
        planned = [
            PlannedJob(
                Action.CREATE,
                Job(n, 1, app.id, 0, 1, f"job {n}", False, schedule, Task("handle"), anchor_ms=clock.ms),
                n, wants, Verdict.IDENTICAL, (), Fires((), ()), f"row {n}",
            )
            for n, schedule in enumerate(schedules, 1)
        ]  # fmt: skip
        apps = (PlannedApp(Action.CREATE, app, (str(app.id),)),)
        firsts = Firsts(len(schedules) + 1, 9, 1, 0)
        await apply_plan(
            db, clock, Plan(SOURCE, "Asia/Shanghai", "given", apps, tuple(planned), (), firsts, {}, {}, {})
        )
        return (await store.sources())[0]

    return make


@pytest.fixture
def starts(store):
    """Where all jobs of the import are to go on."""

    async def read(source, first_ms, **changes):
        items = await store.items(source.id)
        found = await store.load(source.id, items)
        return [
            Start(**({"job": found[one.new_id], "old_key": one.old_key, "first_ms": first_ms,
                      "anchor_ms": found[one.new_id].anchor_ms} | changes))
            for one in items
        ]  # fmt: skip

    return read


async def test_a_job_goes_on_with_the_slot_that_is_said(db, clock, store, imported, starts, rows):
    source = await imported(CRON)
    assert (source.name, source.timezone, source.cutover_ms) == (SOURCE, "Asia/Shanghai", 0)
    past_ms = clock.ms - 20_000
    assert await store.enable(source, await starts(source, past_ms)) == [1]
    (fire,) = await rows(job_next_fire)
    assert (fire["enabled"], fire["next_fire_at"], fire["version"]) == (1, past_ms, 2)
    (row,) = await rows(job)
    assert (row["enabled"], row["version"], row["updated_ms"]) == (True, 2, clock.ms)
    before, after = await rows(job_version)
    assert json.loads(after["definition"]) == json.loads(before["definition"]) | {"enabled": True}
    # The missed slots are those of the enabled version, or a proof would take their rows for unexpected ones.
    assert after["created_ms"] == past_ms - 1
    (told,) = [one for one in await rows(event) if one["reason"] == "enabled"]
    assert (told["source_id"], told["text"]) == ("1", f"version 2: cut over from {SOURCE}")
    known = (await read_target(db, clock, SOURCE)).imported_jobs[1]
    assert (known.live, known.version) == (True, 2)
    await store.mark(source, clock.ms)
    assert (await store.sources())[0].cutover_ms == clock.ms


async def test_what_somebody_has_changed_since_it_was_read_stays_as_it_is(
    store, jobs, imported, starts, rows
):
    source = await imported(CRON, CRON, CRON)
    wanted = await starts(source, 0)
    await jobs.update(replace(await jobs.get(1), name="other"))
    await jobs.set_enabled(2, enabled=True)
    assert await store.enable(source, wanted) == [3]
    assert await store.enable(source, wanted) == []
    assert [(one.old_key, one.live) for one in await store.items(source.id)] == [
        ("1", False), ("2", False), ("3", True)
    ]  # fmt: skip


async def test_an_edit_is_known_and_a_move_to_another_part_is_none(db, clock, store, jobs, imported):
    source = await imported(CRON, CRON)
    apps = AppStore(db, clock, app_ids(db, clock))
    await apps.update(replace(await apps.get("shop"), max_running=3))
    await jobs.update(replace(await jobs.get(2), timeout_s=9))
    items = await store.items(source.id)
    found = await store.load(source.id, items)
    assert {one.version for one in found.values()} == {2, 3}
    versions = {one.new_id: one.version for one in items}
    assert await store.edited(found, versions) == [2]


async def test_a_fixed_rate_takes_over_the_phase_of_its_last_slots(clock, store, jobs, imported, starts):
    source = await imported(RATE)
    first_ms = clock.ms + 3_000
    await store.enable(source, await starts(source, first_ms, anchor_ms=first_ms))
    found = await jobs.get(1)
    assert (found.anchor_ms, found.next_fire_at) == (first_ms, first_ms)
    changed = await jobs.update(replace(found, name="other"))
    assert changed.next_fire_at == first_ms


async def test_a_second_delay_begins_its_chain(clock, store, jobs, imported, starts):
    source = await imported(DELAY)
    await store.enable(source, await starts(source, clock.ms))
    found = await jobs.get(1)
    assert (found.next_fire_at, found.chain_run_id) == (clock.ms, 0)


async def test_there_and_back_and_there_again(db, clock, store, jobs, imported, starts, rows):
    """What has had a row here is not given another, however old the source's rows are by now."""
    source = await imported(CRON, CRON)
    first_ms = clock.ms // 10_000 * 10_000
    await store.enable(source, await starts(source, first_ms))
    row = {"job_id": 1, "state": RunState.SUCCEEDED, "created_ms": 0}
    async with db.write() as conn:
        await conn.execute(insert(run), [
            row | {"id": 1, "slot_key": first_ms, "due_ms": first_ms, "last_slot_ms": 0},
            row | {"id": 2, "slot_key": first_ms + 10_000, "due_ms": 0, "last_slot_ms": first_ms + 30_000},
            row | {"id": 3, "slot_key": -3, "due_ms": 0, "last_slot_ms": 0},
        ])  # fmt: skip
    live = await store.items(source.id)
    assert [one.live for one in live] == [True, True]
    await jobs.set_enabled(2, enabled=False)
    assert await store.disable(source, live) == [1]
    assert {one["enabled"] for one in await rows(job_next_fire)} == {0}
    items = await store.items(source.id)
    assert [one.live for one in items] == [False, False]
    found = await store.load(source.id, items)
    # What somebody has disabled here is a decision of his.
    assert await store.edited(found, {one.new_id: one.version for one in items}) == [2]
    assert sorted(await store.enable(source, await starts(source, first_ms))) == [1, 2]
    # The slot of job 2 that was due then has a row that says so.
    assert [(await jobs.get(n)).next_fire_at for n in (1, 2)] == [first_ms + 40_000, first_ms + 10_000]


async def test_there_again_the_slots_since_the_last_one_are_those_of_the_new_version(
    db, clock, store, imported, starts, rows
):
    """The old admin did not run in between: what was due is judged, and explained, by the version that gives it rows."""
    source = await imported(CRON, CRON)
    first_ms = clock.ms // 10_000 * 10_000
    with acting_for(AUTHOR):
        await store.enable(source, await starts(source, first_ms))
        row = {"state": RunState.SUCCEEDED, "created_ms": 0, "slot_key": first_ms, "due_ms": first_ms}
        async with db.write() as conn:
            await conn.execute(insert(run).values(row | {"id": 1, "job_id": 1, "last_slot_ms": 0}))
            await conn.execute(update(job_next_fire).values(next_fire_at=first_ms + 10_000))
        clock.ms = first_ms + 5_000
        assert await store.disable(source, await store.items(source.id)) == [1, 2]
        clock.ms += 60_000
        again = await starts(source, first_ms)
        assert await store.done_here(again) == {1: first_ms}
        assert await store.enable(source, again) == [1, 2]
    made = {(one["job_id"], one["version"]): one["created_ms"] for one in await rows(job_version)}
    assert made[1, 4] == first_ms + 10_000 - 1
    # It has no row here: somebody has removed it. The slot is that of the version of then all the same.
    assert made[2, 4] == made[2, 3] == first_ms + 5_000
    hindsight = HindsightStore(db)
    assert [(await hindsight.version_at(1, first_ms + at)).number for at in (10_000, 60_000)] == [4, 4]
    assert not (await hindsight.version_at(1, first_ms + 9_000)).job.enabled


async def test_an_import_that_is_being_undone_meanwhile(db, clock, store, jobs, imported, starts):
    source = await imported(CRON)
    wanted = await starts(source, clock.ms)
    undo = UndoStore(db, clock)
    undoing = await undo.look(source.name)
    await undo.begin(undoing)
    with pytest.raises(Refused, match="is being undone: finish that first"):
        await store.enable(source, wanted)
    assert not (await jobs.get(1)).enabled
    await undo.remove(undoing)
    with pytest.raises(Refused, match="has been undone"):
        await store.enable(source, wanted)


async def disable(store, source):
    with acting_for(AUTHOR):
        return await store.disable(source, await store.items(source.id))


async def edited(store, source):
    items = await store.items(source.id)
    found = await store.load(source.id, items)
    return await store.edited(found, {one.new_id: one.version for one in items})


async def test_a_limit_between_there_and_back_is_no_edit(db, clock, store, jobs, imported, starts):
    """It moves jobs to another part. Nor is one that was switched off and on."""
    source = await imported(CRON, CRON, DELAY)
    await store.enable(source, await starts(source, clock.ms))
    apps = AppStore(db, clock, app_ids(db, clock))
    await apps.update(replace(await apps.get("shop"), max_running=3))
    await jobs.set_enabled(1, enabled=False)
    await jobs.set_enabled(1, enabled=True)
    await jobs.update(replace(await jobs.get(2), timeout_s=9))
    assert await disable(store, source) == [1, 2, 3]
    assert await edited(store, source) == [2]


@pytest.mark.parametrize("schedule", [CRON, DELAY])
async def test_jobs_are_disabled_and_known_as_such_at_once_or_not_at_all(
    db, clock, store, imported, starts, rows, schedule
):
    source = await imported(schedule)
    await store.enable(source, await starts(source, clock.ms))
    fails = "SELECT RAISE(ABORT, 'no');" if db.is_sqlite else "SIGNAL SQLSTATE '45000';"
    async with db.write() as conn:
        await conn.execute(
            text(f"CREATE TRIGGER stop BEFORE UPDATE ON import_item FOR EACH ROW BEGIN {fails} END")
        )
    with pytest.raises(StoreError):
        await disable(store, source)
    assert [(one["enabled"], one["version"]) for one in await rows(job)] == [(True, 2)]
    async with db.write() as conn:
        await conn.execute(text("DROP TRIGGER stop"))
    assert await disable(store, source) == [1]
    assert await edited(store, source) == []


@pytest.mark.parametrize("db", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)
async def test_what_was_sent_while_others_held_the_locks_was_sent_from_here(
    db, clock, store, imported, starts, rows
):
    source = await imported(CRON, CRON)
    await store.enable(source, await starts(source, clock.ms))
    waiting = text("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT job.id%FOR UPDATE'")
    async with db.write() as holder:
        await holder.execute(select(job.c.id).where(job.c.id == 2).with_for_update())
        disabling = asyncio.ensure_future(disable(store, source))
        async with asyncio.timeout(20):
            while True:
                async with db.read() as conn:
                    if (await conn.execute(waiting)).scalar():
                        break
                await asyncio.sleep(0.02)
        clock.ms += 4_000
    assert await disabling == [1, 2]
    assert {one["created_ms"] for one in await rows(job_version) if one["version"] == 3} == {clock.ms}


async def test_one_that_is_changed_at_this_moment_is_looked_at_again(
    clock, store, jobs, imported, starts, monkeypatch
):
    source = await imported(CRON, CRON)
    await store.enable(source, await starts(source, clock.ms))

    async def in_between(found, versions, edited=store.edited):
        told = await edited(found, versions)
        if found[1].timeout_s == 0:
            await jobs.update(replace(await jobs.get(1), timeout_s=9))
        return told

    monkeypatch.setattr(store, "edited", in_between)
    assert await disable(store, source) == [1, 2]
    monkeypatch.undo()
    assert [one.live for one in await store.items(source.id)] == [False, False]
    assert await edited(store, source) == [1]


def slot_row(number, job_id, slot_ms, state, **more):
    return {
        "id": number, "job_id": job_id, "slot_key": slot_ms, "due_ms": slot_ms, "created_ms": 0, "open_part": None,
        "state": state, "shard": 0, "last_slot_ms": 0, "reason": None, "sent_ms": 0,
    } | more  # fmt: skip


async def test_no_slot_falls_between_the_two(db, clock, store, imported, starts, rows):
    """A moment before the next slot: of some jobs its run is on its way, of others it was only planned."""
    source = await imported(*[CRON] * 7)
    next_ms = clock.ms // 10_000 * 10_000 + 10_000
    await store.enable(source, await starts(source, next_ms))
    clock.ms = next_ms - 100
    parts = {one["job_id"]: one["part"] for one in await rows(job_next_fire)}
    async with db.write() as conn:
        await conn.execute(insert(run), [
            slot_row(1, 1, next_ms, RunState.DISPATCHING),
            slot_row(2, 2, next_ms, RunState.PLANNED, open_part=parts[2]),
            slot_row(4, 4, next_ms, RunState.DISPATCHING),
            slot_row(5, 5, next_ms, RunState.SKIPPED, reason="overlap"),
            slot_row(61, 6, next_ms, RunState.RUNNING, shard=-1, sent_ms=next_ms),
            slot_row(62, 6, next_ms, RunState.STOPPED, shard=1, reason=DISABLED),
            slot_row(71, 7, next_ms, RunState.RUNNING, shard=-1, sent_ms=next_ms),
            slot_row(72, 7, next_ms, RunState.STOPPED, shard=1, reason=DISABLED),
            slot_row(73, 7, next_ms, RunState.RUNNING, shard=2),
        ])  # fmt: skip
        await conn.execute(update(job_next_fire).values(next_fire_at=next_ms + 10_000))

    class ThenSkipped(type(clock)):
        """The run of job 4 was not sent in time, so the node has looked at its job again."""

        async def sleep(self, seconds):
            await super().sleep(seconds)
            async with db.write() as conn:
                skipped = {"state": RunState.SKIPPED, "reason": DISABLED}
                await conn.execute(update(run).where(run.c.id == 4).values(**skipped))

    with acting_for(AUTHOR):
        taken = await take_back(store, ThenSkipped(clock.ms), source)
    assert 2 not in {row["id"] for row in await rows(run)}
    further = next_ms + 10_000
    told = {one.old_id: one.slot_ms for one in taken.following}
    assert told == {1: further, 2: next_ms, 3: next_ms, 4: next_ms, 5: further, 6: next_ms, 7: further}
    # Lost, and asked for again.
    again = await next_times(store, source, clock.ms + 60_000)
    assert {one.old_id: one.slot_ms for one in again} == told
    assert all(one.only_later for one in again)


async def test_the_old_admin_goes_on_by_what_it_knows(db, clock, store, jobs, imported, starts):
    """Job 1 has another schedule here by now, job 2 was disabled by somebody, job 3 deleted, job 4 is forgotten."""
    source = await imported(*[CRON] * 5)
    with acting_for(AUTHOR):
        await store.enable(source, (await starts(source, clock.ms))[:4])
    other = {"kind": "cron", "expression": "3 * * * * ?", "timezone": "Asia/Shanghai"}
    await jobs.update(replace(await jobs.get(1), schedule=other))
    await jobs.set_enabled(2, enabled=False)
    await jobs.delete(3)
    await jobs.delete(4)
    async with db.write() as conn:
        await conn.execute(delete(job_version).where(job_version.c.job_id == 4))
    clock.ms += 60_000
    with acting_for(AUTHOR):
        taken = await take_back(store, clock, source)
    assert (taken.disabled, taken.others, taken.unknown) == (1, 3, (4,))
    next_ms = taken.since_ms // 10_000 * 10_000 + 10_000
    assert [(one.old_id, one.slot_ms) for one in taken.following] == [(n, next_ms) for n in (1, 2, 3)]


async def test_what_people_have_enabled_goes_back_as_well(clock, store, jobs, imported, starts):
    """A cutover leaves what was changed here, and says: enable it yourself."""
    source = await imported(CRON, CRON, CRON)
    await jobs.update(replace(await jobs.get(1), timeout_s=9))
    await store.enable(source, (await starts(source, clock.ms))[1:2])
    await jobs.set_enabled(1, enabled=True)
    found = await held(store, source)
    assert ([one.new_id for one in found.live], [one.new_id for one in found.by_hand]) == ([2], [1])
    assert found.names == {1: "job 1", 2: "job 2"}
    with acting_for(AUTHOR):
        taken = await take_back(store, clock, source)
    assert (taken.disabled, [one.old_id for one in taken.following]) == (2, [1, 2])
    assert await edited(store, source) == [1]
    assert (await held(store, source)).items == []


async def test_what_was_not_enabled_in_the_source_is_nobody_elses(clock, store, jobs, imported):
    source = await imported(CRON, wants=False)
    await jobs.set_enabled(1, enabled=True)
    assert (await held(store, source)).items == []


async def test_apps_without_executors(db, clock, store, imported, rows):
    await imported(CRON, app=FIXED)
    await AppStore(db, clock, app_ids(db, clock)).create(replace(SHOP, id=0))
    await AppStore(db, clock, app_ids(db, clock)).create(replace(FIXED, id=0, appname="empty", addresses=()))
    (shop_id,) = {row["id"] for row in await rows(app) if row["appname"] == "shop"}
    assert await store.apps_without_executors({shop_id, FIXED.id}) == ["shop"]
    assert await store.apps_without_executors({FIXED.id}) == []
    everybody = {row["id"] for row in await rows(app)}
    assert await store.apps_without_executors(everybody) == ["empty", "shop"]
    beat = {"app_id": shop_id, "address": "http://10.0.0.1:9999/", "dialect": "rest"}
    for at_ms, found in ((clock.ms - DEAD_AFTER_MS, ["shop"]), (clock.ms - 1000, [])):
        async with db.write() as conn:
            await conn.execute(executor.delete())
            await conn.execute(insert(executor).values(beat | {"last_beat_ms": at_ms}))
        assert await store.apps_without_executors({shop_id}) == found


async def test_hundreds_at_once(clock, store, imported, starts, rows):
    source = await imported(*[CRON] * AT_ONCE)
    assert len(await store.enable(source, await starts(source, clock.ms))) == AT_ONCE
    assert {one["next_fire_at"] for one in await rows(job_next_fire)} == {clock.ms}
    clock.ms += 60_000
    assert len(await store.disable(source, await store.items(source.id))) == AT_ONCE
    late = await rows(run)
    assert len(late) == AT_ONCE
    assert {(row["state"], row["slot_count"]) for row in late} == {(RunState.SKIPPED, 7)}
    assert "disabled before this slot was planned" in late[0]["reason"]
