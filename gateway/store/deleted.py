"""The end of a job: what waits ends with it, and a row says what is still to be removed."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.acting import author
from gateway.core.model import Job
from gateway.core.pauses import Scope
from gateway.core.states import WAITING, RunState
from gateway.store import pauses
from gateway.store.tables import deleted_job, job, job_next_fire, run, trigger_url

REASON = "the job was deleted"
_CHUNK = 500


async def bury(
    conn: AsyncConnection, old: Job, now_ms: int, *, keep_history: bool, open_run: int = 0
) -> None:
    """Delete the locked rows of a job. `open_run`: the run of its chain that is open."""
    await conn.execute(delete(job).where(job.c.id == old.id))
    await conn.execute(delete(job_next_fire).where(job_next_fire.c.job_id == old.id))
    await conn.execute(delete(trigger_url).where(trigger_url.c.job_id == old.id))
    await pauses.forget(conn, Scope.JOB, old.id)
    await conn.execute(
        insert(deleted_job).values(
            job_id=old.id,
            namespace_id=old.namespace_id,
            app_id=old.app_id,
            part=old.part,
            name=old.name,
            keep_history=int(keep_history),
            created_ms=old.created_ms,
            deleted_ms=now_ms,
            author=author()[:64],
            chain_run_id=open_run,
        )
    )


async def end_waiting(conn: AsyncConnection, old: Job, now_ms: int) -> None:
    """Runs of the job that wait end as `invalid`; those that an owner claims at this moment are its own to end."""
    waiting = run.c.state.in_(sorted(WAITING))
    mine = select(run.c.id).where(run.c.open_part == old.part, run.c.job_id == old.id, waiting)
    ids = sorted(row.id for row in await conn.execute(mine))
    values = {"state": int(RunState.INVALID), "open_part": None, "finished_ms": now_ms, "reason": REASON}
    for start in range(0, len(ids), _CHUNK):
        some = run.c.id.in_(ids[start : start + _CHUNK])
        await conn.execute(update(run).where(some, waiting).values(values))
