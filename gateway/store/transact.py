"""Transactions of everything that is not hot: repeated when the database asks for it, errors translated."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, StoreError
from gateway.store.engine import Database, is_gone, is_repeatable

T = TypeVar("T")

_ATTEMPTS = 4


async def transact(db: Database, clock: Clock, body: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `body` in a transaction, up to four times if the database wants it repeated.

    Raises what `body` raises, and `StoreError` for all that the database says.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with db.write() as conn:
                return await body(conn)
        except GatewayError:
            raise
        except Exception as error:
            if not is_repeatable(error):
                raise _translated(error) from error
            if attempt == _ATTEMPTS:
                raise StoreError(f"the database is too busy: {_text(error)}") from error
            await clock.sleep(random.uniform(0.005, 0.03) * attempt)  # noqa: S311 - jitter
    raise AssertionError


@asynccontextmanager
async def reading(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection for queries. Raises `StoreError` for all that the database says."""
    try:
        async with db.read() as conn:
            yield conn
    except (SQLAlchemyError, OSError) as error:
        raise _translated(error) from error


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
    return (
        StoreError(f"the database refuses this: {_text(error)}")
        if isinstance(error, SQLAlchemyError)
        else error
    )


def _text(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)[:300]
