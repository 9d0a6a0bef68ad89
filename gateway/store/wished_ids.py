"""Ids that new jobs are to have, as they had them somewhere else: kept where nobody has or had them here."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.store.engine import Database
from gateway.store.held_ids import JOB, held
from gateway.store.ids import Sequence as IdSequence
from gateway.store.ids import raise_sequence
from gateway.store.tables import deleted_job, job
from gateway.store.transact import reading, transact

SEQUENCE = "job"
_CHUNK = 500


async def ids_for(db: Database, clock: Clock, ids: IdSequence, wishes: Sequence[int | None]) -> list[int]:
    """An id for each: the wish, or the next of the sequence, which from now on gives out none below the wishes.

    Somebody may be faster: then inserting raises `IdsTaken`, as for ids of an import.
    """
    wanted = sorted({one for one in wishes if one is not None})
    async with reading(db) as conn:
        taken = await _taken(conn, wanted)
    free = set(wanted) - taken
    if free:

        async def body(conn: AsyncConnection) -> None:
            await raise_sequence(conn, SEQUENCE, max(free) + 1)

        await transact(db, clock, body)
        ids.drop_reserve()
    found: list[int] = []
    for wish in wishes:
        if wish in free:
            free.discard(wish)
            found.append(wish or 0)
        else:
            found.append(0)
    others = iter(await ids.draw(found.count(0)))
    return [one or next(others) for one in found]


async def _taken(conn: AsyncConnection, wanted: Sequence[int]) -> set[int]:
    """Also by jobs that are gone, while their history is kept, or an import remembers them."""
    found = await held(conn, JOB, wanted)
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        for key in (job.c.id, deleted_job.c.job_id):
            found.update((await conn.execute(select(key).where(key.in_(some)))).scalars())
    return found
