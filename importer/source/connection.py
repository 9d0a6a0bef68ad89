"""One connection to the source, and its driver's errors in words that tell what to do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiomysql
import pymysql.err

from gateway.core.errors import InvalidValue
from importer.errors import SourceError, SourceLost
from importer.source.url import PASSWORD_VARIABLE, SourceUrl

Row = tuple[Any, ...]

_NO_DATABASE = 1049
_NO_ACCESS_TO_DATABASE = 1044
_WRONG_PASSWORD = {1045, 1698}
_TLS_ONLY = 3159
_NO_RIGHT = {1142, 1143}
_NO_TABLE = 1146
_NO_COLUMN = 1054
_CHANGED = 1412
_GONE = {2006, 2013, 2014, 2055, 1053, 1152, 1184, 1927, 1317, 4031, 0}
_SYNTAX = 1064
_UNKNOWN_VARIABLE = 1193
_TOO_MANY = {1040, 1203, 1226}
_FEW = 50


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]  # the driver has no types
    async def _show_warnings(self, conn: Any) -> None:
        """What a server has to say about reading is nothing for Python's warnings."""


class _Stream(aiomysql.SSCursor):  # type: ignore[misc]
    """Takes rows as they come."""

    async def _show_warnings(self, conn: Any) -> None:
        """As above."""


class Connection:
    """Statements one at a time; opened when needed, and again after it was lost outside of a snapshot."""

    def __init__(self, url: SourceUrl, *, timeout_s: float, connect_timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._lock = asyncio.Lock()
        self._raw: Any = None

    @property
    def id(self) -> int:
        """What the server calls this connection; 0 while there is none."""
        return 0 if self._raw is None else int(self._raw.thread_id())

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Nobody else's statements come between those of the block."""
        async with self._lock:
            await self._ensure_open()
            yield

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """All that is read in the block stood in the database at one instant. Nothing is locked, nothing written."""
        async with self.exclusive():
            await self.rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            try:
                await self.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            except NoSuchStatement:  # of those that only speak the protocol
                await self.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            try:
                yield
            finally:
                if self._raw is not None:
                    with contextlib.suppress(SourceError):  # it is lost: what was read was read
                        await self.rows("ROLLBACK")

    async def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows that a statement gives."""
        assert self._raw is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                cursor = await self._raw.cursor(_Cursor)
                await cursor.execute(sql, tuple(values) or None)
                found: Sequence[Row] = await cursor.fetchall() if cursor.description else ()
                await cursor.close()
        except BaseException as error:
            raise self._failed(error) from None
        return list(found)

    async def each(self, sql: str, values: Sequence[object], take: Callable[[Row], None]) -> None:
        """Give all rows to `take`, with the memory of a few. If it raises, the connection is gone: a server that is sending
        cannot be stopped otherwise.
        """
        assert self._raw is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                cursor = await self._raw.cursor(_Stream)
                await cursor.execute(sql, tuple(values) or None)
        except BaseException as error:
            raise self._failed(error) from None
        is_whole = False
        try:
            while rows := await self._some(cursor):
                for row in rows:
                    take(row)
            await cursor.close()
            is_whole = True
        finally:
            if not is_whole:
                self._drop()

    async def _some(self, cursor: Any) -> list[Row]:
        try:
            async with asyncio.timeout(self._timeout_s):
                rows: list[Row] = await cursor.fetchmany(_FEW)
        except BaseException as error:
            raise self._failed(error) from None
        return rows

    def _failed(self, error: BaseException) -> BaseException:
        """What is to be raised for it; the connection is dropped, unless the server has but refused a statement."""
        if not isinstance(error, pymysql.err.MySQLError) or _code(error) in _GONE or self._raw.closed:
            self._drop()
        return self._told(error) if isinstance(error, Exception) else error

    async def close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is None:
            return
        try:
            async with asyncio.timeout(2):
                await raw.ensure_closed()
        except Exception:
            raw.close()

    def _drop(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    async def _ensure_open(self) -> None:
        if self._raw is not None:
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    await self._raw.ping(reconnect=False)
            except BaseException as error:
                self._drop()
                if not isinstance(error, Exception):
                    raise
        if self._raw is None:
            await self._open()

    async def _open(self) -> None:
        url = self._url
        context = _tls(url)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                self._raw = await aiomysql.connect(
                    host=url.host,
                    port=url.port,
                    unix_socket=url.socket or None,
                    user=url.user,
                    password=url.password,
                    db=url.database,
                    charset="utf8mb4",
                    autocommit=True,
                    ssl=context,
                )
        except Exception as error:
            raise self._not_opened(error) from None
        # TIMESTAMP columns are shown in the session's time zone; zero dates are shown in no mode at all.
        await self.rows("SET SESSION time_zone='+00:00', sql_mode=''")

    def _not_opened(self, error: Exception) -> SourceError:
        url, code = self._url, _code(error)
        place = url.socket or f"{url.host}:{url.port}"
        if isinstance(error, TimeoutError):
            return SourceError(f"{place} does not answer within {self._connect_timeout_s:g} s")
        if code in _WRONG_PASSWORD:
            given = (
                "with this password"
                if url.password
                else f"without a password (it may stand in {PASSWORD_VARIABLE})"
            )
            or_tls = "" if url.tls else "; if it wants TLS: ?ssl=true behind the database"
            return SourceError(f"{place} does not let the user {url.user!r} in {given}{or_tls}")
        if code == _NO_ACCESS_TO_DATABASE:
            return SourceError(
                f"the user {url.user!r} may not use the database {url.database!r}: "
                f"GRANT SELECT ON {quoted(url.database)}.* TO {url.user!r}@'…'"
            )
        if code == _NO_DATABASE:
            return SourceError(f"{place} has no database {url.database!r}")
        if code in _TOO_MANY:
            return SourceError(f"{place} takes no more connections: {_text(error)}")
        if isinstance(error, RuntimeError) and "cryptography" in str(error):
            return SourceError(
                f"{place} wants the password encrypted: write ?ssl=true behind the database, "
                "or `pip install cryptography`"
            )
        if code == _TLS_ONLY:
            return SourceError(f"{place} lets nobody in without TLS: write ?ssl=true behind the database")
        return SourceError(f"{place} cannot be reached: {_text(error.__cause__ or error)}")

    def _told(self, error: Exception) -> SourceError:
        url, code = self._url, _code(error)
        if isinstance(error, TimeoutError):
            return SourceLost(f"{url.name} has not answered a statement for {self._timeout_s:g} s")
        if code == _SYNTAX:
            return NoSuchStatement(_text(error))
        if code == _UNKNOWN_VARIABLE:
            return UnknownVariable(_text(error))
        if code in _NO_RIGHT:
            return NoRight(_text(error))
        if code == _NO_TABLE:
            return NoTable(_text(error))
        if code == _NO_COLUMN:
            return NoColumn(_text(error))
        if code == _CHANGED:
            return SourceError(
                f"the tables of {url.name} were changed while they were read ({_text(error)}): "
                "try again when nobody is upgrading them"
            )
        if isinstance(error, pymysql.err.MySQLError) and code not in _GONE:
            return SourceError(f"{url.name}: {_text(error)}")
        return SourceLost(f"the connection to {url.name} was lost: {_text(error)}")


class NoSuchStatement(SourceError):
    """The server does not know the statement."""


class UnknownVariable(SourceError):
    """The server does not know the variable."""


class NoRight(SourceError):
    """The account has no right to read this."""


class NoTable(SourceError):
    """There is no such table."""


class NoColumn(SourceError):
    """There is no such column."""


def quoted(name: str) -> str:
    """A name of a table, column or database as SQL has it."""
    return f"`{name.replace('`', '``')}`"


def _code(error: Exception) -> int:
    first = error.args[0] if error.args else None
    return first if isinstance(error, pymysql.err.MySQLError) and isinstance(first, int) else -1


def _text(error: BaseException) -> str:
    """What the server or the machine says, without numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told: object = f"its certificate is not accepted ({error.verify_message})"
    else:
        told = error.args[1] if len(error.args) > 1 else error
    return " ".join(str(told).split()) or type(error).__name__


def _tls(url: SourceUrl) -> ssl.SSLContext | None:
    """Without a CA the traffic is encrypted, but nobody knows for whom: as MySQL's own client does by default."""
    if not url.tls:
        return None
    if url.ca:
        try:
            return ssl.create_default_context(cafile=url.ca)
        except OSError as error:
            raise InvalidValue("ssl_ca", url.ca, f"a file with certificates in PEM form ({error})") from None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
