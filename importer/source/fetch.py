"""Rows of a table of the source, by the lower-case names of their columns."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from importer.errors import SourceError
from importer.source.catalog import Table
from importer.source.cells import Cell
from importer.source.connection import Connection, NoColumn, NoRight, NoTable, Row, quoted


async def select(connection: Connection, table: Table, sql: str, values: Sequence[object] = ()) -> list[Row]:
    """What a statement on that table gives."""
    async with _told(connection, table):
        return list(await connection.rows(sql, values))


async def fetch(
    connection: Connection,
    table: Table,
    columns: Iterable[str] | None = None,
    *,
    tail: str = "",
    values: Sequence[object] = (),
) -> list[dict[str, Cell]]:
    """All rows, or those that the end of the statement leaves; of all columns, or of those among `columns` that exist."""
    wanted = _wanted(table, columns)
    found = await select(connection, table, _select(table, wanted, tail), values)
    return [dict(zip(wanted, row, strict=True)) for row in found]


async def fetch_each(
    connection: Connection,
    table: Table,
    take: Callable[[dict[str, Cell]], None],
    columns: Iterable[str] | None = None,
    *,
    tail: str = "",
) -> None:
    """As `fetch`, but each row goes to `take` as it comes."""
    wanted = _wanted(table, columns)

    def named(row: Row) -> None:
        take(dict(zip(wanted, row, strict=True)))

    async with _told(connection, table):
        await connection.each(_select(table, wanted, tail), (), named)


async def no_right(connection: Connection, table: str, what: str = "") -> SourceError:
    """A right is missing: which, and what gives it."""
    ((account, database),) = await connection.rows("SELECT CURRENT_USER(), DATABASE()")
    user, _, host = str(account).rpartition("@")
    return SourceError(
        f"{what or f'this account may not read the table {table}'}: "
        f"GRANT SELECT ON {quoted(str(database))}.{quoted(table)} TO '{user}'@'{host}'"
    )


def _wanted(table: Table, columns: Iterable[str] | None) -> list[str]:
    among = None if columns is None else set(columns)
    return [name for name in table.columns if among is None or name in among]


def _select(table: Table, columns: Iterable[str], tail: str) -> str:
    return f"SELECT {', '.join(map(table.column, columns))} FROM {table.sql} {tail}"


@contextlib.asynccontextmanager
async def _told(connection: Connection, table: Table) -> AsyncIterator[None]:
    try:
        yield
    except NoRight:
        raise await no_right(connection, table.name) from None
    except (NoColumn, NoTable) as error:
        raise SourceError(
            f"the table {table.name} was changed while it was read ({error}): try again when nobody is upgrading it"
        ) from None
