"""Nodes, their leases, and the parts of the jobs they own.

A lease is a row a node: name, epoch, beat. Ownership is always checked by writing: every claim's transaction
first raises the beat at the epoch the node was granted, and one row must match. Who takes a node's parts
raises that node's epoch first, so the old owner's next write matches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import Refused
from gateway.core.ports import Lease
from gateway.store.engine import Database
from gateway.store.tables import node, part
from gateway.store.transact import transact

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease, and when the previous life of this database's owner wrote its last beat (0: never)."""

    lease: Lease
    seen_ms: int


class Nodes:
    def __init__(self, db: Database, clock: Clock, lease_ms: int) -> None:
        self._db = db
        self._clock = clock
        self._lease_ms = lease_ms

    async def acquire(self, name: str) -> Grant:
        """Own all parts. Raises `Refused` while another node is alive on this database.

        The caller holds the lock of the data directory that `name` belongs to, so a lease of that name is its own.
        """
        fenced: list[tuple[str, int, int]] = []
        for other, epoch, beat, address in await self._other_owners(name):
            log.info("waiting_for_lease", node=other, seconds=self._lease_ms / 1000)
            await self._clock.sleep(self._lease_ms / 1000)
            if await self._beat(other) != (epoch, beat):
                raise Refused(
                    f"node {other!r} ({address or 'address unknown'}) is alive on this database; this version runs "
                    "one node a database: stop that one first, or use another database"
                )
            fenced.append((other, epoch, beat))
        return await transact(self._db, self._clock, lambda conn: self._take(conn, name, fenced))

    async def release(self, lease: Lease) -> None:
        """Hand all parts back: the next node need not wait for the lease to run out."""

        async def body(conn: AsyncConnection) -> None:
            mine = (part.c.node == lease.node) & (part.c.epoch == lease.epoch)
            await conn.execute(update(part).where(mine).values(node="", epoch=0))

        await transact(self._db, self._clock, body)

    async def offset_ms(self) -> float:
        """How far the database's clock is ahead of ours; 0 when the measurement cannot tell (MySQL only).

        A measurement is good to half its round trip, so a smaller offset says nothing.
        """
        async with self._db.read() as conn:
            before = self._clock.monotonic()
            theirs = (await conn.execute(text("SELECT UNIX_TIMESTAMP(NOW(6)) * 1000"))).scalar_one()
            half_ms = (self._clock.monotonic() - before) * 500
            ours_ms = self._clock.now_ms() + 0.5 - half_ms
        offset_ms = float(theirs) - ours_ms
        return offset_ms if abs(offset_ms) > half_ms + 1 else 0.0

    async def _other_owners(self, name: str) -> list[tuple[str, int, int, str]]:
        owners = select(part.c.node).where(part.c.node != "", part.c.node != name).distinct()
        query = select(node.c.name, node.c.epoch, node.c.beat, node.c.control_address).where(
            node.c.name.in_(owners)
        )
        async with self._db.read() as conn:
            return [(row[0], row[1], row[2], row[3]) for row in await conn.execute(query)]

    async def _beat(self, name: str) -> tuple[int, int] | None:
        async with self._db.read() as conn:
            row = (await conn.execute(select(node.c.epoch, node.c.beat).where(node.c.name == name))).first()
        return (row[0], row[1]) if row else None

    async def _take(self, conn: AsyncConnection, name: str, fenced: list[tuple[str, int, int]]) -> Grant:
        # Locked: of two nodes that start at once on a free database, the second one finds the first.
        owned = await conn.execute(select(part.c.node).order_by(part.c.id).with_for_update())
        known = {"", name, *(other for other, _, _ in fenced)}
        if strangers := {row.node for row in owned} - known:
            raise Refused(
                f"node {min(strangers)!r} has just taken this database; this version runs one node a database"
            )
        seen_ms = (await conn.execute(select(func.max(node.c.seen_ms)))).scalar() or 0
        for other, epoch, beat in fenced:
            unmoved = (node.c.name == other) & (node.c.epoch == epoch) & (node.c.beat == beat)
            if (await conn.execute(update(node).where(unmoved).values(epoch=epoch + 1))).rowcount != 1:
                raise Refused(f"node {other!r} came back to life while it was being replaced; try again")
        now_ms = self._clock.now_ms()
        mine = node.c.name == name
        renewed = update(node).where(mine).values(epoch=node.c.epoch + 1, started_ms=now_ms, seen_ms=now_ms)
        if (await conn.execute(renewed)).rowcount != 1:
            await conn.execute(insert(node).values(name=name, epoch=1, started_ms=now_ms, seen_ms=now_ms))
        epoch = (await conn.execute(select(node.c.epoch).where(mine))).scalar_one()
        await conn.execute(update(part).values(node=name, epoch=epoch))
        return Grant(Lease(name, epoch), seen_ms)
