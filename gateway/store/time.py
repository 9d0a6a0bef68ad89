"""The time of a database's server, which all nodes on it follow."""

from __future__ import annotations

from sqlalchemy import text

from gateway.core.clock import Clock
from gateway.store.engine import Database
from gateway.store.transact import reading


async def offset_ms(db: Database, clock: Clock) -> float:
    """How far the database's clock is ahead of ours; 0 when the measurement cannot tell (MySQL only).

    A measurement is good to half its round trip, so a smaller offset says nothing.
    """
    async with reading(db) as conn:
        before = clock.monotonic()
        theirs = (await conn.execute(text("SELECT UNIX_TIMESTAMP(NOW(6)) * 1000"))).scalar_one()
        half_ms = (clock.monotonic() - before) * 500
        ours_ms = clock.now_ms() + 0.5 - half_ms
    offset = float(theirs) - ours_ms
    return offset if abs(offset) > half_ms + 1 else 0.0
