"""The xxl-job database that is written: recognised, looked at, and changed in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from gateway.core.zones import Zone
from importer.errors import SourceError, SourceLost
from importer.source.catalog import Table
from importer.source.cells import Cells
from importer.source.connection import Connection, NoRight, quoted
from importer.source.layout import Layout, find_layout
from importer.source.names import checked_map
from importer.source.signs import read_signs
from importer.source.url import SourceUrl
from importer.source.values import SignsOfLife
from importer.writeback.values import Doing, GlueRow, GroupRow, JobRow, There, WritePlan

_FIRST, _LAST = (2, 3, 0), (3, 4, 2)
_KINDS = ("info", "group", "logglue")
_NEEDED = {
    "info": {
        *(
            "id",
            "job_group",
            "job_desc",
            "schedule_type",
            "schedule_conf",
            "misfire_strategy",
            "trigger_status",
        ),
        *("executor_handler", "executor_param", "executor_route_strategy", "executor_block_strategy"),
        *("executor_timeout", "executor_fail_retry_count", "glue_type", "glue_source", "child_jobid"),
        *("trigger_last_time", "trigger_next_time"),
    },
    "group": {"id", "app_name", "title", "address_type", "address_list"},
    "logglue": {"job_id", "glue_type", "glue_source", "glue_remark"},
}
_LOT, _LOT_BYTES = 200, 1 << 20


class Back:
    """An open database. `room`: characters by table and column, for those with a limit."""

    def __init__(self, connection: Connection, layout: Layout, name: str) -> None:
        self.name = name
        self.layout = layout
        self.room: dict[tuple[str, str], int] = {}
        self._connection = connection
        # Columns that must be given a value, by table.
        self._required: dict[str, set[str]] = {}

    @property
    def release(self) -> str:
        return str(self.layout.release)

    def _table(self, kind: str) -> Table:
        return self.layout.tables[kind]

    async def look(self) -> None:
        """Raises `SourceError` for a database that cannot be written."""
        release = self.layout.release
        if not (release.first >= _FIRST and release.last <= _LAST) or self.layout.is_old:
            raise SourceError(
                f"{self.name} is a database of xxl-job {release}: only those of 2.3 to 3.4 can be written"
            )
        for kind in _KINDS:
            if kind not in self.layout.tables:
                raise SourceError(
                    f"{self.name} has no table for {kind}: an installation of {release} has one"
                )
            lacking = sorted(_NEEDED[kind] - set(self._table(kind).columns))
            if lacking:
                raise SourceError(f"the table {self._table(kind).name} has no column {', '.join(lacking)}")
            await self._columns(kind)

    async def _columns(self, kind: str) -> None:
        table = self._table(kind)
        found = await self._connection.rows(
            "SELECT column_name, is_nullable, column_default, extra, character_maximum_length "
            "FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s",
            [table.name],
        )
        required: set[str] = set()
        for name, nullable, default, extra, most in found:
            column = _text(name).lower()
            if most is not None:
                self.room[kind, column] = int(most)
            if _text(nullable) == "NO" and default is None and "auto_increment" not in _text(extra).lower():
                required.add(column)
        self._required[kind] = required

    async def there(self, *, locked: bool = False) -> There:
        info, group = self._table("info"), self._table("group")
        lock = " FOR UPDATE" if locked else ""
        groups = await self._connection.rows(
            f"SELECT {group.column('id')}, {group.column('app_name')} FROM {group.sql}{lock}"
        )
        columns = ", ".join(map(info.column, ("id", "job_group", "job_desc")))
        jobs = await self._connection.rows(f"SELECT {columns} FROM {info.sql}{lock}")
        return There(
            {int(number): str(name) for number, name in groups},
            {int(number): (int(of or 0), str(name or "")) for number, of, name in jobs},
        )

    async def signs(self, zone: Zone) -> SignsOfLife:
        """What tells whether the old admin is at work."""
        return await read_signs(self._connection, self.layout, Cells(is_latin1=False), zone)

    async def write(self, plan: WritePlan) -> None:
        """All of it or nothing. Raises `SourceError`, also where the database has changed since the plan was made."""
        rows = self._connection.rows
        # A text that is too long must be an error, and never a part of itself.
        await rows("SET SESSION sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'")
        await rows("START TRANSACTION")
        done = False
        try:
            if await self.there(locked=True) != plan.there:
                raise SourceError(
                    f"{self.name} was changed since it was looked at: nothing was written; try again"
                )
            ids = await self._write_groups(plan)
            await self._write_jobs(plan.jobs, ids)
            await self._commit()
            done = True
        except NoRight as error:
            raise SourceError(
                f"this account may not write {self.name}: {error}; nothing was written. It needs SELECT, INSERT, UPDATE"
            ) from None
        finally:
            if not done and self._connection.id:
                await rows("ROLLBACK")

    async def _commit(self) -> None:
        try:
            await self._connection.rows("COMMIT")
        except SourceLost as error:
            raise SourceError(
                f"{error}: it had everything and did not say whether it kept it, all of it or nothing. "
                "Write again with --existing update: then it is there"
            ) from None

    async def _write_groups(self, plan: WritePlan) -> dict[str, int]:
        ids = dict(plan.group_ids)
        for row in plan.groups:
            if row.doing is Doing.UPDATE:
                await self._update("group", row.id, row.columns)
            elif row.doing is Doing.INSERT:
                group_id = await self._insert_group(row)
                if not row.is_other:
                    ids[row.appname] = group_id
        return ids

    async def _insert_group(self, row: GroupRow) -> int:
        columns = dict(row.columns) if row.id == 0 else {"id": row.id, **row.columns}
        await self._insert("group", [columns])
        if row.id:
            return row.id
        ((number,),) = await self._connection.rows("SELECT LAST_INSERT_ID()")
        return int(number)

    async def _write_jobs(self, jobs: Sequence[JobRow], ids: Mapping[str, int]) -> None:
        new = [one for one in jobs if one.doing is Doing.INSERT]
        await self._insert(
            "info", [{"id": one.id, "job_group": ids[one.appname], **one.columns} for one in new]
        )
        await self._insert("logglue", [_glue(one.id, row) for one in new for row in one.glue])
        for one in jobs:
            if one.doing is Doing.UPDATE:
                await self._update_job(one)

    async def _update_job(self, job: JobRow) -> None:
        """Its GLUE history goes on: what is newer than what the database has of it is added."""
        info, glue = self._table("info"), self._table("logglue")
        columns = {name: value for name, value in job.columns.items() if name != "add_time"}
        ((source,),) = await self._connection.rows(
            f"SELECT {info.column('glue_source')} FROM {info.sql} WHERE {info.column('id')} = %s", [job.id]
        )
        await self._update("info", job.id, columns)
        if (source or "") == job.columns["glue_source"] or not job.columns["glue_source"]:
            return
        have = await self._connection.rows(
            f"SELECT {glue.column('glue_source')} FROM {glue.sql} WHERE {glue.column('job_id')} = %s",
            [job.id],
        )
        known = {str(one or "") for (one,) in have}
        await self._insert("logglue", [_glue(job.id, row) for row in job.glue if row.source not in known])

    # ------------------------------------------------------------ statements

    async def _insert(self, kind: str, found: Sequence[Mapping[str, object]]) -> None:
        for lot in _lots(found):
            names = self._writable(kind, lot[0])
            marks = f"({', '.join(['%s'] * len(names))})"
            listed = ", ".join(map(self._table(kind).column, names))
            values = [row[name] for row in lot for name in names]
            sql = f"INSERT INTO {self._table(kind).sql} ({listed}) VALUES {', '.join([marks] * len(lot))}"
            await self._connection.rows(sql, values)

    async def _update(self, kind: str, row_id: int, columns: Mapping[str, object]) -> None:
        table = self._table(kind)
        names = self._writable(kind, columns, required=False)
        listed = ", ".join(f"{table.column(name)} = %s" for name in names)
        sql = f"UPDATE {table.sql} SET {listed} WHERE {table.column('id')} = %s"
        await self._connection.rows(sql, [*(columns[name] for name in names), row_id])

    def _writable(self, kind: str, columns: Mapping[str, object], *, required: bool = True) -> list[str]:
        """Those that are there. A fork's column that must be given a value is refused."""
        table = self._table(kind)
        names = [name for name in columns if table.has(name)]
        missing = sorted(self._required[kind] - set(names) - {"id"})
        if missing and required:
            raise SourceError(
                f"the column {missing[0]} of {table.name} needs a value, and no release of XXL-JOB has it: "
                f"give it a default (ALTER TABLE {table.sql} ALTER {quoted(missing[0])} SET DEFAULT …)"
            )
        return names


@asynccontextmanager
async def open_back(url: SourceUrl, table_map: Mapping[str, str] | None = None) -> AsyncIterator[Back]:
    """Connects and looks at the tables. Raises `SourceError`, or `InvalidValue` for an option."""
    checked = checked_map(table_map or {})
    connection = Connection(url, timeout_s=60, connect_timeout_s=10)
    try:
        async with connection.exclusive():
            layout = await find_layout(connection, url.database, checked)
            back = Back(connection, layout, url.name)
            await back.look()
            yield back
    finally:
        await connection.close()


def _glue(job_id: int, row: GlueRow) -> dict[str, object]:
    return {
        "job_id": job_id,
        "glue_type": row.glue_type,
        "glue_source": row.source,
        "glue_remark": row.remark,
        "add_time": row.at,
        "update_time": row.at,
    }


def _lots(found: Sequence[Mapping[str, object]]) -> list[list[Mapping[str, object]]]:
    lots: list[list[Mapping[str, object]]] = []
    size = 0
    for row in found:
        length = sum(len(str(value)) for value in row.values())
        if not lots or len(lots[-1]) == _LOT or size + length > _LOT_BYTES:
            lots.append([])
            size = 0
        lots[-1].append(row)
        size += length
    return lots


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
