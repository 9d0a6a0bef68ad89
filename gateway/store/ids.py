"""Ids from blocks (hi/lo): a block is taken in a transaction of its own, ids out of it cost nothing."""

from __future__ import annotations

import asyncio
from collections import deque

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, StoreError
from gateway.core.generations import MAX_INT_ID
from gateway.core.model import FIRST_LONG_ID
from gateway.store.engine import Database
from gateway.store.tables import id_sequence
from gateway.store.transact import transact

FRESH_S = 3600.0
FIRST_INT_ID = 1 << 29


class IdsTaken(Conflict):
    """Ids are taken already."""


class Sequence:
    """One row of `id_sequence`. Implements `core.ports.IdSource`.

    Ids ascend in each process and are unique over all; what a process has not used when it ends is lost.
    """

    def __init__(
        self, db: Database, clock: Clock, name: str, first: int, block: int, last: int | None = None
    ) -> None:
        self._db = db
        self._clock = clock
        self._name = name
        self._first = first
        self._last = last
        self._block = block
        self._kept = block // 10
        self._reserve: deque[range] = deque()
        self._left = 0
        self._refilling = asyncio.Lock()
        self._drawn_at = clock.monotonic()

    def take(self, count: int) -> range | list[int]:
        if count > self._left:
            raise StoreError(f"the reserve of ids {self._name!r} is used up")
        self._left -= count
        head = self._reserve[0] if self._reserve else range(0)
        if count <= len(head):
            self._reserve[0] = head[count:]
            return head[:count]
        ids: list[int] = []
        while len(ids) < count:
            head = self._reserve.popleft()
            wanted = count - len(ids)
            ids.extend(head[:wanted])
            if len(head) > wanted:
                self._reserve.appendleft(head[wanted:])
        return ids

    async def refill(self) -> None:
        """Have at least one block in reserve, none of it older than an hour.

        So ids follow the order in which rows are made, but for little more than that hour: history is looked through
        by id.
        """
        await self._reserve_at_least(self._block)
        if self._clock.monotonic() - self._drawn_at > FRESH_S:
            async with self._refilling:
                ids = await self._next_block(self._block)
                self._reserve = deque([ids])
                self._left = len(ids)
                self._drawn_at = self._clock.monotonic()

    async def draw(self, count: int) -> range | list[int]:
        """As `take`, but gets what is missing first, and leaves something for those who cannot wait."""
        while count + self._kept > self._left:
            await self._reserve_at_least(count + self._kept)
        return self.take(count)

    def drop_reserve(self) -> None:
        """An import has brought ids of its own into the block, and has moved the sequence beyond them."""
        self._reserve.clear()
        self._left = 0

    def used(self) -> float:
        if self._last is None or not self._reserve:
            return 0.0
        return max((self._reserve[-1].stop - self._first) / (self._last - self._first), 0.0)

    async def _reserve_at_least(self, count: int) -> None:
        async with self._refilling:
            missing = count - self._left
            if missing > 0:
                ids = await self._next_block(max(missing, self._block))
                self._reserve.append(ids)
                self._left += len(ids)

    async def _next_block(self, size: int) -> range:
        async def body(conn: AsyncConnection) -> int:
            mine = id_sequence.c.name == self._name
            further = update(id_sequence).where(mine).values(next_id=id_sequence.c.next_id + size)
            if not (await conn.execute(further)).rowcount:
                try:
                    await conn.execute(
                        insert(id_sequence).values(name=self._name, next_id=self._first + size)
                    )
                except IntegrityError:  # another node was faster
                    await conn.execute(further)
            # The row is locked by the update, so this is what it has set.
            end: int = (await conn.execute(select(id_sequence.c.next_id).where(mine))).scalar_one()
            return end

        end = await transact(self._db, self._clock, body)
        if self._last is not None and end > self._last + 1:
            raise StoreError(f"ids {self._name!r} are used up: the next one would be above {self._last}")
        return range(end - size, end)


def run_ids(db: Database, clock: Clock, block: int = 50_000) -> Sequence:
    """Ids of runs: above 2³², which every executor from 2.1.0 on can hold."""
    return Sequence(db, clock, "run", FIRST_LONG_ID, block)


def short_run_ids(db: Database, clock: Clock, block: int = 5_000) -> Sequence:
    """Ids of runs for executors whose log id is an int.

    Above those that an admin before us is likely to have given out: results for them may still be on their way.
    """
    return Sequence(db, clock, "run_int", FIRST_INT_ID, block, MAX_INT_ID)


def job_ids(db: Database, clock: Clock, block: int = 20) -> Sequence:
    return Sequence(db, clock, "job", 1, block)


def app_ids(db: Database, clock: Clock, block: int = 1) -> Sequence:
    return Sequence(db, clock, "app", 1, block)


async def raise_sequence(conn: AsyncConnection, name: str, first: int) -> None:
    """No block that is taken from now on begins below `first`."""
    mine = id_sequence.c.name == name
    if (await conn.execute(select(id_sequence.c.next_id).where(mine))).first() is None:
        try:
            await conn.execute(insert(id_sequence).values(name=name, next_id=first))
        except IntegrityError:  # a node has just taken the first block
            pass
        else:
            return
    await conn.execute(update(id_sequence).where(mine, id_sequence.c.next_id < first).values(next_id=first))
