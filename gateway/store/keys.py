"""Idempotency keys: what the answer of an earlier call is made of. The rows are inserted by the writer."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.idempotency import CallRecord, KnownCall
from gateway.store.engine import Database
from gateway.store.tables import idempotency_key as keys
from gateway.store.transact import reading, transact


class KeyStore:
    """Implements `core.idempotency.CallRecords`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def find(self, namespace_id: int, key: str, since_ms: int) -> KnownCall | None:
        query = select(keys.c.run_id, keys.c.request_hash, keys.c.record).where(
            keys.c.namespace_id == namespace_id, keys.c.key_text == key, keys.c.created_ms >= since_ms
        )
        async with reading(self._db) as conn:
            row = (await conn.execute(query)).one_or_none()
        return None if row is None else KnownCall(row.run_id, row.request_hash, CallRecord.of(row.record))

    async def finish(self, namespace_id: int, key: str, first_run_id: int, record: CallRecord) -> None:
        text = record.text()

        async def body(conn: AsyncConnection) -> None:
            await conn.execute(
                update(keys)
                .where(
                    keys.c.namespace_id == namespace_id,
                    keys.c.key_text == key,
                    keys.c.run_id == first_run_id,
                )
                .values(record=text)
            )

        await transact(self._db, self._clock, body)
