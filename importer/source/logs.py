"""The log of the source, by its primary key: no query here walks through a table of a billion rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from importer.source.catalog import Table
from importer.source.cells import Cell, Cells
from importer.source.connection import Connection, Row
from importer.source.fetch import fetch, select
from importer.source.layout import Layout
from importer.source.values import SourceLog

_WORDS = {"": 0, "SUCCESS": 200, "FAIL": 500}
_MESSAGES = {"trigger_msg", "handle_msg"}
_COLUMNS = {
    "id",
    "job_id",
    "job_group",
    "job_name",
    "executor_address",
    "executor_handler",
    "executor_param",
    "executor_sharding_param",
    "executor_fail_retry_count",
    "trigger_time",
    "trigger_code",
    "trigger_status",
    "handle_time",
    "handle_code",
    "handle_status",
    "alarm_status",
} | _MESSAGES
# Among so many rows with neighbouring times is the one with the smallest id, where ids grow with time.
_NEIGHBOURS = 10_000


class Logs:
    """Reads the log of one layout; to be used while the connection is this caller's own."""

    def __init__(self, connection: Connection, layout: Layout, cells: Cells) -> None:
        self._connection = connection
        self._table = layout.tables.get("log")
        self._cells = cells

    async def bounds(self, since: datetime | None) -> tuple[int, int]:
        """The first and the last id of what was triggered from that wall-clock time on; (0, 0) if there is nothing."""
        table = self._table
        if table is None:
            return 0, 0
        ((first, last),) = await self._select(table, f"SELECT MIN(id), MAX(id) FROM {table.sql}")
        if last is None:
            return 0, 0
        if since is not None:
            search = self._by_index if table.starts_index("trigger_time") else self._by_bisection
            first = await search(table, since, int(first), int(last))
        return (int(first), int(last)) if first is not None else (0, 0)

    async def _by_index(self, table: Table, since: datetime, _first: int, _last: int) -> int | None:
        time = table.column("trigger_time")
        ((found,),) = await self._select(
            table,
            f"SELECT MIN(id) FROM (SELECT id FROM {table.sql} WHERE {time} >= %s ORDER BY {time} LIMIT {_NEIGHBOURS}) t",
            since,
        )
        return None if found is None else int(found)

    async def _by_bisection(self, table: Table, since: datetime, first: int, last: int) -> int | None:
        """Ids grow with time, nearly: rows that are a moment apart may stand the other way round."""
        time = table.column("trigger_time")
        low, high = first, last + 1  # all before `low` are older, `high` and what follows are not
        while low < high:
            middle = (low + high) // 2
            rows = await self._select(
                table,
                f"SELECT id, {time} FROM {table.sql} WHERE id >= %s AND {time} IS NOT NULL ORDER BY id LIMIT 1",
                middle,
            )
            if not rows or self._is_since(rows[0][1], since):
                high = middle
            else:
                low = int(rows[0][0]) + 1
        rows = await self._select(
            table,
            f"SELECT MIN(id) FROM (SELECT id, {time} FROM {table.sql} WHERE id >= %s ORDER BY id LIMIT {2 * _NEIGHBOURS}) t "
            f"WHERE {time} >= %s",
            max(low - _NEIGHBOURS, first),
            since,
        )
        return None if rows[0][0] is None else int(rows[0][0])

    def _is_since(self, value: Cell, since: datetime) -> bool:
        return isinstance(value, datetime) and value >= since

    async def upto(self, log_id: int) -> datetime | None:
        """The time of the last row up to that id which has one."""
        table = self._table
        if table is None:
            return None
        time = table.column("trigger_time")
        rows = await self._select(
            table,
            f"SELECT id, {time} FROM {table.sql} WHERE id <= %s AND {time} IS NOT NULL ORDER BY id DESC LIMIT 1",
            log_id,
        )
        is_instant = table.columns["trigger_time"].type == "timestamp"
        found = [
            self._cells.moment(f"log {one}", "trigger_time", value, is_instant=is_instant)
            for one, value in rows
        ]
        return found[0] if found else None

    async def rows(self, after_id: int, upto_id: int, limit: int, *, messages: bool) -> list[SourceLog]:
        table = self._table
        if table is None:
            return []
        found = await fetch(
            self._connection,
            table,
            _COLUMNS if messages else _COLUMNS - _MESSAGES,
            tail="WHERE id > %s AND id <= %s ORDER BY id LIMIT %s",
            values=(after_id, upto_id, limit),
        )
        return [self._log(table, row) for row in found]

    async def _select(self, table: Table, sql: str, *values: object) -> list[Row]:
        return list(await select(self._connection, table, sql, values))

    def _log(self, table: Table, row: Mapping[str, Cell]) -> SourceLog:
        cells = self._cells
        where = f"log {row['id']}"

        # Millions of rows come by here: what needs no look is not looked at.
        def text(column: str) -> str | None:
            value = row.get(column)
            if value is None or (isinstance(value, str) and not cells.is_latin1):
                return value
            return cells.text(where, column, value)

        def number(column: str) -> int | None:
            value = row.get(column)
            return value if isinstance(value, int) else cells.number(where, column, value)

        def time(column: str) -> datetime | None:
            value = row.get(column)
            if value is None:
                return None
            return cells.moment(where, column, value, is_instant=table.columns[column].type == "timestamp")

        return SourceLog(
            id=int(str(row["id"])),
            job_id=number("job_id"),
            group=text("job_group"),
            name=text("job_name"),
            address=text("executor_address"),
            handler=text("executor_handler"),
            param=text("executor_param"),
            sharding=text("executor_sharding_param"),
            retries_left=number("executor_fail_retry_count"),
            triggered=time("trigger_time"),
            trigger_code=code_of(row.get("trigger_code", row.get("trigger_status"))),
            trigger_message=text("trigger_msg"),
            handled=time("handle_time"),
            handle_code=code_of(row.get("handle_code", row.get("handle_status"))),
            handle_message=text("handle_msg"),
            alarm_status=number("alarm_status"),
        )


def code_of(value: Cell) -> int:
    """A number, digits, or a word of the first releases; a word that none of them had is no success."""
    if isinstance(value, int):
        return int(value)
    word = "" if value is None else str(value).strip().upper()
    if word in _WORDS:
        return _WORDS[word]
    return int(word) if word.isdecimal() else 500
