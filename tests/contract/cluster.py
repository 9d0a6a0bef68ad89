"""What the contract tests of several nodes share: identities, leases, and a clock whose waits are filled by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select, update

from gateway.core.clock import SystemClock
from gateway.core.cluster import Grant, Identity
from gateway.core.model import Counters, NewRun, TriggerKind
from gateway.core.parts import part_of
from gateway.core.states import RunState
from gateway.store.engine import Database
from gateway.store.nodes import Nodes
from gateway.store.tables import node, part
from gateway.store.writer import GroupWriter
from tests.kit.operations import StillClock

LEASE_MS = 2000
SLOT = 1_795_000_010_000


class BusyClock(StillClock):
    """Time that stands still, and something that happens while the program waits."""

    def __init__(self) -> None:
        super().__init__()
        self.slept_s: list[float] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if self.meanwhile is not None:
            await self.meanwhile()
        await super().sleep(seconds)


class Recorded:
    """A database whose commits can be made to fail, and which remembers what it was told."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.is_sqlite, self.for_update = db.is_sqlite, db.for_update
        self.lock_in_share_mode = db.lock_in_share_mode
        self.commits = 0
        self.before_commit: Callable[[Any], Any] | None = None
        self.after_commit: Callable[[Any], Any] | None = None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Any]:
        async with self._db.write() as conn:
            yield conn
            if self.before_commit is not None:
                fault, self.before_commit = self.before_commit, None
                await fault(conn)
        self.commits += 1
        if self.after_commit is not None:
            fault, self.after_commit = self.after_commit, None
            await fault(conn)


def identity(name: str, process: int = 1, **changes: Any) -> Identity:
    """`process` of the data directory that stands behind the name."""
    directory = changes.pop("directory", name)
    instance = directory.ljust(16, "-") + f"{process:016}"
    return Identity(name, instance, f"http://{name}:1", "0.1.0", **changes)


async def join(nodes: Nodes, name: str, process: int = 1, **changes: Any) -> Grant:
    return await nodes.join(identity(name, process, **changes))


async def owners(db: Database) -> dict[tuple[str, int], set[int]]:
    found: dict[tuple[str, int], set[int]] = {}
    async with db.read() as conn:
        for row in await conn.execute(select(part.c.id, part.c.node, part.c.epoch)):
            found.setdefault((row.node, row.epoch), set()).add(row.id)
    return found


async def beat(db: Database, name: str) -> None:
    """A sign of life of that node."""
    async with db.write() as conn:
        await conn.execute(update(node).where(node.c.name == name).values(beat=node.c.beat + 1))


@asynccontextmanager
async def writing(db: Any, **how: Any) -> AsyncIterator[GroupWriter]:
    """A group writer that runs."""
    writer = GroupWriter(db, SystemClock(), Counters(), **how)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(run_id: int, job_id: int = 1, **changes: Any) -> NewRun:
    fields: dict[str, Any] = {
        "id": run_id,
        "namespace_id": 1,
        "job_id": job_id,
        "app_id": 1,
        "part": part_of(job_id),
        "slot_key": SLOT + run_id,
        "due_ms": SLOT + run_id,
        "created_ms": SLOT,
        "trigger_kind": TriggerKind.SCHEDULE,
        "state": RunState.PLANNED,
        "root_id": run_id,
    }
    return NewRun(**(fields | changes))
