"""Leases: one node a database, also when two start at once."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select, text, update

from gateway.core.clock import SystemClock
from gateway.core.errors import LeaseLost, Refused
from gateway.core.model import PARTS, Counters
from gateway.core.work import Work
from gateway.store.nodes import Nodes
from gateway.store.tables import node, part
from gateway.store.writer import GroupWriter

LEASE_MS = 200


@pytest.fixture
async def nodes(db):
    async with db.write() as conn:
        await conn.execute(insert(part), [{"id": n} for n in range(PARTS)])
    return Nodes(db, SystemClock(), LEASE_MS)


async def owners(db):
    async with db.read() as conn:
        return {(row.node, row.epoch) for row in await conn.execute(select(part.c.node, part.c.epoch))}


@pytest.mark.parametrize("db", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)
async def test_the_clock_of_the_database_is_read_in_utc(db):
    """In the hour that a time zone repeats, its local time is an hour off for half of the instants."""
    repeated = 1_761_438_600  # 02:30 in Berlin for the first time that day
    async with db.read() as conn:
        await conn.execute(text(f"SET timestamp={repeated}"))
        measured = (await conn.execute(text("SELECT UNIX_TIMESTAMP(NOW(6)), @@session.time_zone"))).one()
        await conn.execute(text("SET timestamp=DEFAULT"))
    assert (float(measured[0]), measured[1]) == (repeated, "+00:00")


async def test_the_first_node_owns_all(db, nodes):
    grant = await nodes.acquire("a")
    assert (grant.lease.node, grant.seen_ms) == ("a", 0)
    assert await owners(db) == {("a", grant.lease.epoch)}


async def test_its_next_life_takes_over_at_once_and_fences_the_last(db, nodes):
    first = await nodes.acquire("a")
    second = await nodes.acquire("a")
    assert second.lease.epoch == first.lease.epoch + 1
    writer = GroupWriter(db, SystemClock(), Counters())
    task = asyncio.create_task(writer.run())
    await writer.write(Work(lease=second.lease))
    with pytest.raises(LeaseLost):
        await writer.write(Work(lease=first.lease))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_another_node_is_refused_while_the_owner_lives(db, nodes):
    await nodes.acquire("a")

    async def beat():
        while True:
            async with db.write() as conn:
                await conn.execute(update(node).values(beat=node.c.beat + 1))
            await asyncio.sleep(0.02)

    beating = asyncio.create_task(beat())
    try:
        with pytest.raises(Refused, match="'a'"):
            await nodes.acquire("b")
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    assert {name for name, _ in await owners(db)} == {"a"}


async def test_another_node_fences_one_that_is_silent(db, nodes):
    first = await nodes.acquire("a")
    second = await nodes.acquire("b")
    assert await owners(db) == {("b", second.lease.epoch)}
    async with db.read() as conn:
        epoch = (await conn.execute(select(node.c.epoch).where(node.c.name == "a"))).scalar_one()
    assert epoch > first.lease.epoch


async def test_after_a_release_nobody_waits(db, nodes):
    first = await nodes.acquire("a")
    await nodes.release(first.lease)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await nodes.acquire("b")
    assert loop.time() - before < LEASE_MS / 1000


class Together(Nodes):
    """Looks at the owners at the same moment as the others do."""

    barrier: asyncio.Barrier

    async def _other_owners(self, name):
        found = await super()._other_owners(name)
        await self.barrier.wait()
        return found


async def test_of_those_that_start_at_once_one_is_granted(db, nodes):
    nodes = Together(db, SystemClock(), LEASE_MS)
    nodes.barrier = asyncio.Barrier(3)
    outcomes = await asyncio.gather(*(nodes.acquire(name) for name in "abc"), return_exceptions=True)
    granted = [one.lease for one in outcomes if not isinstance(one, BaseException)]
    assert len(granted) == 1, outcomes
    assert all(isinstance(one, Refused) for one in outcomes if isinstance(one, BaseException))
    assert await owners(db) == {(granted[0].node, granted[0].epoch)}
