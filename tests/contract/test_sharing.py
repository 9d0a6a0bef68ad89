"""What several nodes on one database tell each other through it: counts of changes, executors, rows left for an owner."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert

from gateway.core.clock import SystemClock
from gateway.core.errors import AlreadySubmitted, StoreError
from gateway.core.model import PARTS, AddressMode, App, Beat, Executor
from gateway.core.parts import part_of
from gateway.core.registry import Registry
from gateway.core.states import RunState
from gateway.core.work import TaskName, Work
from gateway.store.apps import FORGOTTEN_MS, AppStore
from gateway.store.ids import app_ids
from gateway.store.nodes import Nodes
from gateway.store.revisions import bump
from gateway.store.runs import RunStore
from gateway.store.tables import executor, part, request, revision, task
from gateway.store.tables import run as run_table
from tests.contract.cluster import LEASE_MS, SLOT, run, writing

ADDRESSES = tuple(f"http://10.0.0.{n}:9999/" for n in range(1, 4))


@pytest.fixture
async def nodes(db, clock):
    async with db.write() as conn:
        await conn.execute(insert(part), [{"id": number} for number in range(PARTS)])
        await conn.execute(insert(revision), [{"name": name, "n": 0} for name in ("app", "executor", "job")])
    return Nodes(db, clock, LEASE_MS)


@pytest.fixture
def stores(db, clock, nodes):
    """Those of two nodes."""
    return [AppStore(db, clock, app_ids(db, clock)) for _ in range(2)]


@pytest.fixture
async def app(stores):
    return await stores[0].create(App(0, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0))


def seen(app, index, at_ms, **changes):
    return replace(Executor(app.id, ADDRESSES[index], "rest", "java", at_ms, at_ms), **changes)


async def count(nodes, name):
    return (await nodes.look(())).revisions[name]


# ------------------------------------------------------------ counts of changes


async def test_each_change_of_an_app_is_counted(nodes, stores, app):
    assert await count(nodes, "app") == 1
    await stores[1].update(replace(app, title="Another"))
    assert [one.title for one in await stores[0].all_apps()] == ["Another"]
    await stores[1].delete(app.id)
    assert await count(nodes, "app") == 3
    assert await stores[0].all_apps() == []


async def test_counts_become_visible_in_their_order(db, nodes):
    """The second change waits for the first: who reads a count has all that belongs to smaller ones."""
    order: list[int] = []

    async def change() -> None:
        async with db.write() as conn:
            order.append(await bump(conn, "job"))
            assert await count(nodes, "job") < order[-1]  # nobody sees it before its commit

    await asyncio.gather(*(change() for _ in range(4)))
    assert order == [1, 2, 3, 4]
    assert await count(nodes, "job") == 4


# ------------------------------------------------------------ executors


async def test_what_one_node_saves_the_other_reads_as_a_change(nodes, stores, app, clock):
    here, there = stores
    first, second = seen(app, 0, clock.ms), seen(app, 1, clock.ms)
    await here.save_executors([first], [])
    known = await count(nodes, "executor")
    assert await there.executors_since(-1) == ([first], [])
    await here.save_executors([second], [])
    assert await there.executors_since(known) == ([second], [])
    known = await count(nodes, "executor")
    await there.save_executors([], [first])
    assert await here.executors_since(known) == ([], [first])
    assert await here.executors_since(await count(nodes, "executor")) == ([], [])


async def test_the_registries_of_two_nodes_agree(nodes, stores, app, clock):
    registries = [Registry(), Registry()]
    known = [-1, -1]

    async def exchange() -> None:
        for store, registry in zip(stores, registries, strict=True):
            await store.save_executors(*registry.take_dirty())
        for index, (store, registry) in enumerate(zip(stores, registries, strict=True)):
            now = await count(nodes, "executor")
            registry.merge(*await store.executors_since(known[index]))
            known[index] = now

    for registry in registries:
        registry.set_app(app)
    registries[0].load([])
    for index, registry in ((0, 0), (1, 1), (2, 0)):
        registries[registry].beat(app, _beat(app, index, clock.ms))
    await exchange()
    assert [registry.addresses(app.id) for registry in registries] == [ADDRESSES] * 2
    registries[1].remove(app.id, ADDRESSES[0], clock.ms + 5)
    await exchange()
    assert [registry.addresses(app.id) for registry in registries] == [ADDRESSES[1:]] * 2
    registries[1].beat(app, _beat(app, 0, clock.ms + 9))
    await exchange()
    assert [registry.addresses(app.id) for registry in registries] == [ADDRESSES] * 2


def _beat(app, index, at_ms):
    return Beat(app.appname, ADDRESSES[index], "rest", "java", at_ms)


async def test_one_that_has_beaten_elsewhere_since_stays(stores, app, clock):
    here, there = stores
    await here.save_executors([seen(app, 0, clock.ms)], [])
    await there.save_executors([seen(app, 0, clock.ms + 9)], [])
    await here.save_executors([], [seen(app, 0, clock.ms)])
    assert await there.executors_since(-1) == ([seen(app, 0, clock.ms + 9)], [])


async def test_a_beat_that_is_saved_late_does_not_bring_back_who_left_since(stores, app, clock):
    """The database did not take it at first; meanwhile the executor said goodbye to another node."""
    here, there = stores
    await there.save_executors([seen(app, 0, clock.ms)], [])
    await there.save_executors([], [seen(app, 0, clock.ms + 9)])
    await here.save_executors([seen(app, 0, clock.ms + 5), seen(app, 1, clock.ms + 5)], [])
    left, gone = await there.executors_since(-1)
    assert left == [seen(app, 1, clock.ms + 5)]
    assert [(one.address, one.last_beat_ms) for one in gone] == [(ADDRESSES[0], clock.ms + 9)]
    await here.save_executors([seen(app, 0, clock.ms + 20)], [])
    assert [one.address for one in (await there.executors_since(-1))[0]] == list(ADDRESSES[:2])


async def test_an_old_beat_does_not_undo_a_younger_one(stores, app, clock):
    here, there = stores
    await there.save_executors([seen(app, 0, clock.ms + 9)], [])
    await here.save_executors([seen(app, 0, clock.ms + 5)], [])
    assert (await there.executors_since(-1))[0] == [seen(app, 0, clock.ms + 9)]


async def test_who_has_gone_is_forgotten_after_a_while(stores, app, clock, rows):
    here, _ = stores
    await here.save_executors([seen(app, 0, clock.ms), seen(app, 1, clock.ms)], [])
    await here.save_executors([], [seen(app, 0, clock.ms)])
    clock.ms += FORGOTTEN_MS + 1
    await here.save_executors([], [seen(app, 1, clock.ms)])
    assert [row["address"] for row in await rows(executor)] == [ADDRESSES[1]]


# ------------------------------------------------------------ rows left for an owner


async def test_a_request_is_there_until_it_is_forgotten(db, nodes, clock, rows):
    part_ = part_of(1)
    async with writing(db) as writer:
        row = run(1, state=RunState.QUEUED)
        await writer.write(Work(inserts=(row,), requests=[(1, part_)]))
        await writer.write(Work(requests=[(1, part_), (2, part_)]))  # told of again
    assert list((await nodes.look({part_})).requests) == [(1, part_), (2, part_)]
    assert list((await nodes.look({part_ + 1})).requests) == []
    runs = RunStore(db, clock)
    await runs.forget_requests([1])
    await runs.forget_requests([1])
    assert await rows(request) == [{"run_id": 2, "part": part_}]
    assert len(await rows(run_table)) == 1


async def test_one_name_through_two_nodes_names_one_run(db, rows):
    """At the same moment, in transactions side by side."""
    async with writing(db) as first, writing(db) as second:
        written = await asyncio.gather(
            *(
                writer.write(
                    Work(
                        inserts=(run(run_id, slot_key=-run_id, state=RunState.QUEUED),),
                        names=(TaskName(1, "close the day", run_id, SLOT),),
                    )
                )
                for writer, run_id in ((first, 1), (second, 2))
            )
        )
    (name,) = await rows(task)
    assert [row["id"] for row in await rows(run_table)] == [name["run_id"]]
    loser = written[0 if name["run_id"] == 2 else 1]
    assert loser.taken_names == {3 - name["run_id"]: name["run_id"]}
    assert str(AlreadySubmitted("close the day", name["run_id"]))


# ------------------------------------------------------------ what a query raises


async def test_a_query_that_the_database_refuses_is_a_store_error(db, nodes):
    """Whether it goes through SQLAlchemy or straight to the driver: callers know no other."""
    async with db.write() as conn:
        await conn.run_sync(run_table.drop)
        await conn.run_sync(part.drop)
    runs = RunStore(db, SystemClock())
    for query in (runs.get_many([1]), runs.family(1, 1), nodes.look(()), nodes.all_nodes()):
        with pytest.raises(StoreError):
            await query
