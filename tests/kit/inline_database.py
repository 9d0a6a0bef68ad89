"""The store's own SQL on a real SQLite file, without threads: what it does between two awaits is deterministic.

`InlineServer` is the database as all its clients share it, `InlineDatabase` one client's way to it, with faults.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymysql.err import OperationalError
from sqlalchemy import Connection, Engine, create_engine, event, insert
from sqlalchemy.exc import OperationalError as WrappedError
from sqlalchemy.pool import NullPool

from gateway.store.nodes import part_rows
from gateway.store.tables import part, revision
from tests.kit.blank_database import blank
from tests.kit.manual_clock import ManualClock
from tests.kit.virtual_loop import Process

Fault = str
"""Of a transaction: "deadlock", "lock_timeout", "refused_at_begin", or a connection that is lost: "gone_before_commit",
"gone_after_commit", and "gone_while_committing" (the server commits a moment after the client has given up)."""

IDLE_S = 2.0
LOCK_TIMEOUT_S = 5.0
LATE_S = 0.2


class Session:
    """A transaction as the server sees it, from the moment it has its turn."""

    def __init__(self, process: Process | None) -> None:
        self.process = process
        self.is_open = True
        self.is_left = False  # its client has gone, and it will be committed all the same
        self.transaction: Any = None


class InlineServer:
    """One SQLite file. Transactions exclude each other, readers see what is committed."""

    def __init__(self, path: Path) -> None:
        self.reader, self.writer = _open(path, "AUTOCOMMIT"), _open(path, None)
        self._owner: Session | None = None
        self._waiting: deque[tuple[Session, asyncio.Future[None]]] = deque()

    async def begin(self) -> Session:
        """Wait for the turn. A process that stands still has not sent its request yet, so it is passed over."""
        session = Session(Process.current())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((session, turn))
        self.next_turn()
        try:
            await turn
        except asyncio.CancelledError:
            self.end(session)
            raise
        return session

    def next_turn(self) -> None:
        if self._owner is not None:
            return
        for entry in tuple(self._waiting):
            session, turn = entry
            if turn.cancelled():
                self._waiting.remove(entry)
            elif session.process is None or not session.process.frozen:
                self._waiting.remove(entry)
                self._owner = session
                turn.set_result(None)
                return

    def open(self, session: Session) -> None:
        """Let its first statement in. Raises what a client of a closed connection sees."""
        self.check(session)
        session.transaction = self.writer.begin()

    @staticmethod
    def check(session: Session) -> None:
        if not session.is_open:
            raise _loss()

    def end(self, session: Session, *, commit: bool = False) -> None:
        """Commit or roll back; nothing if it has ended before."""
        session.is_open = False
        if self._owner is not session:
            return
        if session.transaction is not None:
            session.transaction.commit() if commit else session.transaction.rollback()
        self._owner = None
        self.next_turn()

    def leave(self, session: Session) -> Callable[[], None]:
        """What commits it later."""
        session.is_left = True
        return lambda: self.end(session, commit=True)

    def end_idle(self, process: Process) -> None:
        """What the server does when a client says nothing for `IDLE_S` in the middle of a transaction."""
        if self._owner is not None and self._owner.process is process:
            self.end(self._owner)

    # ------------------------------------------------------------ looks of the test

    def is_held_by(self, process: Process) -> bool:
        """Whether a transaction of this process is open."""
        return self._owner is not None and self._owner.process is process

    def owner(self, part: int) -> str:
        """Who rightly holds this part now; empty while nobody does."""
        found = self._look(
            "SELECT n.name FROM part p JOIN node n ON n.name = p.node AND n.epoch = p.epoch "
            f"WHERE p.id = {part} AND n.live = 1"
        )
        return found[0][0] if found else ""

    def open_runs(self) -> list[tuple[int, int]]:
        """Id and job of each."""
        return self._look("SELECT id, job_id FROM run WHERE open_part IS NOT NULL ORDER BY id")

    def next_due(self, job_id: int, now_ms: int) -> int | None:
        """When the next open run of this job is due."""
        query = "SELECT MIN(due_ms) FROM run WHERE open_part IS NOT NULL"
        return self._look(f"{query} AND job_id = {job_id} AND due_ms > {now_ms}")[0][0]

    def _look(self, sql: str) -> list[Any]:
        return self.reader.connection.dbapi_connection.execute(sql).fetchall()

    def close(self) -> None:
        if self._owner is not None:
            self.end(self._owner)
        self.reader.close()
        self.writer.close()


class InlineDatabase:
    """Stands in for `store.engine.Database`.

    `next_fault` is asked once a transaction; `pause_s` is awaited at its begin and before its commit, `read_pause_s`
    before and after a query. While `up` is cleared nothing comes through. One that was switched `off` answers nobody
    any more: the process that used it is gone.
    """

    is_sqlite = True
    for_update = ""
    lock_in_share_mode = ""

    def __init__(self, server: InlineServer, clock: ManualClock) -> None:
        self._server = server
        self._clock = clock
        self._off = False
        self.next_fault: Callable[[], Fault | None] = lambda: None
        self.pause_s: Callable[[], float] = lambda: 0.0
        self.read_pause_s: Callable[[], float] = lambda: 0.0
        self.refuses = False
        self.commits = 0
        self.up = asyncio.Event()
        self.up.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[InlineConnection]:
        await self._allowed()
        await self._pause(self.read_pause_s())
        if self.refuses:
            raise WrappedError("SELECT", {}, _refusal())
        yield InlineConnection(self._server.reader)
        await self._allowed()
        await self._pause(self.read_pause_s())

    @asynccontextmanager
    async def write(self) -> AsyncIterator[InlineConnection]:
        server = self._server
        await self._allowed()
        fault = self.next_fault()
        if fault == "refused_at_begin" or self.refuses:
            raise _refusal()
        if fault == "lock_timeout":
            await self._clock.sleep(LOCK_TIMEOUT_S)
            raise OperationalError(1205, "Lock wait timeout exceeded; try restarting transaction")
        session = await server.begin()
        try:
            await self._pause(self.pause_s())
            server.open(session)
            yield InlineConnection(server.writer)
            await self._pause(self.pause_s())
            await self._allowed()
            server.check(session)
            if fault == "deadlock":
                raise OperationalError(1213, "Deadlock found when trying to get lock")
            if fault == "gone_while_committing":
                self._clock.call_later(LATE_S, server.leave(session))
            if fault in ("gone_before_commit", "gone_while_committing"):
                raise _loss()
            server.end(session, commit=True)
            self.commits += 1
        finally:
            if not session.is_left:
                server.end(session)
        await self._pause(self.pause_s())
        await self._allowed()
        if fault == "gone_after_commit":
            raise _loss()

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def _allowed(self) -> None:
        if self._off:
            await asyncio.Event().wait()
        await self.up.wait()

    def off(self) -> None:
        self._off = True


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


def _refusal() -> OperationalError:
    return OperationalError(2003, "Can't connect to MySQL server")


def _loss() -> OperationalError:
    return OperationalError(2013, "Lost connection to MySQL server during query")


_opening: list[Path] = []


@functools.cache
def _engine(isolation_level: str | None) -> Engine:
    """One for all files, so that a statement is compiled once and not once a test."""
    options = {"isolation_level": isolation_level} if isolation_level else {}
    engine = create_engine(
        "sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(_opening[0]), **options
    )

    def connected(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "busy_timeout=0"):
            dbapi.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connected)
    if isolation_level is None:
        event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _open(path: Path, isolation_level: str | None) -> Connection:
    _opening[:] = [path]
    return _engine(isolation_level).connect()


_template: list[Path] = []


def new_database_file(directory: Path) -> Path:
    """An empty database with all tables, copied from one made once."""
    if not _template:
        made = Path(tempfile.mkdtemp(prefix="gateway-template-")) / "gateway.db"
        made.write_bytes(blank())
        engine = create_engine(f"sqlite:///{made}")
        with engine.begin() as conn:
            conn.execute(insert(part), part_rows())
            conn.execute(insert(revision), [{"name": name, "n": 0} for name in ("app", "executor", "job")])
        engine.dispose()
        _template.append(made)
    return Path(shutil.copy(_template[0], directory / "gateway.db"))
