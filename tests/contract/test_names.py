"""Names of submissions and of whole calls: thousands in few statements, each taken once."""

from __future__ import annotations

import asyncio
import random

import pytest

from gateway.core.idempotency import CallRecord, KnownCall
from gateway.core.states import RunState
from gateway.core.work import KeyedCall, TaskName, Work
from gateway.store.keys import KeyStore
from gateway.store.tables import idempotency_key, task
from gateway.store.tables import run as run_table
from gateway.store.tasks import TaskStore
from tests.contract.cluster import SLOT, run, writing

DAY_MS = 86_400_000


def row(run_id, **changes):
    return run(run_id, slot_key=-run_id, state=RunState.QUEUED, **changes)


def named(*pairs, at=SLOT, free_before=0):
    """A work of runs and their names."""
    names = [TaskName(1, name, run_id, at, free_before) for run_id, name in pairs]
    return Work(inserts=[row(run_id) for run_id, _ in pairs], names=names)


def keyed(*run_ids, key="k", at=SLOT, free_before=0, names=()):
    record = CallRecord(at, run_ids).text()
    call = KeyedCall(1, key, run_ids[0], at, free_before, "hash", record, frozenset(run_ids))
    return Work(inserts=[row(run_id) for run_id in run_ids], keyed=(call,), names=names)


async def runs_of(rows):
    return sorted(one["id"] for one in await rows(run_table))


async def test_thousands_of_names_in_few_statements(db, rows):
    async with writing(db) as writer:
        pairs = [(n, f"order {n} ' \\ 中 😀") for n in range(1, 2001)]
        before = writer._counters.values.get("statements", 0)
        assert not (await writer.write(named(*pairs))).taken_names
        assert writer._counters.values["statements"] - before < 20
        again = await writer.write(named(*((2000 + n, name) for n, name in pairs)))
    assert again.taken_names == {2000 + n: n for n, _ in pairs}
    assert await runs_of(rows) == list(range(1, 2001))
    assert {(one["task_id"], one["run_id"]) for one in await rows(task)} == {(name, n) for n, name in pairs}


async def test_names_differ_by_case_accent_and_namespace(db, rows):
    async with writing(db) as writer:
        work = named((1, "a"), (2, "A"), (3, "ä"), (4, "a b"))
        work.names = (*work.names, TaskName(2, "a", 5, SLOT))
        work.inserts = (*work.inserts, row(5, namespace_id=2))
        assert not (await writer.write(work)).taken_names
    assert len(await rows(task)) == 5


async def test_a_name_that_is_old_enough_is_free_again(db, rows):
    async with writing(db) as writer:
        await writer.write(named((1, "a"), (2, "b"), at=SLOT))
        await writer.write(named((3, "c"), at=SLOT + DAY_MS))
        later = await writer.write(
            named((4, "a"), (5, "b"), (6, "c"), (7, "a"), at=SLOT + 8 * DAY_MS, free_before=SLOT + DAY_MS)
        )
    assert later.taken_names == {6: 3, 7: 4}
    assert {one["task_id"]: one["run_id"] for one in await rows(task)} == {"a": 4, "b": 5, "c": 3}
    assert await runs_of(rows) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_old", [False, True])
async def test_writers_side_by_side_agree_on_every_name(db, rows, is_old):
    names = [f"n{n}" for n in range(300)]
    chance = random.Random(7)
    async with writing(db) as first, writing(db) as second, writing(db) as third:
        if is_old:
            await first.write(named(*((9000 + n, name) for n, name in enumerate(names)), at=1))
        writers = (first, second, third)
        works = []
        for index in range(3):
            mine = chance.sample(names, 250)
            works.append(named(*((1 + index * 1000 + n, name) for n, name in enumerate(mine)), free_before=2))
        written = await asyncio.gather(*(one.write(work) for one, work in zip(writers, works, strict=True)))
    owners = {one["task_id"]: one["run_id"] for one in await rows(task)}
    for work, answer in zip(works, written, strict=True):
        for name in work.names:
            assert answer.taken_names.get(name.run_id, name.run_id) == owners[name.task_id]
    inserted = [run_id for run_id in await runs_of(rows) if run_id < 9000]
    assert inserted == sorted(run_id for run_id in owners.values() if run_id < 9000)


async def test_a_key_is_taken_once_and_then_nothing_of_the_call_is_written(db, rows, clock):
    async with writing(db) as writer:
        first, second = await asyncio.gather(
            writer.write(keyed(1, 2, names=[TaskName(1, "a", 1, SLOT)])),
            writer.write(keyed(3, 4, names=[TaskName(1, "b", 3, SLOT)])),
        )
        await writer.write(Work(inserts=[row(5)]))
    assert 1 not in first.taken_keys
    assert second.taken_keys == {3: 1}
    assert await runs_of(rows) == [1, 2, 5]
    assert [one["task_id"] for one in await rows(task)] == ["a"]
    found = await KeyStore(db, clock).find(1, "k", SLOT)
    assert found == KnownCall(1, "hash", CallRecord(SLOT, [1, 2]))


async def test_an_old_key_is_free_again(db, rows, clock):
    async with writing(db) as writer:
        await writer.write(keyed(1))
        assert (await writer.write(keyed(2, at=SLOT + 1, free_before=SLOT))).taken_keys == {2: 1}
        assert not (await writer.write(keyed(3, at=SLOT + DAY_MS, free_before=SLOT + 1))).taken_keys
    assert await runs_of(rows) == [1, 3]
    assert [one["run_id"] for one in await rows(idempotency_key)] == [3]
    assert await KeyStore(db, clock).find(1, "k", SLOT + DAY_MS + 1) is None


async def test_a_record_is_completed_once_and_only_by_its_call(db, clock):
    keys = KeyStore(db, clock)
    async with writing(db) as writer:
        await writer.write(keyed(*range(1, 1500)))
    done = CallRecord(SLOT, list(range(1, 1500)), {7: 3, 9: 3}, done=True)
    await keys.finish(1, "k", 2, CallRecord(SLOT, [2], done=True))
    assert not (await keys.find(1, "k", 0)).record.done
    await keys.finish(1, "k", 1, done)
    assert (await keys.find(1, "k", 0)).record == done
    assert (await keys.find(2, "k", 0)) is None


async def test_a_run_is_found_by_its_name_and_the_other_way_round(db):
    tasks = TaskStore(db)
    async with writing(db) as writer:
        await writer.write(named((1, "close"), (2, "open")))
    assert await tasks.root_of(1, "close") == 1
    assert await tasks.root_of(2, "close") is None
    assert await tasks.root_of(1, "run-77") == 77
    assert await tasks.names([1, 2, 3]) == {1: "close", 2: "open", 3: "run-3"}
    assert await tasks.names([]) == {}
