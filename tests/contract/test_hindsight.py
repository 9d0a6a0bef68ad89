"""Looking back at an instant finds the same version and rows on every database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert

from gateway.core.acting import acting_for
from gateway.core.errors import NotFound
from gateway.core.model import AddressMode, App, Job, Task
from gateway.core.states import RunState
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.hindsight import HindsightStore
from gateway.store.jobs import JobStore
from gateway.store.tables import run


async def test_the_version_that_was_in_force(db, clock):
    app = await AppStore(db, clock, ids.app_ids(db, clock)).create(
        App(0, 1, "a", "", AddressMode.AUTO, (), 0, 0)
    )
    jobs = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    made = Job(0, 1, app.id, 0, 1, "one", True, {"kind": "api"}, Task("h"))
    (job,) = await jobs.create([made])
    first_ms = clock.ms
    clock.ms += 1000
    with acting_for("bob"):
        await jobs.update(replace(job, name="two"))
    look = HindsightStore(db)
    assert await look.version_at(job.id, first_ms) is None
    one, two = await look.version_at(job.id, first_ms + 1000), await look.version_at(job.id, first_ms + 1001)
    assert (one.job.name, one.number, two.job.name, two.author) == ("one", 1, "two", "bob")
    assert await look.grave(job.id) is None
    with pytest.raises(NotFound):
        await look.version_at(job.id + 1, first_ms)
    with acting_for("carol"):
        await jobs.delete(job.id, keep_history=True)
    assert (await look.version_at(job.id, clock.ms + 1)).job.name == "two"
    grave = await look.grave(job.id)
    assert (grave.name, grave.author, grave.deleted_ms) == ("two", "carol", clock.ms)


async def test_the_row_that_stands_for_a_slot(db):
    def row(run_id, slot, last=0, **more):
        mine = {
            "id": run_id,
            "job_id": 1,
            "slot_key": slot,
            "last_slot_ms": last,
            "state": int(RunState.SKIPPED),
        }
        return {**mine, "shard": 0, "attempt": 1, **more}

    rows = [row(1, 1000), row(2, 2000, 5000), row(3, 3000), row(4, 3000, attempt=2), row(5, -7), row(6, 9000)]
    rows.append(row(7, 4000, job_id=2))
    async with db.write() as conn:
        await conn.execute(insert(run), rows)
    look = HindsightStore(db)
    found = {
        slot: await look.slot_row(1, slot) for slot in (999, 1000, 1500, 2000, 3000, 4000, 5000, 5001, 9000)
    }
    assert {slot: one and one.id for slot, one in found.items()} == {
        999: None, 1000: 1, 1500: None, 2000: 2, 3000: 4, 4000: 2, 5000: 2, 5001: None, 9000: 6
    }  # fmt: skip
    assert [await look.latest_slot(1, at) for at in (999, 1000, 8999, 10**6)] == [None, 1000, 3000, 9000]
