"""What the index on the log's times tells: when its rows begin, which of them have ids that are too small, and counts of a day."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from importer.source.catalog import Table
from importer.source.cells import Cells
from importer.source.connection import Connection
from importer.source.fetch import select
from importer.source.layout import Layout
from importer.source.logs import code_of
from importer.source.values import LogBeginning, SourceDay

_DAY = timedelta(days=1)
# Ten years. Of times that are years ahead there is no end.
_MOST_DAYS = 3_660


class LogTimes:
    """To be used while the connection is this caller's own."""

    def __init__(self, connection: Connection, layout: Layout, cells: Cells) -> None:
        self._connection = connection
        self._table = layout.tables.get("log")
        self._cells = cells

    async def beginning(self, since: datetime, first_id: int) -> LogBeginning:
        """Looks through the index alone, a day at a time: of 10⁸ rows that are to be read anyway it is a small part."""
        table = self._table
        if table is None:
            return LogBeginning(None)
        column = table.column("trigger_time")
        if not table.starts_index("trigger_time"):
            rows = await select(
                self._connection, table, f"SELECT {column} FROM {table.sql} WHERE id = %s", (first_id,)
            )
            return LogBeginning(self._moment(table, rows[0][0]) if rows else None, is_searched=False)
        first = start = await self._next(table, since)
        smallest, strays = 0, 0
        for number in range(_MOST_DAYS + 1):
            if start is None:
                break
            end = start + _DAY if number < _MOST_DAYS and start.year < 9999 else None
            until, values = ("", ()) if end is None else (f"AND {column} < %s", (end,))
            ((least, count),) = await select(
                self._connection,
                table,
                f"SELECT MIN(id), COUNT(*) FROM {table.sql} WHERE {column} >= %s {until} AND id < %s",
                (start, *values, first_id),
            )
            if count:
                smallest, strays = min(int(least), smallest or int(least)), strays + int(count)
            start = None if end is None else await self._next(table, end)
        return LogBeginning(self._moment(table, first), smallest, strays)

    async def day(self, day: date) -> SourceDay | None:
        """Rows of one day as the old admin's report counts them; None where that would be a walk through the table."""
        table = self._table
        if table is None or not table.starts_index("trigger_time"):
            return None
        column = table.column("trigger_time")
        codes = [
            table.column(next(name for name in names if table.has(name)))
            for names in (("trigger_code", "trigger_status"), ("handle_code", "handle_status"))
        ]
        start = datetime.combine(day, time())
        counts = {"running": 0, "succeeded": 0, "failed": 0}
        for sent, handled, count in await select(
            self._connection,
            table,
            f"SELECT {', '.join(codes)}, COUNT(*) FROM {table.sql} WHERE {column} >= %s AND {column} < %s "
            f"GROUP BY {', '.join(codes)}",
            (start, start + _DAY),
        ):
            counts[_end(code_of(sent), code_of(handled))] += int(count)
        return SourceDay(day, **counts)

    async def _next(self, table: Table, since: datetime) -> datetime | None:
        column = table.column("trigger_time")
        ((found,),) = await select(
            self._connection, table, f"SELECT MIN({column}) FROM {table.sql} WHERE {column} >= %s", (since,)
        )
        return found if isinstance(found, datetime) else None

    def _moment(self, table: Table, value: object) -> datetime | None:
        is_instant = table.columns["trigger_time"].type == "timestamp"
        return self._cells.moment("log", "trigger_time", value, is_instant=is_instant)


def _end(sent: int, handled: int) -> str:
    if handled == 200:
        return "succeeded"
    return "running" if not handled and sent in (0, 200) else "failed"
