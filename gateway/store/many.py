"""Many rows changed at once, each by its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

_CHUNK = 500


async def update_each(conn: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Each of these has the columns of the primary key, which say whose row it is, and the same others."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    others = [name for name in rows[0] if name not in keys]
    statement = (
        update(table)
        .where(*(table.c[name] == bindparam(f"key_{name}") for name in keys))
        .values({name: bindparam(f"new_{name}") for name in others})
    )
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        await conn.execute(
            statement,
            [
                {f"key_{name}": row[name] for name in keys} | {f"new_{name}": row[name] for name in others}
                for row in some
            ],
        )
