"""Results for runs that were never sent from here: kept, so that nobody wonders where they went."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.model import ExecutorResult
from gateway.core.policy import clip
from gateway.store.engine import Database
from gateway.store.tables import foreign_result
from gateway.store.transact import transact

_MAX_ID = (1 << 63) - 1


class ForeignStore:
    """Implements `core.ports.ForeignResults`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def keep(self, results: Sequence[tuple[ExecutorResult, str]], client: str) -> None:
        rows = [
            {
                "log_id": max(-_MAX_ID, min(result.run_id, _MAX_ID)),
                "log_time_ms": max(0, min(result.log_time_ms or 0, _MAX_ID)),
                "code": max(-(1 << 31), min(result.code, (1 << 31) - 1)),
                "message": clip(result.message),
                "client": client[:128],
                "why": why[:128],
                "received_ms": result.received_ms,
            }
            for result, why in results
        ]

        async def body(conn: AsyncConnection) -> None:
            await conn.execute(insert(foreign_result), rows)

        await transact(self._db, self._clock, body)
