"""Runs run again: once, however many try at the same moment; and the lists of failures."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from gateway.core.clock import SystemClock
from gateway.core.listing import RunFilter
from gateway.core.model import FIRST_LONG_ID, Counters, NewRun, Route, TriggerKind
from gateway.core.reruns import Rerun, rerun_move, rerun_row
from gateway.core.retry import FAILURES
from gateway.core.shards import Shard, is_shard, shard_rows
from gateway.core.states import RunState
from gateway.core.timing import PLAIN
from gateway.core.work import Work
from gateway.store.runs import RunStore
from gateway.store.tables import run
from gateway.store.writer import GroupWriter

JOB = SimpleNamespace(
    id=3, namespace_id=1, app_id=1, part=7, priority=5, route=Route.ROUND, shards=(), timing=PLAIN
)


def a_run(number, state=RunState.FAILED, **fields):
    run_id = FIRST_LONG_ID + number
    row = NewRun(run_id, 1, 3, 1, 7, -run_id, 5, 5, TriggerKind.API, state, root_id=run_id)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


@pytest.fixture
def runs(db, clock):
    return RunStore(db, clock)


@pytest.fixture
async def writers(db):
    """Three at once, as on three nodes."""
    found = [GroupWriter(db, SystemClock(), Counters()) for _ in range(3)]
    tasks = [asyncio.create_task(writer.run()) for writer in found]
    yield found
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_failure_is_run_again_once_by_whoever_is_first(writers, runs, rows):
    failed = [a_run(n) for n in range(20)]
    await writers[0].write(Work(inserts=failed))
    found = await runs.get_many([one.id for one in failed])

    async def again(writer, turn):
        moves = [
            rerun_move(one, rerun_row(one, JOB, Rerun(), one.id + 1000 * turn, 9, "ann"), one.id * 7 + turn)
            for one in found.values()
        ]
        return (await writer.write(Work(moves=moves))).lost_moves

    lost = await asyncio.gather(*(again(writer, turn) for turn, writer in enumerate(writers, 1)))
    for one in failed:
        assert sum(one.id not in ids for ids in lost) == 1
    old = {row["id"]: row for row in await rows(run) if row["state"] == RunState.FAILED}
    new = {row["id"]: row for row in await rows(run) if row["state"] == RunState.QUEUED}
    assert len(new) == 20
    assert {row["rerun_id"] for row in old.values()} == set(new)
    assert {(row["parent_id"], row["author"], row["open_part"]) for row in new.values()} == {
        (one.id, "ann", 7) for one in failed
    }


async def test_lists_of_failures_have_no_shards(writers, runs):
    parent = a_run(1, shard=-1, shard_total=3)
    shards = shard_rows(parent, [Shard("eu"), Shard("us")], (parent.id + 1, parent.id + 2), 5, total=2)
    (single,) = shard_rows(a_run(10, shard=-1), [Shard()], (FIRST_LONG_ID + 11,), 5, total=1)
    child = a_run(20, parent_id=parent.id)
    rows = [parent, *shards, single, child, a_run(30, RunState.SUCCEEDED)]
    for row in (*shards, single):
        row.state = RunState.LOST
    await writers[0].write(Work(inserts=rows))
    wanted = RunFilter(states=FAILURES, no_shards=True)
    found = await runs.page(wanted, cursor=None, limit=50)
    assert [one.id for one in found.items] == [child.id, parent.id]
    # The query and the function say the same of a shard.
    assert {one.id for one in rows if one.state in FAILURES and not is_shard(one)} == {child.id, parent.id}
    tally = await runs.tally((await runs.get_many([parent.id]))[parent.id])
    assert (tally.total, tally.failed) == (2, 2)
