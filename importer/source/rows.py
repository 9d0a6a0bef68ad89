"""Rows of the source's tables as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from importer.source import bounds
from importer.source.bounds import Bounds
from importer.source.catalog import Table
from importer.source.cells import Cell, Cells
from importer.source.connection import Connection
from importer.source.fetch import fetch_each
from importer.source.layout import Layout
from importer.source.quartz import Triggers, read_triggers
from importer.source.values import (
    Oddity,
    SourceDay,
    SourceExecutor,
    SourceGlue,
    SourceGroup,
    SourceJob,
    SourceUser,
)
from importer.source.versions import Versions

_TEXT, _NUMBER, _TIME = "text", "number", "time"
_Fields = Mapping[str, tuple[str, str]]

_INFO: _Fields = {
    "job_group": ("group", _TEXT),
    "job_name": ("name", _TEXT),
    "job_desc": ("description", _TEXT),
    "name": ("description", _TEXT),
    "author": ("author", _TEXT),
    "alarm_email": ("alarm_email", _TEXT),
    "alarm_threshold": ("alarm_threshold", _NUMBER),
    "job_cron": ("cron", _TEXT),
    "schedule_type": ("schedule_type", _TEXT),
    "schedule_conf": ("schedule_conf", _TEXT),
    "misfire_strategy": ("misfire", _TEXT),
    "executor_route_strategy": ("route", _TEXT),
    "executor_handler": ("handler", _TEXT),
    "executor_param": ("param", _TEXT),
    "executor_block_strategy": ("block", _TEXT),
    "executor_timeout": ("timeout_s", _NUMBER),
    "executor_fail_retry_count": ("retries", _NUMBER),
    "executor_fail_strategy": ("fail_strategy", _TEXT),
    "glue_type": ("glue_type", _TEXT),
    "glue_switch": ("glue_switch", _NUMBER),
    "glue_source": ("glue_source", _TEXT),
    "glue_remark": ("glue_remark", _TEXT),
    "glue_updatetime": ("glue_updated", _TIME),
    "child_jobid": ("child_ids", _TEXT),
    "child_jobkey": ("child_keys", _TEXT),
    "trigger_status": ("trigger_status", _NUMBER),
    "trigger_last_time": ("last_ms", _NUMBER),
    "trigger_next_time": ("next_ms", _NUMBER),
    "add_time": ("added", _TIME),
    "update_time": ("updated", _TIME),
    "executor_address": ("executor_address", _TEXT),
    "job_class": ("job_class", _TEXT),
    "job_data": ("job_data", _TEXT),
}
_GROUP: _Fields = {
    "app_name": ("appname", _TEXT),
    "title": ("title", _TEXT),
    "name": ("title", _TEXT),
    "address_type": ("address_type", _NUMBER),
    "address_list": ("address_list", _TEXT),
    "order": ("order", _NUMBER),
    "access_token": ("access_token", _TEXT),
}
_GLUE: _Fields = {
    "job_id": ("job_id", _NUMBER),
    "job_group": ("group", _TEXT),
    "job_name": ("name", _TEXT),
    "glue_type": ("glue_type", _TEXT),
    "glue_source": ("source", _TEXT),
    "glue_remark": ("remark", _TEXT),
    "add_time": ("added", _TIME),
    "update_time": ("updated", _TIME),
}
_QUARTZ = {
    "triggers": (
        "sched_name",
        "trigger_name",
        "trigger_group",
        "trigger_state",
        "next_fire_time",
        "prev_fire_time",
    ),
    "cron_triggers": ("sched_name", "trigger_name", "trigger_group", "cron_expression", "time_zone_id"),
    "scheduler_state": ("sched_name", "last_checkin_time"),
}
_USER: _Fields = {"role": ("role", _NUMBER), "permission": ("permission", _TEXT)}


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a layout, read through one connection."""

    connection: Connection
    layout: Layout
    cells: Cells
    held: Bounds = field(default_factory=Bounds)

    async def _rows(
        self, kind: str, columns: Sequence[str] | None = None, tail: str = ""
    ) -> list[dict[str, Cell]]:
        table = self.layout.tables.get(kind)
        rows: list[dict[str, Cell]] = []
        if table is not None:

            def take(row: dict[str, Cell]) -> None:
                self.held.hold(table, row)
                rows.append(row)
                self.held.require(table, len(rows), bounds.MOST_ROWS)

            await fetch_each(self.connection, table, take, columns, tail=tail)
        return rows

    async def jobs(self) -> tuple[SourceJob, ...]:
        """By id. What stands in two columns at once is taken from the one that the newer release uses."""
        table, fields = self.layout.tables["info"], self._fields_of_jobs()
        jobs = []
        for row in await self._rows("info", tail="ORDER BY id"):
            where = f"job {row['id']}"
            values = self._values(where, table, fields, row)
            extra = self._extra(where, row, {*fields, "id"})
            jobs.append(SourceJob(id=_int(row["id"]), extra=extra, **values))
        return tuple(jobs)

    async def some_jobs(self, columns: Sequence[str], ids: Sequence[int] | None = None) -> list[SourceJob]:
        """By id: all or those, with these columns alone."""
        table = self.layout.tables["info"]
        fields = {column: to for column, to in self._fields_of_jobs().items() if column in columns}
        where = f"WHERE id IN ({', '.join(map(str, map(int, ids)))}) " if ids is not None else ""
        return [
            SourceJob(
                id=_int(row["id"]), **{"group": None} | self._values(f"job {row['id']}", table, fields, row)
            )
            for row in await self._rows("info", ("id", *fields), f"{where}ORDER BY id")
        ]

    def _fields_of_jobs(self) -> _Fields:
        table = self.layout.tables["info"]
        fields = {column: to for column, to in _INFO.items() if table.has(column)}
        if table.has("job_desc"):
            fields.pop("name", None)
        if table.has("schedule_type"):
            fields.pop("job_cron", None)
        if not self.layout.by_name:
            fields.pop("job_name", None)
        return fields

    async def groups(self, jobs: Sequence[SourceJob]) -> tuple[SourceGroup, ...]:
        """By id; where a group is but a text, each text once."""
        if self.layout.text_groups:
            texts = sorted({job.group for job in jobs if job.group is not None})
            return tuple(SourceGroup(key=text, appname=text) for text in texts)
        table = self.layout.tables["group"]
        fields = {column: to for column, to in _GROUP.items() if table.has(column)}
        if table.has("title"):
            fields.pop("name", None)
        groups = []
        for row in await self._rows("group", tail="ORDER BY id"):
            where = f"group {row['id']}"
            values = self._values(where, table, fields, row)
            extra = self._extra(where, row, {*fields, "id", "update_time"})
            groups.append(SourceGroup(key=str(row["id"]), extra=extra, **values))
        return tuple(groups)

    async def glue(self) -> tuple[SourceGlue, ...]:
        """By id; of all but the newest of each job only what names them."""
        table = self.layout.tables.get("logglue")
        if table is None:
            return ()
        fields = {column: to for column, to in _GLUE.items() if table.has(column)}
        for column in ("job_group", "job_name") if table.has("job_id") else ():
            fields.pop(column, None)
        versions = Versions(table, self.held)
        await fetch_each(self.connection, table, versions.take, ("id", *fields), tail="ORDER BY id")
        return tuple(
            SourceGlue(id=_int(row["id"]), **self._values(f"GLUE version {row['id']}", table, fields, row))
            for row in versions.rows
        )

    async def users(self) -> tuple[SourceUser, ...]:
        table = self.layout.tables.get("user")
        if table is None:
            return ()
        fields = {column: to for column, to in _USER.items() if table.has(column)}
        users = []
        for row in await self._rows("user", tail="ORDER BY id"):
            where = f"user {row['username']}"
            users.append(
                SourceUser(
                    id=_int(row["id"]),
                    username=self.cells.text(where, "username", row["username"]) or "",
                    password=self.cells.text(where, "password", row["password"]),
                    has_session=bool(row.get("token")),
                    extra=self._extra(
                        where, row, {*fields, "id", "username", "password", "token"}, are_secret=True
                    ),
                    **self._values(where, table, fields, row),
                )
            )
        return tuple(users)

    async def triggers(self, jobs: Sequence[SourceJob]) -> Triggers:
        """What Quartz knows of these jobs; nothing from 2.1 on."""
        triggers, crons, schedulers = [await self._rows(kind, columns) for kind, columns in _QUARTZ.items()]
        return read_triggers(triggers, crons, schedulers, jobs, self.cells, by_name=self.layout.by_name)

    async def executors(self) -> tuple[SourceExecutor, ...]:
        table = self.layout.tables.get("registry")
        if table is None:
            return ()
        found = []
        for row in await self._rows("registry"):
            where = f"executor {row['registry_value']}"
            if str(row.get("registry_group") or "").upper() == "ADMIN":
                continue
            appname = self.cells.text(where, "registry_key", row["registry_key"])
            address = self.cells.text(where, "registry_value", row["registry_value"])
            beat = self._time(where, table, "update_time", row.get("update_time"))
            found.append(SourceExecutor(appname or "", address or "", beat))
        return tuple(sorted(found, key=lambda executor: (executor.appname, executor.address)))

    async def days(self) -> tuple[SourceDay, ...]:
        table = self.layout.tables.get("log_report")
        if table is None:
            return ()
        days = []
        for row in await self._rows("log_report", tail=f"ORDER BY {table.column('trigger_day')}"):
            day = self._time("daily counts", table, "trigger_day", row["trigger_day"])
            if day is None:
                if row["trigger_day"] is None:
                    self.cells.oddities.append(Oddity("daily counts", "trigger_day", "NULL", "nothing"))
                continue
            counts = [
                self.cells.number(f"daily counts of {day:%Y-%m-%d}", column, row[column]) or 0
                for column in ("running_count", "suc_count", "fail_count")
            ]
            days.append(SourceDay(date(day.year, day.month, day.day), *counts))
        return tuple(days)

    def _values(self, where: str, table: Table, fields: _Fields, row: Mapping[str, Cell]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for column, (name, kind) in fields.items():
            value = row.get(column)
            if value is None:
                continue
            if kind == _TEXT:
                values[name] = self.cells.text(where, column, value)
            elif kind == _NUMBER:
                values[name] = self.cells.number(where, column, value)
            else:
                values[name] = self._time(where, table, column, value)
        if "group" in {name for name, _ in fields.values()}:
            values.setdefault("group", None)
        if "appname" in {name for name, _ in fields.values()}:
            values.setdefault("appname", None)
        return values

    def _time(self, where: str, table: Table, column: str, value: Cell) -> datetime | None:
        if column not in table.columns:
            return None
        is_instant = table.columns[column].type == "timestamp"
        return self.cells.moment(where, column, value, is_instant=is_instant)

    def _extra(
        self, where: str, row: Mapping[str, Cell], known: set[str], *, are_secret: bool = False
    ) -> dict[str, str]:
        others = {column: value for column, value in row.items() if column not in known}
        return self.cells.others(where, others, are_secret=are_secret)


def _int(value: Cell) -> int:
    assert isinstance(value, int)
    return value
