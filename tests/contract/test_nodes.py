"""Nodes and parts: who may join, what is whose, and how it changes hands."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, text, update

from gateway.core.clock import SystemClock
from gateway.core.cluster import FREE, Member
from gateway.core.errors import Conflict, LeaseLost, NotFound, Refused
from gateway.core.model import PARTS
from gateway.core.work import Lease
from gateway.store.nodes import FORGOTTEN_MS, REQUESTS_AT_ONCE, Nodes
from gateway.store.tables import node, part, request, revision
from tests.contract.cluster import LEASE_MS, BusyClock, beat, identity, join, owners

ALL = range(PARTS)


@pytest.fixture
def clock():
    return BusyClock()


@pytest.fixture
async def nodes(db, clock):
    async with db.write() as conn:
        await conn.execute(insert(part), [{"id": number} for number in ALL])
        await conn.execute(insert(revision), [{"name": name, "n": 0} for name in ("app", "executor", "job")])
    return Nodes(db, clock, LEASE_MS)


async def take(nodes, lease, numbers, holder=FREE):
    await nodes.take(lease, dict.fromkeys(numbers, holder))


@pytest.mark.parametrize("db", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)
async def test_the_clock_of_the_database_is_read_in_utc(db):
    """In the hour that a time zone repeats, its local time is an hour off for half of the instants."""
    repeated = 1_761_438_600  # 02:30 in Berlin for the first time that day
    async with db.read() as conn:
        await conn.execute(text(f"SET timestamp={repeated}"))
        measured = (await conn.execute(text("SELECT UNIX_TIMESTAMP(NOW(6)), @@session.time_zone"))).one()
        await conn.execute(text("SET timestamp=DEFAULT"))
    assert (float(measured[0]), measured[1]) == (repeated, "+00:00")


@pytest.mark.parametrize("db", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True)
async def test_the_offset_to_the_clock_of_the_database(db):
    clock = SystemClock()
    nodes = Nodes(db, clock, LEASE_MS)
    assert abs(await nodes.offset_ms()) < 500
    clock.adjust(-60_000)
    assert 59_500 < await nodes.offset_ms() < 60_500


# ------------------------------------------------------------ joining


async def test_the_first_node(db, nodes, clock, rows):
    grant = await join(nodes, "a")
    assert (grant.lease, grant.seen_ms) == (Lease("a", 1), 0)
    (row,) = await rows(node)
    assert row == {
        "name": "a",
        "epoch": 1,
        "beat": 1,
        "control_address": "http://a:1",
        "started_ms": clock.now_ms(),
        "seen_ms": clock.now_ms(),
        "instance": identity("a").instance,
        "version": "0.1.0",
        "live": 1,
        "draining": 0,
        "fit": 1,
        "clock_offset_ms": 0,
        "agreed": "{}",
    }
    assert await owners(db) == {FREE: set(ALL)}
    assert clock.slept_s == []


async def test_all_nodes_have_one_secret_and_learn_when_one_was_last_seen(nodes, clock):
    first = await join(nodes, "a")
    clock.ms += 5000
    second = await join(nodes, "b")
    assert first.secret == second.secret == await nodes.secret()
    assert len(first.secret) > 20
    assert second.seen_ms == clock.now_ms() - 5000


async def test_two_that_join_at_once_share_the_secret(db, nodes):
    others = [Nodes(db, BusyClock(), LEASE_MS) for _ in range(3)]
    grants = await asyncio.gather(*(join(one, name) for one, name in zip(others, "abc", strict=True)))
    assert [grant.lease for grant in grants] == [Lease(name, 1) for name in "abc"]
    assert len({grant.secret for grant in grants}) == 1


class Together(Nodes):
    """Looks at the others at the same moment as they do."""

    barrier: asyncio.Barrier

    async def _rows(self):
        found = await super()._rows()
        await self.barrier.wait()
        return found


async def test_of_two_of_one_name_that_join_at_once_one_is_refused(db, nodes):
    """Each from a data directory of its own; neither has seen the other yet."""
    barrier = asyncio.Barrier(2)
    joins = []
    for directory in ("x", "y"):
        node = Together(db, BusyClock(), LEASE_MS)
        node.barrier = barrier
        joins.append(join(node, "a", directory=directory))
    outcomes = await asyncio.gather(*joins, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, Refused)]
    assert len(refused) == 1, outcomes
    assert "'a'" in str(refused[0])
    assert "node_name" in str(refused[0])


async def test_a_name_is_refused_while_its_node_is_alive(db, nodes, clock):
    await join(nodes, "a")
    clock.meanwhile = lambda: beat(db, "a")
    with pytest.raises(Refused, match=r"'a' \(http://a:1\) is alive"):
        await join(nodes, "a", directory="another")
    assert (await nodes.look(())).members["a"].epoch == 1


async def test_a_lease_of_a_node_that_was_forgotten_is_nobodys(nodes, clock):
    """Its process may stand still for as long as that, and go on."""
    quiet = (await join(nodes, "quiet")).lease
    old = []
    for directory in "xyz":
        lease = (await join(nodes, "a", directory=directory)).lease
        for one in old:
            with pytest.raises(LeaseLost):
                await take(nodes, one, [1])
        await take(nodes, lease, [1])
        await nodes.leave(lease, {})
        old.append(lease)
        clock.ms += FORGOTTEN_MS + 1
        await join(nodes, "b")  # while others of a higher epoch are forgotten
        assert set((await nodes.look(())).members) == {"quiet", "b"}
    await nodes.leave(quiet, {})
    await join(nodes, "b", process=2)
    assert set((await nodes.look(())).members) == {"b"}
    assert (await join(nodes, "a")).lease.epoch > old[-1].epoch


async def test_a_name_is_granted_when_its_node_was_silent_for_a_lease(db, nodes, clock):
    first = await join(nodes, "a")
    await take(nodes, first.lease, ALL)
    second = await join(nodes, "a", directory="another")
    assert clock.slept_s == [LEASE_MS / 1000]
    assert second.lease == Lease("a", 2)
    with pytest.raises(LeaseLost):
        await nodes.give(first.lease, {})


async def test_its_own_last_life_is_over_at_once_and_its_parts_are_its_own_again(db, nodes, clock):
    """It holds the lock of the same data directory, so that life is over for sure."""
    first = await join(nodes, "a")
    await take(nodes, first.lease, range(100))
    second = await join(nodes, "a", process=2)
    assert clock.slept_s == []
    assert await owners(db) == {("a", 2): set(range(100)), FREE: set(range(100, PARTS))}
    with pytest.raises(LeaseLost):
        await take(nodes, first.lease, [120])
    await take(nodes, second.lease, [120])


async def test_what_was_taken_from_it_meanwhile_stays_taken(db, nodes):
    first, other = await join(nodes, "a"), await join(nodes, "b")
    await take(nodes, first.lease, ALL)
    assert await nodes.fence("a", 1, (await nodes.look(())).members["a"].beat)
    await take(nodes, other.lease, range(50), ("a", 1))
    await join(nodes, "a", process=2)
    assert await owners(db) == {("b", 1): set(range(50)), ("a", 1): set(range(50, PARTS))}


async def test_with_a_wrong_clock_it_gets_its_parts_not_back(db, nodes):
    first = await join(nodes, "a")
    await take(nodes, first.lease, ALL)
    await join(nodes, "a", process=2, fit=False)
    assert await owners(db) == {("a", 1): set(ALL)}
    assert not (await nodes.look(())).members["a"].fit


async def test_a_copy_of_a_data_directory_is_another_node(db, nodes, clock):
    """Both would fence each other for ever; the one that finds the other's beat moving ends."""
    await join(nodes, "a", process=1)
    await join(nodes, "a", process=2)
    clock.meanwhile = lambda: beat(db, "a")
    with pytest.raises(Refused, match="data directory of its own"):
        await nodes.join(identity("a", process=1), again=True)
    clock.meanwhile = None
    assert (await nodes.join(identity("a", process=1), again=True)).lease == Lease("a", 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"lease_s": 2.0}, {"lease_s": 5.0}, "lease_s: 2.0 is not valid: 5.0"),
        ({"timezone": "UTC", "x": 1}, {"timezone": "Asia/Shanghai", "x": 1}, "timezone: 'UTC'"),
        ({"access_token": ["1", "2"]}, {"access_token": ["3"]}, "access_token"),
        ({"access_token": []}, {"access_token": ["3"]}, "access_token"),
    ],
)
async def test_settings_that_differ_are_refused_while_the_other_is_alive(
    db, nodes, clock, ours, theirs, words
):
    await join(nodes, "b", agreed=theirs)
    clock.meanwhile = lambda: beat(db, "b")
    with pytest.raises(Refused) as refusal:
        await join(nodes, "a", agreed=ours)
    assert words in str(refusal.value)
    assert "'b' (http://b:1)" in str(refusal.value)
    clock.meanwhile = None
    assert (await join(nodes, "a", agreed=ours)).lease == Lease("a", 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"access_token": ["1", "2"]}, {"access_token": ["2", "3"]}),
        ({"lease_s": 2.0, "new": 1}, {"lease_s": 2.0}),
        ({"access_token": []}, {"access_token": []}),
    ],
)
async def test_settings_that_agree(nodes, clock, ours, theirs):
    await join(nodes, "b", agreed=theirs)
    await join(nodes, "a", agreed=ours)
    assert clock.slept_s == []


async def test_what_stopped_in_order_objects_to_nothing(nodes, clock):
    grant = await join(nodes, "a", agreed={"lease_s": 5.0})
    await nodes.leave(grant.lease, {})
    await join(nodes, "b", agreed={"lease_s": 2.0})
    await join(nodes, "a", directory="another", agreed={"lease_s": 2.0})
    assert clock.slept_s == []


async def test_a_node_that_is_alone_ends_all_others(db, nodes):
    first = await join(nodes, "a")
    await take(nodes, first.lease, ALL)
    await join(nodes, "b", alone=True)
    assert {name: one.live for name, one in (await nodes.look(())).members.items()} == {"a": False, "b": True}
    with pytest.raises(LeaseLost):
        await nodes.give(first.lease, {})


# ------------------------------------------------------------ leaving, and being ended


async def test_leaving_gives_what_has_an_heir_and_frees_the_rest(db, nodes):
    mine, heir = (await join(nodes, "a")).lease, (await join(nodes, "b")).lease
    await take(nodes, mine, range(100))
    await nodes.leave(mine, {(heir.node, heir.epoch): range(40)})
    assert await owners(db) == {("b", 1): set(range(40)), FREE: set(range(40, PARTS))}
    member = (await nodes.look(())).members["a"]
    assert (member.live, member.epoch) == (False, 2)
    with pytest.raises(LeaseLost):
        await nodes.leave(mine, {})


async def test_a_fence_needs_a_beat_that_stands_still(db, nodes):
    lease = (await join(nodes, "a")).lease
    found = (await nodes.look(())).members["a"]
    await beat(db, "a")
    assert not await nodes.fence("a", found.epoch, found.beat)
    await nodes.give(lease, {})  # it is still alive
    found = (await nodes.look(())).members["a"]
    assert await nodes.fence("a", found.epoch, found.beat)
    assert await nodes.fence("a", found.epoch, found.beat)  # over, whoever ended it
    assert not (await nodes.look(())).members["a"].live
    for write in (nodes.give(lease, {}), nodes.leave(lease, {}), take(nodes, lease, [1])):
        with pytest.raises(LeaseLost):
            await write
    assert await owners(db) == {FREE: set(ALL)}


# ------------------------------------------------------------ parts


async def test_parts_are_taken_where_nobody_was_faster(db, nodes):
    first, second = (await join(nodes, "a")).lease, (await join(nodes, "b")).lease
    await take(nodes, first, range(10))
    await take(nodes, second, ALL)
    assert await owners(db) == {("a", 1): set(range(10)), ("b", 1): set(range(10, PARTS))}


async def test_two_takers_at_once_never_have_one_part_both(db, nodes):
    leases = [(await join(nodes, name)).lease for name in "abc"]
    await asyncio.gather(*(take(nodes, lease, ALL) for lease in leases))
    found = await owners(db)
    assert sum(map(len, found.values())) == PARTS
    assert FREE not in found


async def test_only_what_is_ones_own_can_be_given(db, nodes):
    first, second = (await join(nodes, "a")).lease, (await join(nodes, "b")).lease
    await take(nodes, first, range(10))
    await take(nodes, second, range(10, 20))
    await nodes.give(first, {("b", 1): range(5, 15), ("c", 7): range(2)})
    assert await owners(db) == {
        ("a", 1): set(range(2, 5)),
        ("b", 1): set(range(5, 20)),
        ("c", 7): {0, 1},
        FREE: set(range(20, PARTS)),
    }


# ------------------------------------------------------------ looking


async def test_a_look_finds_all_that_nodes_share(db, nodes):
    mine = (await join(nodes, "a")).lease
    await join(nodes, "b", fit=False)
    await take(nodes, mine, range(PARTS))
    await nodes.drain("b", draining=True)
    async with db.write() as conn:
        await conn.execute(update(revision).where(revision.c.name == "app").values(n=3))
        await conn.execute(insert(request), [{"run_id": 70 - n, "part": n} for n in range(20)])
    found = await nodes.look({3, 4, 99})
    assert found.members == {
        "a": Member("a", 1, 2, address="http://a:1"),
        "b": Member("b", 1, 1, draining=True, fit=False, address="http://b:1"),
    }
    assert found.holders == dict.fromkeys(ALL, ("a", 1))
    assert found.revisions == {"app": 3, "executor": 0, "job": 0}
    assert list(found.requests) == [(66, 4), (67, 3)]
    assert list((await nodes.look(())).requests) == []


async def test_a_look_takes_a_bounded_number_of_requests_the_oldest_first(db, nodes):
    await join(nodes, "a")
    async with db.write() as conn:
        await conn.execute(insert(request), [{"run_id": n, "part": n % 7} for n in range(1, 2001)])
    found = await nodes.look(range(7))
    assert [run_id for run_id, _ in found.requests] == list(range(1, REQUESTS_AT_ONCE + 1))


async def test_nodes_as_people_see_them(db, nodes, clock):
    leases = {
        name: (await join(nodes, name)).lease for name in ("live", "drained", "silent", "stopped", "ended")
    }
    await take(nodes, leases["live"], range(100))
    await take(nodes, leases["silent"], range(100, 110))
    await nodes.drain("drained", draining=True)
    await nodes.leave(leases["stopped"], {})
    await nodes.fence("ended", 1, 1)
    clock.ms += 2 * LEASE_MS + 1
    async with db.write() as conn:
        seen = node.c.name.in_(["live", "drained"])
        await conn.execute(update(node).where(seen).values(seen_ms=clock.now_ms()))
    found = {one.name: (one.state, one.parts) for one in await nodes.all_nodes()}
    assert found == {
        "drained": ("draining", 0),
        "ended": ("dead", 0),
        "live": ("live", 100),
        "silent": ("dead", 10),
        "stopped": ("stopped", 0),
    }
    assert list(found) == sorted(found)


# ------------------------------------------------------------ notes


async def test_drain_and_resume(nodes):
    with pytest.raises(NotFound):
        await nodes.drain("a", draining=True)
    await join(nodes, "a")
    with pytest.raises(Conflict, match="no other node"):
        await nodes.drain("a", draining=True)
    other = await join(nodes, "b")
    await nodes.drain("a", draining=True)
    assert (await nodes.look(())).members["a"].draining
    with pytest.raises(Conflict, match="no other node"):
        await nodes.drain("b", draining=True)
    await nodes.drain("a", draining=False)
    assert not (await nodes.look(())).members["a"].draining
    await nodes.leave(other.lease, {})
    with pytest.raises(Conflict, match="'b' is not running"):
        await nodes.drain("b", draining=True)


async def test_a_restart_ends_a_drain(nodes):
    await join(nodes, "a")
    await join(nodes, "b")
    await nodes.drain("a", draining=True)
    await join(nodes, "a", process=2)
    assert not (await nodes.look(())).members["a"].draining


async def test_the_clock_of_a_machine_is_noted_under_its_lease_alone(nodes, rows):
    lease = (await join(nodes, "a")).lease
    await nodes.note_clock(lease, -3000, fit=False)
    await nodes.note_clock(Lease("a", 9), 1, fit=True)
    (row,) = await rows(node)
    assert (row["clock_offset_ms"], row["fit"]) == (-3000, 0)
    assert [(one.clock_offset_ms, one.fit) for one in await nodes.all_nodes()] == [(-3000, False)]


async def test_touches_are_counted(db, nodes):
    await asyncio.gather(*(nodes.touch("job") for _ in range(5)))
    await nodes.touch("app")
    assert (await nodes.look(())).revisions == {"app": 1, "executor": 0, "job": 5}
