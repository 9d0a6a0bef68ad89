"""Ownership is proven by writing: what a lease that is over can still write, and what it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import DBAPIError

from gateway.core.clock import SystemClock
from gateway.core.cluster import FREE
from gateway.core.errors import LeaseLost
from gateway.core.model import PARTS, Counters
from gateway.core.parts import part_of
from gateway.core.states import WAITING, RunState
from gateway.core.work import After, JobFire, Move, Work, Written
from gateway.store.nodes import Nodes
from gateway.store.tables import job_next_fire, node, part, revision
from gateway.store.tables import run as run_table
from gateway.store.writer import GroupWriter
from tests.contract.cluster import LEASE_MS, SLOT, Recorded, identity, join, owners, run, writing

ON_A_SERVER = pytest.mark.parametrize(
    "db", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True
)
MINE = part_of(1)
CLAIMED = frozenset({RunState.DISPATCHING})


@pytest.fixture
async def nodes(db):
    async with db.write() as conn:
        await conn.execute(insert(part), [{"id": number} for number in range(PARTS)])
        await conn.execute(insert(revision), [{"name": name, "n": 0} for name in ("app", "executor", "job")])
    return Nodes(db, SystemClock(), LEASE_MS)


async def owner(nodes, name, parts=range(PARTS)):
    """The lease of a node that owns these parts."""
    lease = (await join(nodes, name)).lease
    await nodes.take(lease, dict.fromkeys(parts, FREE))
    return lease


async def fence(nodes, name):
    member = (await nodes.look(())).members[name]
    assert await nodes.fence(name, member.epoch, member.beat)


async def add_job(db):
    values = {"job_id": 1, "part": MINE, "version": 1, "enabled": 1, "next_fire_at": SLOT}
    async with db.write() as conn:
        await conn.execute(insert(job_next_fire).values(values))


def plan(lease, run_id=101) -> Work:
    fire = JobFire(1, part_of(1), 1, SLOT, SLOT + 10_000, (run(run_id, slot_key=SLOT),))
    return Work(fires=(fire,), lease=lease, parts=frozenset({MINE}))


def claim(run_id: int, token: int = 5) -> Move:
    values = {"address": "http://a/", "claim_token": token, "claimed_ms": SLOT}
    return Move(run_id, RunState.DISPATCHING, WAITING, values)


async def states(rows: Any) -> dict[int, RunState]:
    return {row["id"]: RunState(row["state"]) for row in await rows(run_table)}


# ------------------------------------------------------------ claims


async def test_each_claim_renews_the_lease(db, nodes):
    lease = await owner(nodes, "a")
    before = (await nodes.look(())).members["a"]
    async with writing(db) as writer:
        assert writer.renewed_at == float("-inf")
        await writer.write(Work(inserts=(run(1),)))
        assert writer.renewed_at == float("-inf")
        await writer.write(Work(moves=[claim(1)], lease=lease))
        assert SystemClock().monotonic() - writer.renewed_at < 5
    after = (await nodes.look(())).members["a"]
    assert after.beat == before.beat + 1
    assert not await nodes.fence("a", before.epoch, before.beat)


async def test_a_fenced_node_claims_nothing(db, nodes, rows):
    lease = await owner(nodes, "a")
    async with writing(db) as writer:
        await writer.write(Work(inserts=(run(1),)))
        await fence(nodes, "a")
        with pytest.raises(LeaseLost):
            await writer.write(Work(moves=[claim(1)], lease=lease))
        with pytest.raises(LeaseLost):
            await writer.write(Work(lease=lease))
        assert writer.healthy
        again = (await nodes.join(identity("a"), again=True)).lease
        await writer.write(Work(moves=[claim(1)], lease=again))
    assert await states(rows) == {1: RunState.DISPATCHING}


async def test_work_of_an_earlier_lease_fails_alone(db, nodes, rows):
    """In the same commit as work of the new one, and as work that needs none."""
    first = await owner(nodes, "a")
    await fence(nodes, "a")
    second = (await join(nodes, "a", process=2)).lease
    writer = GroupWriter(db, SystemClock(), Counters())
    works = [
        Work(inserts=(run(1),), lease=first),
        Work(inserts=(run(2),), lease=second),
        Work(inserts=(run(3),)),
        Work(inserts=(run(4),), lease=first),
    ]
    outcomes: dict[int, Any] = {}
    for number, work in enumerate(works, 1):
        writer.submit(work, lambda outcome, number=number: outcomes.__setitem__(number, outcome))
    task = asyncio.create_task(writer.run())
    await writer.drain()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert {number: type(outcome) for number, outcome in outcomes.items()} == {
        1: LeaseLost,
        2: Written,
        3: Written,
        4: LeaseLost,
    }
    assert list(await states(rows)) == [2, 3]


# ------------------------------------------------------------ plans


async def test_a_plan_raises_no_beat_and_needs_its_parts(db, nodes, rows):
    """On a writer of its own beside the one that claims."""
    lease = await owner(nodes, "a")
    other = (await join(nodes, "b")).lease
    await add_job(db)
    before = (await nodes.look(())).members["a"].beat
    async with writing(db, renews=False) as planning:
        assert await planning.write(plan(lease)) == Written()
        assert planning.renewed_at == float("-inf")
        assert (await nodes.look(())).members["a"].beat == before
        await nodes.give(lease, {("b", 1): [MINE]})
        with pytest.raises(LeaseLost):
            await planning.write(plan(lease, 102))
        assert (await planning.write(plan(other, 103))).lost_fires == {1}
    assert list(await states(rows)) == [101]


async def test_a_plan_of_a_fenced_node_finds_its_parts_taken(db, nodes, rows):
    lease = await owner(nodes, "a")
    other = (await join(nodes, "b")).lease
    await add_job(db)
    await fence(nodes, "a")
    await nodes.take(other, dict.fromkeys(range(PARTS), ("a", 1)))
    async with writing(db, renews=False) as planning:
        with pytest.raises(LeaseLost):
            await planning.write(plan(lease))
    assert await rows(run_table) == []


@ON_A_SERVER
async def test_who_takes_a_part_waits_for_the_plan_that_holds_it(db, nodes, rows):
    """Else rows would be inserted that nobody has in memory."""
    lease = await owner(nodes, "a")
    other = (await join(nodes, "b")).lease
    await add_job(db)
    await fence(nodes, "a")
    recorded = Recorded(db)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: object) -> None:
        reached.set()
        await go_on.wait()

    recorded.before_commit = hold
    async with writing(recorded, renews=False) as planning:
        planned = asyncio.create_task(planning.write(plan(lease)))
        await reached.wait()
        taking = asyncio.create_task(nodes.take(other, {MINE: ("a", 1)}))
        done, _ = await asyncio.wait({taking}, timeout=0.3)
        assert not done
        go_on.set()
        assert await planned == Written()
        await taking
    assert MINE in (await owners(db))["b", 1]
    assert list(await states(rows)) == [101]


@ON_A_SERVER
async def test_claims_do_not_wait_for_a_plan(db, nodes):
    lease = await owner(nodes, "a")
    await add_job(db)
    recorded = Recorded(db)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: object) -> None:
        reached.set()
        await go_on.wait()

    async with writing(recorded, renews=False) as planning, writing(db) as writer:
        await writer.write(Work(inserts=(run(1),)))
        recorded.before_commit = hold
        planned = asyncio.create_task(planning.write(plan(lease)))
        await reached.wait()
        async with asyncio.timeout(1):
            assert await writer.write(Work(moves=[claim(1)], lease=lease)) == Written()
        assert not planned.done()
        go_on.set()
        await planned


# ------------------------------------------------------------ a transaction whose node stands still


@ON_A_SERVER
async def test_a_transaction_left_idle_is_ended_by_the_server(db, nodes):
    """Else a node that stands still would hold its own row, and nobody could end its lease."""
    await owner(nodes, "a")
    found = (await nodes.look(())).members["a"]
    raising = update(node).where(node.c.name == "a").values(beat=node.c.beat + 1)
    frozen = await db.writer.connect()
    await frozen.execute(raising)
    async with asyncio.timeout(10):  # it waits for the row, and then the beat is as it was
        assert await nodes.fence("a", found.epoch, found.beat)
    with pytest.raises(DBAPIError):
        await frozen.execute(raising)
    await frozen.close()
    assert not (await nodes.look(())).members["a"].live


# ------------------------------------------------------------ an answer that comes late


def answer(run_id: int, token: int = 5) -> Move:
    values = {"sent_ms": After("due_ms", 7), "answered_ms": After("due_ms", 9)}
    return Move(run_id, RunState.RUNNING, CLAIMED, values, claim=token, optional=True, belated=True)


@pytest.fixture(params=["hopefully", "carefully"])
def company(request):
    """Moves that share the commit: with one that misses, every guard is judged alone."""
    if request.param == "hopefully":
        return []
    return [Move(999, RunState.SKIPPED, WAITING, {"reason": "there is no such row"})]


async def prepare(writer, *run_ids):
    await writer.write(Work(inserts=[run(run_id) for run_id in run_ids]))
    await writer.write(Work(moves=[claim(run_id) for run_id in run_ids]))


async def test_an_answer_in_time_makes_the_run_running(db, rows, company):
    async with writing(db) as writer:
        await prepare(writer, 1)
        await writer.write(Work(moves=[answer(1), *company]))
    (row,) = await rows(run_table)
    assert (row["state"], row["open_part"]) == (RunState.RUNNING, MINE)
    assert (row["sent_ms"] - row["due_ms"], row["answered_ms"] - row["due_ms"]) == (7, 9)


async def test_an_answer_after_the_end_sets_its_times_and_leaves_the_state(db, rows, company):
    """Another node took the result, and cannot know when the run was sent."""
    async with writing(db) as writer:
        await prepare(writer, 1, 2)
        values = {"finished_ms": SLOT + 50, "sent_ms": SLOT + 50}
        await writer.write(Work(moves=[Move(1, RunState.SUCCEEDED, CLAIMED, values)]))
        await writer.write(Work(moves=[answer(1), answer(2), *company]))
    ended, running = await rows(run_table)
    assert (ended["state"], ended["open_part"], ended["finished_ms"]) == (
        RunState.SUCCEEDED,
        None,
        SLOT + 50,
    )
    assert (ended["sent_ms"] - ended["due_ms"], ended["answered_ms"] - ended["due_ms"]) == (7, 9)
    assert running["state"] == RunState.RUNNING


async def test_an_answer_to_an_earlier_claim_changes_nothing(db, rows, company):
    """The run was given up, and has been claimed again since, or waits to be."""
    async with writing(db) as writer:
        await prepare(writer, 1, 2)
        back = [Move(n, RunState.QUEUED, CLAIMED, {"claim_token": 0}, claim=5) for n in (1, 2)]
        await writer.write(Work(moves=back))
        await writer.write(Work(moves=[claim(1, token=6)]))
        await writer.write(Work(moves=[answer(1), answer(2), *company]))
    again, waiting = await rows(run_table)
    assert (again["state"], again["claim_token"], again["sent_ms"]) == (RunState.DISPATCHING, 6, 0)
    assert (waiting["state"], waiting["sent_ms"], waiting["answered_ms"]) == (RunState.QUEUED, 0, 0)


async def test_an_answer_shares_a_commit_with_the_end(db, rows):
    """In either order: the state is the end's, the times are the answer's."""
    async with writing(db) as writer:
        await prepare(writer, 1, 2)
        ends = [
            Move(n, RunState.SUCCEEDED, CLAIMED | {RunState.RUNNING}, {"finished_ms": SLOT}) for n in (1, 2)
        ]
        await writer.write(Work(moves=[answer(1), ends[0], ends[1], answer(2)]))
    for row in await rows(run_table):
        assert row["state"] == RunState.SUCCEEDED
        assert (row["sent_ms"] - row["due_ms"], row["answered_ms"] - row["due_ms"]) == (7, 9)
