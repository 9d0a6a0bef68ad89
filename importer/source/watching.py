"""Looking at a source again and again: what its scheduler writes, and the log's new rows. Short reads, no transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from importer.source.cells import Cells
from importer.source.connection import Connection
from importer.source.fetch import select
from importer.source.layout import Layout
from importer.source.rows import Tables
from importer.source.values import LogHead, QuartzState, SourceGroup, SourceJob, SourceMoment, SourceSign

# Of a message only the beginning is read: it may have 64 KB.
HEAD_CHARS = 120
_CHUNK = 500
_SIGN = (
    "id",
    "job_group",
    "job_name",
    "trigger_status",
    "trigger_last_time",
    "trigger_next_time",
    "update_time",
)
_SCHEDULE = (
    *_SIGN,
    "job_desc",
    "name",
    "job_cron",
    "schedule_type",
    "schedule_conf",
    "misfire_strategy",
    "executor_fail_retry_count",
    "add_time",
)
_HEAD = ("job_id", "job_group", "job_name", "executor_sharding_param", "executor_fail_retry_count")


@dataclass(frozen=True, slots=True)
class Watching:
    """To be used while the connection is this caller's own."""

    connection: Connection
    layout: Layout
    cells: Cells

    async def moment(self) -> SourceMoment:
        """The database's clock, where the log begins and ends, and of each job what tells that it has changed."""
        log = self.layout.tables.get("log")
        ends = "0, 0" if log is None else f"(SELECT MIN(id) FROM {log.sql}), (SELECT MAX(id) FROM {log.sql})"
        ((now, first_id, last_id),) = await self.connection.rows(
            f"SELECT UNIX_TIMESTAMP(NOW(3)) * 1000, {ends}"
        )
        tables = Tables(self.connection, self.layout, self.cells)
        jobs = await tables.some_jobs(_SIGN)
        quartz = await tables.triggers(jobs)
        signs = []
        for job in jobs:
            state = quartz.states.get(job.id)
            signs.append(
                SourceSign(
                    job.id,
                    is_running=state.is_firing if self.layout.is_old and state else job.trigger_status == 1,
                    last_ms=_ms(job.last_ms, state.previous_ms if state else None),
                    next_ms=_ms(job.next_ms, state.next_ms if state else None),
                    updated=job.updated,
                    cron=_cron(state),
                )
            )
        return SourceMoment(int(now), int(last_id or 0), tuple(signs), int(first_id or 0))

    async def schedules(self, ids: Sequence[int]) -> list[SourceJob]:
        """Those jobs, with what decides when they run, and without what they run."""
        tables = Tables(self.connection, self.layout, self.cells)
        jobs: list[SourceJob] = []
        for start in range(0, len(ids), _CHUNK):
            jobs += await tables.some_jobs(_SCHEDULE, ids[start : start + _CHUNK])
        quartz = await tables.triggers(jobs)
        return [
            replace(job, quartz=quartz.states[job.id]) if job.id in quartz.states else job for job in jobs
        ]

    async def groups(self, jobs: Sequence[SourceJob]) -> tuple[SourceGroup, ...]:
        return await Tables(self.connection, self.layout, self.cells).groups(jobs)

    async def log_heads(self, after_id: int, upto_id: int, limit: int) -> list[LogHead]:
        """Rows with `after_id` < id <= `upto_id`, ascending, with the beginning of their messages."""
        table = self.layout.tables.get("log")
        if table is None:
            return []
        names = [name for name in _HEAD if table.has(name)]
        listed = ", ".join(["id", table.column("trigger_time"), *map(table.column, names)])
        message = f"LEFT({table.column('trigger_msg')}, {HEAD_CHARS})" if table.has("trigger_msg") else "NULL"
        rows = await select(
            self.connection,
            table,
            f"SELECT {listed}, {message} FROM {table.sql} WHERE id > %s AND id <= %s ORDER BY id LIMIT %s",
            (after_id, upto_id, limit),
        )
        is_instant = table.columns["trigger_time"].type == "timestamp"
        heads = []
        for log_id, triggered, *values, told in rows:
            where, found = f"log {log_id}", dict(zip(names, values, strict=True))
            cells = self.cells

            heads.append(
                LogHead(
                    id=int(log_id),
                    triggered=cells.moment(where, "trigger_time", triggered, is_instant=is_instant),
                    job_id=cells.number(where, "job_id", found.get("job_id")),
                    group=cells.text(where, "job_group", found.get("job_group")),
                    name=cells.text(where, "job_name", found.get("job_name")),
                    sharding=cells.text(
                        where, "executor_sharding_param", found.get("executor_sharding_param")
                    ),
                    retries_left=cells.number(
                        where, "executor_fail_retry_count", found.get("executor_fail_retry_count")
                    ),
                    message=cells.text(where, "trigger_msg", told),
                )
            )
        return heads

    async def oldest_log(self) -> datetime | None:
        """When the oldest row that is left was triggered."""
        table = self.layout.tables.get("log")
        if table is None:
            return None
        time = table.column("trigger_time")
        rows = await select(
            self.connection,
            table,
            f"SELECT {time} FROM {table.sql} WHERE {time} IS NOT NULL ORDER BY id LIMIT 1",
        )
        is_instant = table.columns["trigger_time"].type == "timestamp"
        return self.cells.moment("log", "trigger_time", rows[0][0], is_instant=is_instant) if rows else None


def _ms(*values: int | None) -> int:
    return next((value for value in values if value), 0)


def _cron(state: QuartzState | None) -> str:
    """In 1.x and 2.0 the trigger's expression is the one in force."""
    return f"{state.cron} {state.timezone}" if state is not None else ""


def ids_by_name(jobs: Iterable[SourceJob]) -> dict[tuple[str | None, str | None], int]:
    """As logs up to 1.5 name their jobs."""
    return {(job.group, job.name): job.id for job in jobs if job.name is not None}
