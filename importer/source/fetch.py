"""Rows of a table of the source, by the lower-case names of their columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from importer.errors import SourceError
from importer.source.catalog import Table
from importer.source.cells import Cell
from importer.source.connection import Connection, NoColumn, NoRight, NoTable, Row, quoted


async def select(connection: Connection, table: Table, sql: str, values: Sequence[object] = ()) -> list[Row]:
    """What a statement on that table gives."""
    try:
        return await connection.rows(sql, values)
    except NoRight:
        raise await no_right(connection, table.name) from None
    except (NoColumn, NoTable) as error:
        raise SourceError(
            f"the table {table.name} was changed while it was read ({error}): try again when nobody is upgrading it"
        ) from None


async def fetch(
    connection: Connection,
    table: Table,
    columns: Iterable[str] | None = None,
    *,
    tail: str = "",
    values: Sequence[object] = (),
) -> list[dict[str, Cell]]:
    """All rows, or those that the end of the statement leaves; of all columns, or of those among `columns` that exist."""
    wanted = [name for name in table.columns if columns is None or name in set(columns)]
    listed = ", ".join(table.column(name) for name in wanted)
    found = await select(connection, table, f"SELECT {listed} FROM {table.sql} {tail}", values)
    return [dict(zip(wanted, row, strict=True)) for row in found]


async def no_right(connection: Connection, table: str, what: str = "") -> SourceError:
    """A right is missing: which, and what gives it."""
    ((account, database),) = await connection.rows("SELECT CURRENT_USER(), DATABASE()")
    user, _, host = str(account).rpartition("@")
    return SourceError(
        f"{what or f'this account may not read the table {table}'}: "
        f"GRANT SELECT ON {quoted(str(database))}.{quoted(table)} TO '{user}'@'{host}'"
    )
