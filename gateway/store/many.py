"""Many rows at once, as many as one statement takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Table, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

_CHUNK = 500


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


async def update_each(conn: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Each row by its key. Each of these has the columns of the primary key, which say whose row it is, and the same others."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    others = [name for name in rows[0] if name not in keys]
    statement = (
        update(table)
        .where(*(table.c[name] == bindparam(f"key_{name}") for name in keys))
        .values({name: bindparam(f"new_{name}") for name in others})
    )
    for some in chunks(rows):
        await conn.execute(
            statement,
            [
                {f"key_{name}": row[name] for name in keys} | {f"new_{name}": row[name] for name in others}
                for row in some
            ],
        )
