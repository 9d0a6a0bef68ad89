"""The database: engines, transactions, and what differs between SQLite and MySQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.core.errors import InvalidValue

DRIVERS = {"sqlite": "aiosqlite", "mysql": "aiomysql", "mariadb": "aiomysql"}
_SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_LOCK_TIMEOUT_S = 5
_IDLE_S = 2

# Deadlock, lock timeout; Group Replication's rollback at the commit; TiDB's write conflict, schema change and retryable commit; what a cut connection says.
_REPEATABLE = {1213, 1205, 3101, 8002, 8028, 9007, 1047}
# Missing value, row or packet too large, out of range, wrong text, no such conversion, and a statement that is none.
_REFUSED = {1048, 1064, 1118, 1153, 1264, 1265, 1267, 1292, 1366, 1406, 3988}
_FULL = {1021, 1114}
_FULL_WORDS = ("database or disk is full", "No space left on device", "Errcode: 28", "errno: 28")
# What stands beside a database in WAL mode cannot be made larger.
_FULL_NAMES = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}
_GONE = {2000, 2003, 2006, 2013, 2014, 2055, 1053, 1152, 1184, 1927, 1317, 1290, 1040, 1129, 1203, 1226, 4031}


@dataclass(frozen=True, slots=True)
class Database:
    """Two engines over one database: `reader` autocommits, `writer` opens transactions.

    SQLite has a single writer connection (BEGIN IMMEDIATE); on MySQL both come from one kind of pool.
    """

    url: URL
    reader: AsyncEngine
    writer: AsyncEngine

    @property
    def is_sqlite(self) -> bool:
        return self.writer.dialect.name == "sqlite"

    @property
    def for_update(self) -> str:
        """The lock clause of a reading that a write follows; SQLite's writer is alone anyway."""
        return "" if self.is_sqlite else " FOR UPDATE"

    @property
    def lock_in_share_mode(self) -> str:
        """The lock clause of a reading that must stay true until the transaction ends. MySQL 5.7 has no FOR SHARE."""
        return "" if self.is_sqlite else " LOCK IN SHARE MODE"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self.reader.connect() as conn:
            yield conn

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when it raises."""
        async with self.writer.begin() as conn:
            yield conn

    async def close(self) -> None:
        await self.reader.dispose()
        await self.writer.dispose()


def patience(seconds: int) -> str:
    """A statement after which a transaction of this connection may stand still for longer: one of very many rows, whose
    client has to share its cores.
    """
    return (
        f"SET SESSION innodb_lock_wait_timeout={_LOCK_TIMEOUT_S}"
        f"/*M!100300 , idle_transaction_timeout={seconds} *//*!50700 , wait_timeout={seconds} */"
    )


def database_url(value: str) -> URL:
    """Check a database URL and fill in the driver. Raises `InvalidValue` for `database_url`."""
    expected = "sqlite+aiosqlite:///PATH or mysql+aiomysql://USER:PASSWORD@HOST:PORT/DATABASE"
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise InvalidValue("database_url", _masked(value), expected) from None
    backend, _, driver = url.drivername.partition("+")
    if backend not in DRIVERS or driver not in (
        "",
        DRIVERS[backend],
        "asyncmy" if backend != "sqlite" else "",
    ):
        raise InvalidValue("database_url", url.render_as_string(hide_password=True), expected)
    if not url.database:
        raise InvalidValue("database_url", url.render_as_string(hide_password=True), expected)
    name = "sqlite" if backend == "sqlite" else "mysql"
    return url.set(drivername=f"{name}+{driver or DRIVERS[backend]}")


def _masked(value: str) -> str:
    head, at, tail = value.rpartition("@")
    return f"***@{tail}" if at and head else value


def open_database(url: URL, *, pool_size: int = 10) -> Database:
    """Engines for a checked URL. Nothing is connected yet."""
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url)
    options: dict[str, Any] = {
        "isolation_level": "READ COMMITTED",
        "pool_size": pool_size,
        "max_overflow": 10,
        "pool_recycle": 1800,
        "pool_pre_ping": True,
        "pool_use_lifo": True,  # so that the connections that are not needed are those that age
        "connect_args": {
            "charset": "utf8mb4",
            "connect_timeout": 5,
            # In UTC, because in the hour that a time zone repeats UNIX_TIMESTAMP(NOW()) is an hour off.
            # A node that stands still in a transaction must not hold the locks that its heirs need: MariaDB ends
            # idle transactions by themselves, MySQL only idle connections (which the pool then replaces).
            "init_command": (
                f"SET SESSION sql_mode='{_SQL_MODE}', time_zone='+00:00', "
                f"innodb_lock_wait_timeout={_LOCK_TIMEOUT_S}"
                f"/*M!100300 , idle_transaction_timeout={_IDLE_S} *//*!50700 , wait_timeout={_IDLE_S} */"
            ),
        },
    }
    engine = create_async_engine(url, **options)
    return Database(url, engine.execution_options(isolation_level="AUTOCOMMIT"), engine)


def _open_sqlite(url: URL) -> Database:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=60)
    reader = create_async_engine(url, pool_size=4, max_overflow=4, isolation_level="AUTOCOMMIT")

    def connected(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "cache_size=-64000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(writer.sync_engine, "connect", connected)
    event.listen(reader.sync_engine, "connect", connected)
    event.listen(writer.sync_engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE"))
    return Database(url, reader, writer)


def error_code(error: BaseException) -> int | None:
    """The server's number for an error of either driver, wrapped by SQLAlchemy or not."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    args = getattr(cause, "args", ())
    return args[0] if args and isinstance(args[0], int) else None


def is_from_database(error: BaseException) -> bool:
    """Whether SQLAlchemy or a driver raised it; finished text goes to the driver's own cursor."""
    module = error.__class__.__module__
    return isinstance(error, SQLAlchemyError) or module.startswith(("pymysql", "asyncmy", "sqlite3"))


def is_repeatable(error: BaseException) -> bool:
    """Whether the whole transaction may simply be repeated: nothing of it has happened."""
    if is_from_database(error):
        return error_code(error) in _REPEATABLE or "database is locked" in str(error)
    return False


def is_full(error: BaseException) -> bool:
    """Whether there is no room left, for rows or for what a statement needs beside them."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if getattr(cause, "sqlite_errorname", None) in _FULL_NAMES:
        return True
    return error_code(error) in _FULL or any(words in str(error) for words in _FULL_WORDS)


def is_conflict(error: BaseException) -> bool:
    """Whether a constraint was violated: a key that exists, a value that is missing."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause.__class__.__name__ == "IntegrityError"


def is_refused(error: BaseException) -> bool:
    """Whether the database will never take this, however often it is repeated: the data is at fault."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (
        isinstance(cause, (UnicodeError, OverflowError))
        or cause.__class__.__name__ == "DataError"
        or error_code(error) in _REFUSED
    )


def is_gone(error: BaseException) -> bool:
    """Whether the connection or the server is gone: the outcome of a commit under way is unknown."""
    if isinstance(error, (OSError, EOFError, TimeoutError)):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    name = error.__class__.__name__
    if name in ("InterfaceError", "ResourceClosedError", "InvalidStateError"):
        return True
    return error_code(error) in _GONE


__all__ = [
    "Database",
    "SQLAlchemyError",
    "database_url",
    "error_code",
    "is_conflict",
    "is_from_database",
    "is_full",
    "is_gone",
    "is_refused",
    "is_repeatable",
    "open_database",
    "patience",
]
