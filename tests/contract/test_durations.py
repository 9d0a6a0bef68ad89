"""How long runs took is told alike on every database."""

from __future__ import annotations

from sqlalchemy import insert

from gateway.core.states import RunState
from gateway.store.durations import DurationStore
from gateway.store.tables import run


async def test_the_mean_of_the_last_twenty_runs_by_job(db):
    rows = [
        {"id": 1000 * job_id + n, "job_id": job_id, "slot_key": n, "shard": shard, "sent_ms": sent_ms}
        | {"finished_ms": 5000 + job_id * n, "state": int(RunState.SUCCEEDED)}
        for job_id in range(1, 121)
        for n in range(25)
        for shard, sent_ms in [(-1 if job_id == 3 else 0, 0 if job_id == 2 else 5000)]
    ]
    async with db.write() as conn:
        await conn.execute(insert(run), rows)
    found = await DurationStore(db).mean_ms([*range(1, 125), 7])
    assert found == {job_id: int(job_id * 14.5) for job_id in range(1, 121) if job_id not in (2, 3)}
    assert await DurationStore(db).mean_ms([]) == {}
