"""The store's own SQL on a real SQLite file, without threads: what it does between two awaits is deterministic."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymysql.err import OperationalError
from sqlalchemy import Connection, create_engine, event, insert
from sqlalchemy.pool import StaticPool

from gateway.core.clock import Clock
from gateway.store.nodes import part_rows
from gateway.store.tables import metadata, part

Fault = str  # "deadlock", "gone_before_commit", "gone_after_commit", "refused_at_begin"


class InlineDatabase:
    """Stands in for `store.engine.Database`. Transactions exclude each other, readers see what is committed.

    `next_fault` is asked once a transaction; `pause` is awaited at its begin and before its commit. A database
    that was switched `off` answers nobody any more: the process that used it is gone.
    """

    is_sqlite = True
    for_update = ""
    lock_in_share_mode = ""

    def __init__(self, path: Path, clock: Clock, *, beside: InlineDatabase | None = None) -> None:
        """`beside` another one: the same connections, with faults of its own."""
        self._clock = clock
        self._off = False
        if beside is not None:
            self._lock, self._reader, self._writer = beside._lock, beside._reader, beside._writer
        else:
            self._lock = asyncio.Lock()
            self._reader, self._writer = _open(path, "AUTOCOMMIT"), _open(path, None)
        self.next_fault: Callable[[], Fault | None] = lambda: None
        self.pause_s: Callable[[], float] = lambda: 0.0
        self.commits = 0
        self.up = asyncio.Event()
        self.up.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[InlineConnection]:
        await self._allowed()
        yield InlineConnection(self._reader)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[InlineConnection]:
        await self._allowed()
        async with self._lock:
            fault = self.next_fault()
            if fault == "refused_at_begin":
                raise OperationalError(2003, "Can't connect to MySQL server")
            await self._clock.sleep(self.pause_s())
            with self._writer.begin() as transaction:
                yield InlineConnection(self._writer)
                await self._clock.sleep(self.pause_s())
                await self.up.wait()
                if fault == "deadlock":
                    raise OperationalError(1213, "Deadlock found when trying to get lock")
                if fault == "gone_before_commit":
                    raise OperationalError(2013, "Lost connection to MySQL server during query")
                transaction.commit()
                self.commits += 1
            if fault == "gone_after_commit":
                raise OperationalError(2013, "Lost connection to MySQL server during query")

    async def _allowed(self) -> None:
        if self._off:
            await asyncio.Event().wait()
        await self.up.wait()

    def off(self) -> None:
        self._off = True

    def close(self) -> None:
        for connection in (self._reader, self._writer):
            connection.close()
            connection.engine.dispose()


class InlineConnection:
    """As much of an `AsyncConnection` as the store uses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    async def run_sync(self, call: Callable[[Connection], Any]) -> Any:
        return call(self._connection)

    async def get_raw_connection(self) -> Any:
        return self

    @property
    def driver_connection(self) -> InlineConnection:
        return self

    def cursor(self) -> InlineCursor:
        return InlineCursor(self._connection.connection.dbapi_connection.cursor())


class InlineCursor:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def execute(self, sql: str) -> None:
        self._cursor.execute(sql)

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount


def _open(path: Path, isolation_level: str | None) -> Connection:
    options = {"isolation_level": isolation_level} if isolation_level else {}
    engine = create_engine(f"sqlite:///{path}", poolclass=StaticPool, **options)

    def connected(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "busy_timeout=0"):
            dbapi.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connected)
    if isolation_level is None:
        event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine.connect()


_template: list[Path] = []


def new_database_file(directory: Path) -> Path:
    """An empty database with all tables, copied from one made once."""
    if not _template:
        made = Path(tempfile.mkdtemp(prefix="gateway-template-")) / "gateway.db"
        engine = create_engine(f"sqlite:///{made}")
        metadata.create_all(engine)
        with engine.begin() as conn:
            conn.execute(insert(part), part_rows())
        engine.dispose()
        _template.append(made)
    return Path(shutil.copy(_template[0], directory / "gateway.db"))
