"""An xxl-job database that is read, and only read: with SELECT rights, without locks, while its admin may still run."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from gateway.core.zones import Zone
from importer.source.cells import Cells
from importer.source.connection import Connection
from importer.source.fetch import select
from importer.source.layout import Layout, find_layout
from importer.source.log_times import LogTimes
from importer.source.logs import Logs
from importer.source.names import checked_map
from importer.source.release import Release
from importer.source.rows import Tables
from importer.source.signs import read_signs, zone_of
from importer.source.text import checked_charset
from importer.source.url import SourceUrl
from importer.source.values import (
    Counters,
    Installation,
    LogBeginning,
    LogHead,
    SignsOfLife,
    SourceDay,
    SourceGroup,
    SourceJob,
    SourceLog,
    SourceMoment,
)
from importer.source.watching import Watching

_KINDS = ("info", "group", "log", "logglue", "user", "registry", "log_report")
# So few rows are counted; of more the server's estimate is told.
_COUNTED = 100_000
_REPLICA = (
    "this server takes no writes: it may be a replica, and behind; before the switch the old admin has to be looked "
    "for on the server that it writes to"
)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """`table_map`: from XXL-JOB's names of tables, or beginnings of them, to those here.

    `charset`: `latin1` if the old admin wrote UTF-8 through a latin1 connection. `timezone`: of the old admin's clock.
    """

    table_map: Mapping[str, str] = field(default_factory=dict)
    charset: str | None = None
    timezone: str | None = None
    timeout_s: float = 60
    connect_timeout_s: float = 10


@asynccontextmanager
async def open_source(url: SourceUrl, options: SourceOptions | None = None) -> AsyncIterator[Source]:
    """Connects and looks at the tables. Raises `SourceError`, or `InvalidValue` for an option."""
    options = options or SourceOptions()
    source = Source(url, options)
    try:
        await source.look()
        yield source
    finally:
        await source.close()


class Source:
    """Calls may be made side by side: they wait for each other. A lost connection is opened anew by the next call."""

    def __init__(self, url: SourceUrl, options: SourceOptions) -> None:
        self._url = url
        self._table_map = checked_map(options.table_map)
        self._is_latin1 = checked_charset(options.charset)
        self._timezone = options.timezone
        zone_of(options.timezone)
        self._connection = Connection(
            url, timeout_s=options.timeout_s, connect_timeout_s=options.connect_timeout_s
        )
        self._layout: Layout | None = None
        self._found_zones: tuple[str, ...] = ()
        # By column: values of the log and of the daily report that could not be read as they stand.
        self.unread: Counter[str] = Counter()

    @property
    def name(self) -> str:
        return self._url.name

    @property
    def release(self) -> Release:
        """Which releases have such tables."""
        return self._laid_out().release

    async def close(self) -> None:
        await self._connection.close()

    async def look(self) -> None:
        """Look at the tables anew."""
        async with self._connection.exclusive():
            self._layout = await find_layout(self._connection, self._url.database, self._table_map)

    async def installation(self) -> Installation:
        """All but the log, as it stood at one instant."""
        await self.look()
        layout, connection = self._laid_out(), self._connection
        cells = Cells(is_latin1=self._is_latin1)
        tables = Tables(connection, layout, cells)
        async with connection.snapshot():
            ((now, version),) = await connection.rows("SELECT UNIX_TIMESTAMP(NOW(3)) * 1000, VERSION()")
            jobs = await tables.jobs()
            groups = await tables.groups(jobs)
            glue, users, executors = await tables.glue(), await tables.users(), await tables.executors()
            quartz = await tables.triggers(jobs)
            self._found_zones = quartz.timezones
            signs = await read_signs(connection, layout, cells, self._zone())
            counters = await self._counters(layout)
            log_rows = await self._count_of(layout, "log")
            day_rows = await self._count_of(layout, "log_report")
        return Installation(
            name=self.name,
            server=_server(str(version)),
            release=str(layout.release),
            first=layout.release.first,
            last=layout.release.last,
            read_ms=int(now),
            columns={
                kind: frozenset(layout.tables[kind].columns) for kind in _KINDS if kind in layout.tables
            },
            groups=groups,
            jobs=tuple(
                replace(job, quartz=quartz.states[job.id]) if job.id in quartz.states else job for job in jobs
            ),
            glue=glue,
            users=users,
            executors=executors,
            counters=counters,
            signs=signs,
            timezones=quartz.timezones,
            oddities=tuple(cells.oddities),
            notes=(
                *layout.notes,
                *quartz.notes,
                *_forks(layout, jobs),
                *([_REPLICA] if signs.read_only else []),
            ),
            log_rows=log_rows,
            day_rows=day_rows,
        )

    async def signs(self) -> SignsOfLife:
        async with self._connection.exclusive():
            return await read_signs(self._connection, self._laid_out(), self._cells(), self._zone())

    async def log_bounds(self, since: datetime | None) -> tuple[int, int]:
        """The first and the last id of the log's rows from that wall-clock time on; (0, 0) if there are none."""
        async with self._connection.exclusive():
            return await Logs(self._connection, self._laid_out(), self._cells()).bounds(since)

    async def log_upto(self, log_id: int) -> datetime | None:
        """When the last of the log's rows up to that id was triggered, of those with a time."""
        async with self._connection.exclusive():
            return await Logs(self._connection, self._laid_out(), self._cells()).upto(log_id)

    async def log_beginning(self, since: datetime, first_id: int) -> LogBeginning:
        """`first_id`: what `log_bounds` says of that time, by which ids grow with time."""
        async with self._connection.exclusive():
            return await self._log_times().beginning(since, first_id)

    async def log_day(self, day: date) -> SourceDay | None:
        """What the daily report would count of the log's rows of that day; None where there is no index on their times."""
        async with self._connection.exclusive():
            return await self._log_times().day(day)

    async def logs(
        self, after_id: int, upto_id: int, limit: int, *, messages: bool = True
    ) -> list[SourceLog]:
        """Rows with `after_id` < id <= `upto_id`, ascending.

        While the old admin runs, a row may appear after others with larger ids: who follows the log reads its last
        moments again.
        """
        async with self._connection.exclusive():
            cells = self._cells()
            rows = await Logs(self._connection, self._laid_out(), cells).rows(
                after_id, upto_id, limit, messages=messages
            )
            self._count(cells)
            return rows

    async def moment(self) -> SourceMoment:
        """What a look at the database needs, in a few short statements."""
        async with self._connection.exclusive():
            return await self._watching().moment()

    async def schedules(self, ids: Sequence[int]) -> list[SourceJob]:
        """Those of these jobs that are there, with what decides when they run, and without what they run."""
        async with self._connection.exclusive():
            return await self._watching().schedules(ids)

    async def groups(self, jobs: Sequence[SourceJob]) -> tuple[SourceGroup, ...]:
        async with self._connection.exclusive():
            return await self._watching().groups(jobs)

    async def log_heads(self, after_id: int, upto_id: int, limit: int) -> list[LogHead]:
        """As `logs`, without what is long."""
        async with self._connection.exclusive():
            return await self._watching().log_heads(after_id, upto_id, limit)

    async def oldest_log(self) -> datetime | None:
        """When the oldest row of the log that is left was triggered."""
        async with self._connection.exclusive():
            return await self._watching().oldest_log()

    async def days(self) -> list[SourceDay]:
        """The daily report, in order."""
        async with self._connection.exclusive():
            cells = self._cells()
            days = await Tables(self._connection, self._laid_out(), cells).days()
            self._count(cells)
            return list(days)

    def _count(self, cells: Cells) -> None:
        self.unread.update(oddity.column for oddity in cells.oddities)

    def _laid_out(self) -> Layout:
        assert self._layout is not None
        return self._layout

    def _cells(self) -> Cells:
        return Cells(is_latin1=self._is_latin1)

    def _watching(self) -> Watching:
        return Watching(self._connection, self._laid_out(), self._cells())

    def _log_times(self) -> LogTimes:
        return LogTimes(self._connection, self._laid_out(), self._cells())

    def _zone(self) -> Zone:
        return zone_of(self._timezone, self._found_zones)

    async def _counters(self, layout: Layout) -> Counters:
        async def after(kind: str) -> int:
            table = layout.tables.get(kind)
            if table is None:
                return 0
            ((largest,),) = await select(self._connection, table, f"SELECT MAX(id) FROM {table.sql}")
            return max(table.auto_increment, int(largest or 0) + 1)

        return Counters(await after("info"), await after("group"), await after("user"), await after("log"))

    async def _count_of(self, layout: Layout, kind: str) -> int:
        table = layout.tables.get(kind)
        if table is None or table.rows > _COUNTED:
            return 0 if table is None else table.rows
        ((count,),) = await select(self._connection, table, f"SELECT COUNT(*) FROM {table.sql}")
        return int(count)


def _server(version: str) -> str:
    number = version.partition("-")[0]
    return f"MariaDB {number}" if "mariadb" in version.lower() else f"MySQL {number}"


def _forks(layout: Layout, jobs: Sequence[SourceJob]) -> list[str]:
    """Columns that no release has and that say something."""
    columns = sorted({column for job in jobs for column in job.extra} - {"job_cron"})
    table = layout.tables["info"]
    return [f"{table.name} has columns of a fork: {', '.join(columns)}"] if columns else []
