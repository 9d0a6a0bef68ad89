"""What is kept and for how long, and the counts of days: the same on every database."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, insert, select, update

from gateway.core.acting import acting_for
from gateway.core.daily import DAY_MS, DailyFilter, Tally, day_of
from gateway.core.model import DEFAULT_NAMESPACE, FIRST_LONG_ID, PARTS, AddressMode, App, Job, Task
from gateway.core.parts import part_of
from gateway.core.retention import TASK_DAYS, Kept
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.daily import DailyStore
from gateway.store.history import HistoryStore, pass_warnings
from gateway.store.jobs import JobStore
from gateway.store.runs import RunStore
from gateway.store.tables import (
    backfill,
    backfill_slot,
    deleted_job,
    event,
    foreign_result,
    idempotency_key,
    job,
    job_version,
    node,
    run,
    run_daily,
    setting,
    task,
)

EVERYWHERE = range(PARTS)
STATES = {10: "succeeded", 11: "failed", 12: "timed_out", 13: "lost", 14: "stopped", 15: "retrying"} | {
    16: "skipped",
    17: "expired",
    18: "invalid",
}


@pytest.fixture
def history(db, clock):
    return HistoryStore(db, clock, portion=7)


@pytest.fixture
def days(db, clock):
    return DailyStore(db, clock)


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))


@pytest.fixture
async def made(db, clock, jobs):
    app = await AppStore(db, clock, ids.app_ids(db, clock)).create(
        App(0, DEFAULT_NAMESPACE, "billing", "", AddressMode.AUTO, (), 0, 0)
    )
    (one,) = await jobs.create(
        [Job(0, 1, app.id, 0, 0, "j", enabled=False, schedule={"kind": "api"}, task=Task("h"))]
    )
    return one


async def add(db, *rows):
    async with db.write() as conn:
        for row in rows:
            values = {
                "job_id": 1,
                "app_id": 1,
                "slot_key": -row["id"],
                "root_id": row["id"],
                "due_ms": 1,
                **row,
            }
            is_open = values["state"] < 10
            values["open_part"] = part_of(values["job_id"]) if is_open else None
            await conn.execute(insert(run).values(values))


async def ids_left(db):
    async with db.read() as conn:
        return [row.id for row in await conn.execute(select(run.c.id).order_by(run.c.id))]


async def look(history, *, deleted=False) -> Kept:
    (found,) = await history.kept(EVERYWHERE, 0, 10, deleted=deleted)
    return found


async def remove_all(history, kept, before_ms):
    after_id, removed, held = 0, 0, 0
    while after_id is not None:
        portion = await history.remove(kept, before_ms, after_id)
        after_id, removed, held = portion.last_id, removed + portion.removed, held + portion.held
    if not held:
        await history.settle(kept, before_ms)
    return removed


# ---------------------------------------------------------------- what may go


async def test_what_is_open_or_young_stays_and_so_does_its_family(db, clock, history, made):
    now = clock.ms
    old, young = {"created_ms": 1, "finished_ms": 2}, {"created_ms": 1, "finished_ms": now}
    await add(
        db,
        {"id": 1, "state": 10, **old},
        {"id": 2, "state": 4, "created_ms": 1},
        {"id": 3, "state": 15, "slot_key": 50, "attempt": 1, **old},
        {"id": 4, "state": 15, "slot_key": 50, "attempt": 2, **old},
        {"id": 5, "state": 2, "slot_key": 50, "attempt": 3, "created_ms": 1},
        {"id": 6, "state": 11, "slot_key": 60, "shard": -1, **old},
        {"id": 7, "state": 11, "slot_key": 60, "shard": 0, **young},
        {"id": 8, "state": 11, "slot_key": 70, "shard": -1, **old},
        {"id": 9, "state": 11, "slot_key": 70, "shard": 0, **old},
        {"id": 10, "state": 10, **young},
        {"id": 11, "state": 10, **old},
    )
    kept = await look(history)
    assert (kept.oldest_ms, kept.newest_id, kept.days) == (1, 11, None)
    assert await remove_all(history, kept, now) == 4
    assert await ids_left(db) == [2, 3, 4, 5, 6, 7, 10]
    assert await remove_all(history, kept, now) == 0


async def test_a_look_ends_where_the_rest_is_younger(db, clock, history, made):
    """However many there are: only the first portion of them is looked at."""
    await add(
        db,
        *(
            {"id": FIRST_LONG_ID + n, "state": 10, "created_ms": clock.ms, "finished_ms": clock.ms}
            for n in range(1, 40)
        ),
    )
    kept = await look(history)
    portion = await history.remove(kept, clock.ms - DAY_MS, 0)
    assert (portion.removed, portion.last_id) == (0, None)


async def test_old_runs_with_long_ids_go_though_newer_ones_have_short_ids(db, clock, history, made):
    """The app has got an executor that takes no others since."""
    now, cut_ms = clock.ms, clock.ms - 10 * DAY_MS
    old = [{"id": FIRST_LONG_ID + n, "state": 10, "created_ms": 1, "finished_ms": 2} for n in range(5)]
    young = [{"id": 100 + n, "state": 10, "created_ms": now, "finished_ms": now} for n in range(5)]
    await add(db, *old, *young)
    kept = await look(history)
    assert kept.oldest_ms == 1
    assert await remove_all(history, kept, cut_ms) == 5
    assert await ids_left(db) == [row["id"] for row in young]
    await add(db, {"id": 105, "state": 10, "created_ms": now, "finished_ms": now})
    assert (await look(history)).newest_id == 105


async def test_a_job_of_its_own_days(db, history, jobs, made):
    await jobs.update(replace(made, retention_days=3))
    assert (await look(history)).days == 3
    await jobs.update(replace(made, version=2, task=Task("h", '{"retention_days": 9}')))
    assert (await look(history)).days is None


async def test_jobs_are_found_page_by_page_in_the_parts_asked_for(history, jobs, made):
    more = await jobs.create([replace(made, name=f"n{n}") for n in range(8)])
    everyone = sorted([made.id, *(one.id for one in more)])
    found, after_id = [], 0
    while page := await history.kept(EVERYWHERE, after_id, 2, deleted=False):
        found += [one.job_id for one in page]
        after_id = found[-1]
    assert found == everyone
    mine = [one.job_id for one in await history.kept({made.part}, 0, 100, deleted=False)]
    assert mine == [job_id for job_id in everyone if part_of(job_id) == made.part]


# ---------------------------------------------------------------- deleted jobs


async def test_a_deleted_job_is_forgotten_when_its_last_run_is_over(
    db, clock, history, jobs, made, rows, days
):
    now = clock.ms
    await add(
        db,
        *(
            {"id": n, "state": 10, "created_ms": now, "finished_ms": now, "sent_ms": now}
            for n in range(1, 20)
        ),
        {"id": 20, "state": 4, "created_ms": now},
    )
    await history.count(await look(history))
    await jobs.delete(made.id)
    kept = await look(history, deleted=True)
    assert kept.cut_ms(now, 30) > now
    assert await remove_all(history, kept, kept.cut_ms(now, 30)) == 19
    assert not await history.forget(kept)
    assert len(await rows(job_version)) == 1
    async with db.write() as conn:
        await conn.execute(update(run).values(state=10, open_part=None, finished_ms=now))
    await remove_all(history, kept, kept.cut_ms(now, 30))
    assert await history.forget(kept)
    assert [await rows(table) for table in (run, job_version, deleted_job)] == [[], [], []]
    (day,) = await days.read(DailyFilter(0, 99_999))
    assert (day.tally.succeeded, day.tally.sent, day.counted_ms) == (20, 19, 0)


async def test_the_history_of_a_deleted_job_can_stay_as_long_as_others(clock, history, jobs, made):
    await jobs.delete(made.id, keep_history=True)
    kept = await look(history, deleted=True)
    assert kept.cut_ms(clock.ms, 30) == (day_of(clock.ms) - 30) * DAY_MS
    assert await history.forget(kept)  # it never ran


async def test_what_a_node_of_an_earlier_version_deleted_is_found(db, history, made, rows):
    async with db.write() as conn:
        await conn.execute(delete(job))
    assert await history.adopt() == 1
    assert await history.adopt() == 0
    kept = await look(history, deleted=True)
    assert (kept.job_id, kept.part, kept.keep_history) == (made.id, made.part, True)
    (row,) = await rows(deleted_job)
    assert row["name"] == "j"


# ---------------------------------------------------------------- counts of days


def reference(rows):
    """The counts of days from rows as they are, by a reading of their meaning of the test's own."""
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        if row["state"] < 10:
            continue
        day = found.setdefault(row["finished_ms"] // DAY_MS, dict.fromkeys(Tally.__dataclass_fields__, 0))
        day[STATES[row["state"]]] += 1
        day["skipped_slots"] += row["slot_count"] * (row["state"] == 16)
        if row["sent_ms"] and row["shard"] != -1:
            late = max(0, row["sent_ms"] - row["due_ms"])
            day["sent"] += 1
            day["late"] += late > 1000
            day["lateness_ms"] += late
            day["lateness_max_ms"] = max(day["lateness_max_ms"], late)
            took = row["finished_ms"] - row["sent_ms"]
            if took >= 0:
                day["timed"] += 1
                day["duration_ms"] += took
                day["duration_max_ms"] = max(day["duration_max_ms"], took)
    return found


def shown(found):
    return {
        one.day: {name: getattr(one.tally, name) for name in Tally.__dataclass_fields__}
        for one in found
        if one.tally.runs
    }


@pytest.mark.parametrize("seed", range(2))
async def test_days_are_exact_whatever_is_removed_and_when(db, clock, history, days, made, rows, seed):
    """Rows come, end, are counted, are removed by age and by hand, in a random order over random days."""
    chance = random.Random(seed)
    ever: dict[int, dict[str, int]] = {}
    next_id = 1
    for _ in range(25):
        clock.ms += chance.randint(0, 2 * DAY_MS)
        now = clock.ms
        for _ in range(chance.randint(0, 5)):
            row = {
                "id": next_id,
                "state": chance.choice([4, 10, 11, 13, 15, 16]),
                "created_ms": now,
                "due_ms": now - chance.choice([0, 10, 5000]),
                "shard": chance.choice([0, 0, -1]),
                "slot_count": chance.choice([1, 4]),
                "sent_ms": chance.choice([0, now, now + 3]),
                "finished_ms": 0,
            }
            if row["state"] >= 10:
                row["finished_ms"] = now
                ever[next_id] = row
            await add(db, row)
            next_id += 1
        for row in await rows(run):
            if row["state"] == 4 and chance.random() < 0.3:
                values = {"state": 10, "open_part": None, "finished_ms": now}
                async with db.write() as conn:
                    await conn.execute(update(run).where(run.c.id == row["id"]).values(values))
                ever[row["id"]] = row | values
        kept = await look(history)
        if kept.newest_id:
            await history.count(kept)
        what = chance.random()
        if what < 0.3:
            await remove_all(history, kept, (day_of(now) - chance.randint(1, 9)) * DAY_MS)
        elif what < 0.5:
            there = [row["id"] for row in await rows(run)]
            by_hand = chance.sample(there, len(there) // 3)
            found_runs = await RunStore(db, clock).get_many(by_hand)
            await history.remove_runs(list(found_runs.values()))
        for wanted in (DailyFilter(0, 99_999), DailyFilter(0, 99_999, job_id=made.id)):
            assert shown(await days.read(wanted)) == reference(ever.values())


async def test_a_day_that_is_counted_for_good_is_not_counted_again(db, clock, history, days, made):
    """So that a count looks at the newest rows only."""
    start = (day_of(clock.ms) + 1) * DAY_MS
    ended = {"state": 10, "created_ms": start + 5, "finished_ms": start + 9}
    await add(db, {"id": 1, **ended}, {"id": 2, "state": 4, "created_ms": start + 5})
    clock.ms = start + DAY_MS + 2 * 3_600_000
    assert await history.count(await look(history))
    async with db.write() as conn:  # what nobody does: a row of that day, made when it was over
        await conn.execute(insert(run).values(id=3, job_id=1, slot_key=3, root_id=3, **ended))
    # The run that was open then is found when it has ended, days later.
    clock.ms += 5 * DAY_MS
    async with db.write() as conn:
        values = {"state": 11, "open_part": None, "finished_ms": clock.ms}
        await conn.execute(update(run).where(run.c.id == 2).values(values))
    assert not await history.count(await look(history))
    found = {
        one.day: (one.tally.succeeded, one.tally.failed) for one in await days.read(DailyFilter(0, 99_999))
    }
    assert found == {day_of(start): (1, 0), day_of(clock.ms): (0, 1)}


async def test_days_by_app_and_in_total(db, clock, history, days, jobs, made):
    (other,) = await jobs.create([replace(made, name="other")])
    end = {"state": 10, "created_ms": clock.ms, "finished_ms": clock.ms}
    await add(db, {"id": 1, **end}, {"id": 2, "job_id": other.id, "app_id": 7, **end})
    for kept in await history.kept(EVERYWHERE, 0, 10, deleted=False):
        await history.count(kept)
    today = day_of(clock.ms)
    for wanted, count in (
        (DailyFilter(today, today), 2),
        (DailyFilter(today, today, job_id=other.id), 1),
        (DailyFilter(today, today, app_id=made.app_id), 2),
        (DailyFilter(today + 1, today + 9), 0),
    ):
        assert sum(one.tally.succeeded for one in await days.read(wanted)) == count


# ---------------------------------------------------------------- other records


async def test_other_records_go_when_they_are_old(db, clock, history, rows):
    now = clock.ms
    old, week = now - 366 * DAY_MS, now - TASK_DAYS * DAY_MS - 1
    noted = SimpleNamespace(level=1, namespace_id=1, source_type="job", source_id="1", source_name="")
    async with db.write() as conn:
        for n in range(9):
            await conn.execute(insert(event).values(at_ms=old, **noted.__dict__))
            await conn.execute(
                insert(task).values(namespace_id=1, task_id=f"o{n}", run_id=n, created_ms=week)
            )
            await conn.execute(insert(foreign_result).values(log_id=n, received_ms=week))
            key = {"namespace_id": 1, "key_text": f"k{n}", "request_hash": "", "record": "", "run_id": n}
            await conn.execute(insert(idempotency_key).values(created_ms=week, **key))
            await conn.execute(insert(backfill_slot).values(backfill_id=1, slot_ms=n))
            await conn.execute(insert(backfill_slot).values(backfill_id=2, slot_ms=n))
        await conn.execute(insert(backfill).values(id=1, state=2, finished_ms=now - 32 * DAY_MS))
        await conn.execute(insert(backfill).values(id=2, state=1))
        await conn.execute(insert(backfill).values(id=3, state=3, finished_ms=now - 2 * DAY_MS))
        await conn.execute(insert(event).values(at_ms=now, **noted.__dict__))
        await conn.execute(
            insert(task).values(namespace_id=1, task_id="young", run_id=1, created_ms=week + 2)
        )
        await conn.execute(insert(foreign_result).values(log_id=99, received_ms=now))
        day = {"job_id": 1, "kind": 1}
        await conn.execute(insert(run_daily).values(day=day_of(now) - 401, **day))
        await conn.execute(insert(run_daily).values(day=day_of(now) - 400, **day))
    assert [await history.sweep(now, 30, 365) for _ in range(4)] == [True, True, False, False]
    assert [row["at_ms"] for row in await rows(event)] == [now]
    assert [row["task_id"] for row in await rows(task)] == ["young"]
    assert [row["log_id"] for row in await rows(foreign_result)] == [99]
    assert [row["id"] for row in await rows(backfill)] == [2, 3]
    assert {row["backfill_id"] for row in await rows(backfill_slot)} == {2}
    assert await rows(idempotency_key) == []
    assert [row["day"] for row in await rows(run_daily)] == [day_of(now) - 400]


async def test_the_last_pass_is_noted(history, rows):
    await history.note_pass("n1", 1, 2, 3)
    await history.note_pass("n1", 4, 5, 6)
    (row,) = [row for row in await rows(setting) if row["name"].startswith("history.")]
    assert row["value"] == '{"began_ms": 4, "ended_ms": 5, "removed": 6}'


async def test_a_node_that_cannot_keep_up_is_named(db, clock, history):
    now = clock.ms
    async with db.write() as conn:
        for name, live in (("slow", 1), ("left", 0), ("good", 1), ("stuck", 1)):
            await conn.execute(insert(node).values(name=name, live=live))
    await history.note_pass("slow", now - 2 * DAY_MS, now - 5, 3)
    await history.note_pass("left", now - 9 * DAY_MS, now - 5 * DAY_MS, 3)
    await history.note_pass("good", now - DAY_MS, now - 5, 3)
    await history.note_pass("stuck", now - 3 * DAY_MS, now - 2 * DAY_MS, 3)
    found = await pass_warnings(db, now)
    assert [line.split("'")[1] for line in found] == ["slow", "stuck"]


async def test_the_present_day_of_one_job_is_counted_when_it_is_asked_for(
    db, clock, history, days, made, monkeypatch
):
    ended = {"state": 10, "created_ms": clock.ms, "finished_ms": clock.ms}
    await add(db, {"id": 1, **ended})
    await history.count(await look(history))
    await add(db, {"id": 2, **ended}, {"id": 3, **ended})
    clock.ms += 5
    one, everything = DailyFilter(0, 99_999, job_id=made.id), DailyFilter(0, 99_999)
    assert [(day.tally.succeeded, day.counted_ms) for day in await days.read(one)] == [(3, clock.ms)]
    assert [(day.tally.succeeded, day.counted_ms) for day in await days.read(everything)] == [
        (1, clock.ms - 5)
    ]
    monkeypatch.setattr("gateway.store.daily.MOST_ON_DEMAND", 2)
    assert [day.tally.succeeded for day in await days.read(one)] == [1]


async def test_by_hand_goes_what_has_ended_with_all_of_its_slot(db, clock, history, made, rows):
    young = {"created_ms": clock.ms, "finished_ms": clock.ms}
    await add(
        db,
        {"id": 1, "state": 15, "slot_key": 50, "attempt": 1, **young},
        {"id": 2, "state": 2, "slot_key": 50, "attempt": 2, "created_ms": 1},
        {"id": 3, "state": 15, "slot_key": 60, "attempt": 1, **young},
        {"id": 4, "state": 10, "slot_key": 60, "attempt": 2, **young},
        {"id": 5, "state": 10, "job_id": 77, **young},
        {"id": 6, "state": 10, **young},
    )
    found = await RunStore(db, clock).get_many([1, 3, 5])
    with acting_for("alice"):
        assert await history.remove_runs(list(found.values())) == 3
    assert await ids_left(db) == [1, 2, 6]
    told = [(row["source_id"], row["text"]) for row in await rows(event) if row["author"] == "alice"]
    assert told == [(str(made.id), "2: from 3 to 4"), ("77", "1: from 5 to 5")]
