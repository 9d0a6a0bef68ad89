"""Parts come and go with their nodes: by hand-over, by the end of a lease, and never early."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.core.model import PARTS, TriggerKind
from gateway.core.states import OPEN, RunState
from gateway.store.tables import node, part
from tests.kit.fake_link import Behaviour

EVERY_SECOND = {"kind": "fixed_rate", "expression": "1s"}
HALF = PARTS // 2


def held(world):
    return {name: len(life.context.held) for name, life in world.nodes.items()}


def counter(world, name):
    return sum(life.counters.values.get(name, 0) for life in world.lives)


async def owned(world):
    """By the rows alone: how many parts each node holds under its present lease."""
    nodes = {row["name"]: row for row in await world.table(node)}
    rows = await world.table(part)
    return Counter(row["node"] for row in rows if nodes[row["node"]]["epoch"] == row["epoch"])


async def live(world, name):
    return next(row["live"] for row in await world.table(node) if row["name"] == name)


async def owned_job(world, name, **changes):
    """A job of a part that this node owns."""
    for _ in range(20):
        job = await world.job(**{"enabled": False, **changes})
        if job.part in world.nodes[name].context.held:
            return job
    raise AssertionError(f"{name} owns no part of twenty jobs")


async def jobs_of_both(world, **changes):
    """Three in parts of each node."""
    jobs = []
    for name in "ab":
        while sum(job.part in world.nodes[name].context.held for job in jobs) < 3:
            jobs.append(await world.job(**changes))
            if jobs[-1].part not in world.nodes[name].context.held:
                await world.do(world.now.jobs._ids.draw(1))
    return jobs


async def assert_each_slot_once(world, job, executor):
    """By the executors' count: one execution a slot, none left out."""
    rows = await world.rows(job_id=job.id)
    done = {run.slot_key for run in rows if run.state is RunState.SUCCEEDED}
    due = set(range(job.anchor_ms + 1000, world.clock.now_ms() - 500, 1000))
    assert due <= done, sorted(due - done)
    assert set(executor.executions.values()) == {1}


# ------------------------------------------------------------ shares


async def test_two_nodes_share_equally_and_both_send(several):
    executor = await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(5)
    assert held(several) == {"a": HALF, "b": HALF}
    assert await owned(several) == {"a": HALF, "b": HALF}
    for job in jobs:
        await assert_each_slot_once(several, job, executor)
    assert all(life.link.sent for life in several.nodes.values())


async def test_parts_move_while_their_jobs_fire(several):
    """A third node comes, two go; each second has one run."""
    executor = await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3.3)
    await several.start(name="c")
    await several.clock.advance(3)
    assert sorted(held(several).values()) == [42, 43, 43]
    await several.stop_node("a")
    await several.clock.advance(3)
    assert held(several) == {"b": HALF, "c": HALF}
    await several.stop_node("c")
    await several.clock.advance(3)
    assert held(several) == {"b": PARTS}
    for job in jobs:
        await assert_each_slot_once(several, job, executor)
    assert counter(several, "nodes_fenced") == 0


async def test_a_stop_hands_over_at_once(several):
    several.nodes["a"].process.spawn(several.nodes["a"].flow.stop_sending())
    await several.clock.advance(0.05)
    assert held(several)["b"] == PARTS
    assert await live(several, "a") == 0


async def test_a_run_that_is_out_while_its_part_moves_goes_on(several):
    executor = await several.executor(usual=Behaviour(answer_after_s=1.0, runs_s=3.0))
    job = await owned_job(several, "a")
    run_id = await several.trigger(job, by=several.nodes["a"])
    await several.clock.advance(0.1)
    await several.stop_node("a")
    run = await several.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}
    assert 0 <= run.sent_ms - run.due_ms < 100
    assert 900 < run.answered_ms - run.sent_ms < 1100  # the one who sent it was still answered


# ------------------------------------------------------------ the dead


async def test_a_process_that_is_gone_is_fenced_when_it_can_send_no_more(several):
    await several.crash("a")
    begun = several.clock.monotonic()
    await several.clock.advance_until(lambda: held(several)["b"] == PARTS)
    assert 1.5 - 0.5 <= several.clock.monotonic() - begun <= 2.2
    assert await live(several, "a") == 2


async def test_a_machine_that_says_nothing_is_given_a_whole_lease(several):
    """It cannot be told whether the process is gone or the network is."""
    several.nodes["b"].cut = True
    last_beat = several.nodes["a"].writer.renewed_at
    await several.crash("a")
    await several.clock.advance_until(lambda: held(several)["b"] == PARTS)
    assert 2.0 <= several.clock.monotonic() - last_beat <= 3.1


async def test_slots_of_the_dead_are_late_and_none_is_missed(several):
    executor = await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3.4)
    await several.crash("a")
    await several.clock.advance(8)
    for job in jobs:
        await assert_each_slot_once(several, job, executor)


async def test_the_next_life_has_its_parts_at_once(several):
    executor = await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3.4)
    await several.crash("a")
    await several.start(name="a")
    assert held(several) == {"a": HALF, "b": HALF}
    await several.clock.advance(3)
    assert counter(several, "nodes_fenced") == 0
    for job in jobs:
        await assert_each_slot_once(several, job, executor)


# ------------------------------------------------------------ those that stand still


@pytest.mark.parametrize("seconds", [2.6, 5.0, 30.0])
async def test_a_node_that_lost_its_lease_sends_nothing_when_it_wakes(several, seconds):
    """The hard case: it has claimed, and stands still between the claim and the send."""
    await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3)
    frozen = several.nodes["a"]
    frozen.signals.at["after_claim"] = frozen.freeze
    await several.clock.advance_until(lambda: frozen.process.frozen)
    before = len(frozen.link.sent)
    await several.clock.advance(seconds)
    assert await live(several, "a") == 2
    frozen.thaw()
    await several.clock.advance(0.01)
    assert len(frozen.link.sent) == before
    await several.clock.advance(20)
    assert held(several) == {"a": HALF, "b": HALF}
    assert counter(several, "leases_lost") == 1
    assert max(several.executions.values()) == 1
    for job in jobs:
        rows = await several.rows(job_id=job.id)
        slots = Counter(run.slot_key for run in rows if run.trigger_kind is TriggerKind.SCHEDULE)
        assert set(slots.values()) == {1}
        late = [run for run in rows if run.state in OPEN and run.due_ms < several.clock.now_ms() - 1000]
        assert late == []


async def test_a_short_stop_costs_nothing(several):
    executor = await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3.5)
    several.nodes["a"].freeze()
    await several.clock.advance(1.2)
    several.nodes["a"].thaw()
    await several.clock.advance(4)
    assert counter(several, "nodes_fenced") == counter(several, "leases_lost") == 0
    for job in jobs:
        await assert_each_slot_once(several, job, executor)


async def test_a_node_that_stood_still_itself_accuses_nobody(several):
    """Both do, as when their machine is suspended."""
    for life in several.nodes.values():
        life.freeze()
    await several.clock.advance(60)
    for life in several.nodes.values():
        life.thaw()
    await several.clock.advance(5)
    assert counter(several, "nodes_fenced") == counter(several, "leases_lost") == 0
    assert held(several) == {"a": HALF, "b": HALF}


async def test_a_frozen_transaction_does_not_keep_its_node_alive(several):
    """It holds the lock that everybody needs until the server ends it."""
    frozen = several.nodes["a"]
    frozen.faulty.pause_s = lambda: 0.1
    await several.clock.advance_until(lambda: several.server.is_held_by(frozen.process))
    frozen.freeze()
    await several.clock.advance(6)
    assert held(several)["b"] == PARTS
    frozen.faulty.pause_s = lambda: 0.0
    frozen.thaw()
    await several.clock.advance(5)
    assert held(several) == {"a": HALF, "b": HALF}


# ------------------------------------------------------------ the database


async def test_nobody_is_dead_while_the_database_is_away(several):
    executor = await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3.5)
    for life in several.nodes.values():
        life.cut_database()
    await several.clock.advance(8)
    for life in several.nodes.values():
        life.mend_database()
    await several.clock.advance(8)
    assert counter(several, "nodes_fenced") == counter(several, "leases_lost") == 0
    assert held(several) == {"a": HALF, "b": HALF}
    for job in jobs:
        await assert_each_slot_once(several, job, executor)


async def test_who_is_cut_from_the_database_loses_its_parts_and_comes_back(several):
    await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(3.5)
    several.nodes["a"].cut_database()
    await several.clock.advance(4)
    assert held(several)["b"] == PARTS
    sent = len(several.nodes["a"].link.sent)
    await several.clock.advance(3)
    assert len(several.nodes["a"].link.sent) == sent
    several.nodes["a"].mend_database()
    await several.clock.advance(10)
    assert held(several) == {"a": HALF, "b": HALF}
    assert max(several.executions.values()) == 1
    for job in jobs:
        slots = Counter(run.slot_key for run in await several.rows(job_id=job.id))
        assert set(slots.values()) == {1}


async def test_a_look_that_is_older_than_a_hand_over_is_not_acted_upon(several):
    """What was read before the hand-over was committed still says that the parts are its own."""
    a = several.nodes["a"]
    job = await owned_job(several, "a", schedule=EVERY_SECOND, enabled=True)
    await several.executor()
    await several.start(name="c")
    a.db.read_pause_s = lambda: 0.2
    await several.clock.advance(3)
    for _ in range(200):
        await several.clock.advance(0.01)
        assert set(a.context.held) <= await _rightly(several, "a")
    a.db.read_pause_s = lambda: 0.0
    await several.clock.advance(2)
    assert sorted(held(several).values()) == [42, 43, 43]
    assert {run.slot_key for run in await several.rows(job_id=job.id)}


async def _rightly(world, name):
    epoch = next(row["epoch"] for row in await world.table(node) if row["name"] == name)
    return {row["id"] for row in await world.table(part) if (row["node"], row["epoch"]) == (name, epoch)}


# ------------------------------------------------------------ a lease that was ended by hand


async def test_a_node_whose_lease_is_ended_joins_again(several):
    executor = await several.executor()
    job = await owned_job(several, "a", schedule=EVERY_SECOND, enabled=True)
    await several.clock.advance(3.5)
    a, b = several.nodes["a"], several.nodes["b"]
    before = a.context.lease
    member = b.flow.ownership.roster.members["a"]
    beat = next(row["beat"] for row in await several.table(node) if row["name"] == "a")
    assert await several.do(b.nodes.fence("a", member.epoch, beat))
    await several.clock.advance(5)
    assert a.context.lease.epoch > before.epoch
    assert held(several) == {"a": HALF, "b": HALF}
    await assert_each_slot_once(several, job, executor)


# ------------------------------------------------------------ drain


async def test_a_drained_node_owns_nothing_and_still_helps(several):
    executor = await several.executor()
    a, b = several.nodes["a"], several.nodes["b"]
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND)
    await several.clock.advance(2.5)
    await several.do(b.nodes.drain("a", draining=True))
    await several.clock.advance(2)
    assert held(several) == {"a": 0, "b": PARTS}
    several.pick = lambda _lives: a  # all results, all beats and triggers come to it
    await several.until_final(await several.trigger(jobs[0], by=a))
    await several.clock.advance(3)
    assert held(several) == {"a": 0, "b": PARTS}
    await several.do(b.nodes.drain("a", draining=False))
    await several.clock.advance(2)
    assert held(several) == {"a": HALF, "b": HALF}
    assert set(executor.executions.values()) == {1}
    for job in jobs[1:]:
        await assert_each_slot_once(several, job, executor)


async def test_a_drained_node_takes_over_when_it_is_the_last(several):
    await several.do(several.nodes["b"].nodes.drain("a", draining=True))
    await several.clock.advance(2)
    await several.crash("b")
    await several.clock.advance(3)
    assert held(several) == {"a": PARTS}


# ------------------------------------------------------------ clocks


async def test_a_node_with_a_wrong_clock_gives_its_parts_away(several):
    a = several.nodes["a"]
    a.wall_offset_ms = -2500
    await several.clock.advance(2)
    assert "2.5 s behind the database's" in a.flow.health().problems[0]
    assert held(several) == {"a": HALF, "b": HALF}  # it may pass
    await several.clock.advance(3)
    assert held(several) == {"a": 0, "b": PARTS}
    assert "schedules nothing" in a.flow.health().problems[0]
    a.wall_offset_ms = 100
    await several.clock.advance(6)
    assert a.flow.health().problems == ()
    assert held(several) == {"a": HALF, "b": HALF}


async def test_a_clock_that_is_wrong_for_a_moment_changes_nothing(several):
    several.nodes["a"].wall_offset_ms = 60_000
    await several.clock.advance(1.5)
    several.nodes["a"].wall_offset_ms = 0
    await several.clock.advance(5)
    assert held(several) == {"a": HALF, "b": HALF}
    assert {row["fit"] for row in await several.table(node)} == {1}


async def test_with_a_wrong_clock_the_only_node_goes_on(several):
    await several.stop_node("b")
    await several.clock.advance(1)
    a = several.nodes["a"]
    a.wall_offset_ms = 60_000
    await several.clock.advance(10)
    assert held(several) == {"a": PARTS}
    (problem,) = a.flow.health().problems
    assert "60.0 s ahead of the database's" in problem
    assert "schedules nothing" not in problem


async def test_where_all_clocks_are_wrong_those_that_own_parts_go_on(several):
    """It may be the database's own."""
    for life in several.nodes.values():
        life.wall_offset_ms = 60_000
    await several.clock.advance(10)
    assert sum(held(several).values()) == PARTS


# ------------------------------------------------------------ starting


async def test_a_backlog_that_is_read_for_longer_than_a_lease_loses_no_lease(several):
    """Its beat is raised from the first moment."""
    await several.executor()
    jobs = await jobs_of_both(several, schedule=EVERY_SECOND, misfire_after_s=600)
    await several.clock.advance(2)
    for name in "ab":
        await several.crash(name)
    await several.clock.advance(20)
    life, starting = several.launch("a")
    life.db.read_pause_s = lambda: 0.8
    await several.clock.advance(0.5)
    await several.start(name="b")
    life.db.read_pause_s = lambda: 0.0
    await several.clock.advance_until(starting.done)
    await starting
    await several.clock.advance(12)
    assert counter(several, "leases_lost") == 0
    assert max(several.executions.values()) == 1
    for job in jobs:
        slots = Counter(run.slot_key for run in await several.rows(job_id=job.id))
        due = range(job.anchor_ms + 1000, several.clock.now_ms() - 1000, 1000)
        assert {slots[slot] for slot in due} == {1}
