"""The database that a command works on by itself, with no node of this process behind it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.app.data_dir import lock_data_dir, lock_embedded_database
from gateway.app.database import full_disk_told, prepare_database, wrong_schema
from gateway.core.clock import SystemClock
from gateway.core.errors import InvalidValue, Refused
from gateway.settings import Settings
from gateway.store import schema
from gateway.store.engine import Database, database_url, error_code, open_database
from gateway.store.time import offset_ms

_NO_SUCH_DATABASE = 1049


@contextlib.asynccontextmanager
async def working_on(settings: Settings) -> AsyncIterator[Database]:
    """The database of these settings, ready to be written; an embedded one is made and upgraded as `serve` does.

    Raises `Refused` where a gateway runs on an embedded database, and where another database lacks its schema. On
    MySQL and MariaDB gateways may be running.
    """
    url = database_url(settings.effective_database_url)
    async with contextlib.AsyncExitStack() as stack:
        _hold(settings, stack)
        db = open_database(url)
        stack.push_async_callback(db.close)
        await prepare_database(db)
        yield db


def is_made(settings: Settings) -> bool:
    """False where `working_on` would make an embedded database. Another one it does not make."""
    url = database_url(settings.effective_database_url)
    return url.get_backend_name() != "sqlite" or not _is_blank(Path(str(url.database)))


async def follow_clock(db: Database, clock: SystemClock) -> None:
    """Time as nodes on this database have it, which is its server's; beside an embedded one there is only this machine's."""
    if not db.is_sqlite:
        clock.adjust(await offset_ms(db, clock))


def refuse_if_running(settings: Settings) -> None:
    """Raises `Refused` where `working_on` would because a gateway runs. Makes nothing."""
    url = database_url(settings.effective_database_url)
    if url.get_backend_name() == "sqlite" and Path(str(url.database)).is_file():
        with contextlib.ExitStack() as stack:
            _hold(settings, stack)


def refuse_if_unwritable(settings: Settings) -> None:
    """Raises `InvalidValue` for a data directory that could not be made or written. Makes nothing."""
    path = settings.data_dir.absolute()
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise InvalidValue("data_dir", str(settings.data_dir), "a directory this user can write")


def _hold(settings: Settings, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> None:
    """An embedded database for this process alone."""
    url = database_url(settings.effective_database_url)
    if url.get_backend_name() != "sqlite":
        return
    try:
        if settings.database_url is None:
            stack.callback(lock_data_dir(settings.data_dir).close)
        stack.callback(lock_embedded_database(Path(str(url.database))).close)
    except Refused as error:
        raise Refused(f"{error}; stop it for the moment, this command takes its place") from None


@contextlib.asynccontextmanager
async def looking_at(settings: Settings) -> AsyncIterator[Database | None]:
    """The same database to be read only: it is neither made nor upgraded. None where there is none yet.

    Raises `Refused` for a schema of another version.
    """
    url = database_url(settings.effective_database_url)
    if url.get_backend_name() == "sqlite" and _is_blank(Path(str(url.database))):
        yield None
        return
    db = open_database(url)
    try:
        with full_disk_told(db):
            is_there = await _is_there(db)
        yield db if is_there else None
    finally:
        await db.close()


def _is_blank(path: Path) -> bool:
    return not path.is_file() or path.stat().st_size == 0


async def _is_there(db: Database) -> bool:
    try:
        found = await schema.revision(db)
    except Exception as error:
        if error_code(error) == _NO_SUCH_DATABASE:
            return False
        raise
    if found is None:
        return False
    wrong = wrong_schema(found, await schema.oldest(db))
    if wrong is not None:
        raise Refused(wrong)
    return True
