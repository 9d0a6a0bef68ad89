"""Ids that imports hold: what an import remembers of a thing counts for that thing alone, also when it is gone.

Nobody else gets such an id. What has got one all the same, before that was so, is known by when it was made.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, delete, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.many import chunks
from gateway.store.tables import app, import_item, import_source, job_version, user_account

APP, JOB, USER = "app", "job", "user"
_ITEM = import_item.c
# Of each kind its key, when it was made here, and which row says so: a job's own dates are those of its source.
_MADE: dict[str, tuple[ColumnElement[int], ColumnElement[int], ColumnElement[Any]]] = {
    APP: (app.c.id, app.c.created_ms, true()),
    JOB: (job_version.c.job_id, job_version.c.created_ms, job_version.c.version == 1),
    USER: (user_account.c.id, user_account.c.created_ms, true()),
}


async def held(conn: AsyncConnection, kind: str, ids: Collection[int]) -> set[int]:
    """Those of these ids that imports hold."""
    found: set[int] = set()
    for some in chunks(sorted(ids)):
        mine = (_ITEM.kind == kind, _ITEM.new_id.in_(some))
        found.update((await conn.execute(select(_ITEM.new_id).where(*mine))).scalars())
    return found


async def let_go(conn: AsyncConnection, kind: str, one: int) -> None:
    """No import remembers it any more: the next one from its source makes it again, and its id is free."""
    await conn.execute(delete(import_item).where(_ITEM.kind == kind, _ITEM.new_id == one))


async def made_at(conn: AsyncConnection, kind: str, ids: Collection[int]) -> dict[int, int]:
    """When each of these was made here, by id; of jobs also of deleted ones while their history is kept."""
    key, at_ms, its_row = _MADE[kind]
    found: dict[int, int] = {}
    for some in chunks(sorted(ids)):
        query = select(key, at_ms).where(key.in_(some), its_row)
        found.update((one, made_ms) for one, made_ms in await conn.execute(query))
    return found


async def made_since(conn: AsyncConnection, source_id: int, kind: str, ids: Collection[int]) -> set[int]:
    """Those of these that were made after the last import from a source: they are none of its own.

    What was made between two imports of it cannot be told from what is its own.
    """
    query = select(import_source.c.imported_ms).where(import_source.c.id == source_id)
    imported_ms = (await conn.execute(query)).scalar() or 0
    return {one for one, at_ms in (await made_at(conn, kind, ids)).items() if at_ms > imported_ms}
