"""Transactions of everything that is not hot: repeated when the database asks for it, errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, StoreError
from gateway.store.engine import Database, is_from_database, is_gone, is_repeatable

T = TypeVar("T")

_ATTEMPTS = 4
# A server that is cut off without a word answers nothing for as long as TCP has patience, which is a quarter of an hour.
READ_S = 20.0
WRITE_S = 45.0


async def transact(
    db: Database,
    clock: Clock,
    body: Callable[[AsyncConnection], Awaitable[T]],
    *,
    within_s: float = WRITE_S,
) -> T:
    """Run `body` in a transaction, up to four times if the database wants it repeated.

    Raises what `body` raises, and `StoreError` for all that the database says.
    """
    repeated = AsyncRetrying(
        retry=retry_if_exception(is_repeatable),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random(0.005, 0.06),
        sleep=clock.sleep,
        reraise=True,
    )
    try:
        return await repeated(_attempt, db, body, within_s)
    except GatewayError:
        raise
    except Exception as error:
        if is_repeatable(error):
            raise StoreError(f"the database is too busy: {_text(error)}") from error
        raise _translated(error) from error


async def _attempt(db: Database, body: Callable[[AsyncConnection], Awaitable[T]], within_s: float) -> T:
    async with asyncio.timeout(within_s), db.write() as conn:
        return await body(conn)


@asynccontextmanager
async def reading(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection for queries. Raises `StoreError` for all that the database says."""
    try:
        async with asyncio.timeout(READ_S), db.read() as conn:
            yield conn
    except GatewayError:
        raise
    except Exception as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


def upsert(db: Database, table: Table, *, update: tuple[str, ...]) -> Insert:
    """An INSERT that gives these columns of an existing row the new values instead."""
    if db.is_sqlite:
        lite = sqlite.insert(table)
        keys = [column.name for column in table.primary_key]
        return lite.on_conflict_do_update(
            index_elements=keys, set_={name: lite.excluded[name] for name in update}
        )
    my = mysql.insert(table)
    return my.on_duplicate_key_update({name: my.inserted[name] for name in update})


def _translated(error: Exception) -> Exception:
    if is_gone(error):
        return StoreError(f"the database cannot be reached: {_text(error)}")
    return StoreError(f"the database refuses this: {_text(error)}") if is_from_database(error) else error


def _text(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)[:300]
