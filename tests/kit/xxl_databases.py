"""xxl-job databases of every release, made from facts about their columns, filled with rows as that release writes them.

    old = create_xxl_database(server, "2.0.2")
    old.fill(groups=[SourceGroup("1", "app")], jobs=[SourceJob(7, "1", cron="0 0 3 * * ?", trigger_status=1)])
    parse_source(old.url)

What is put in is neutral: `cron` becomes schedule_type and schedule_conf where a release has these, `trigger_status=1`
a trigger of Quartz in 1.2 to 2.0, `child_ids` the forms of `child_jobkey`. A value that is given in a release's own
form (`child_keys`, `quartz`, `glue_switch`, `job_data` …) is written as it stands. `insert` takes plain columns.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pymysql

from importer.source.values import (
    QuartzState,
    SourceDay,
    SourceExecutor,
    SourceGlue,
    SourceGroup,
    SourceJob,
    SourceLog,
    SourceUser,
)
from tests.kit.mariadb import MariadbServer
from tests.kit.xxl_schemas import UNUSED, columns_of, has_quartz, schema, stock_table, table_sql, version

READER, READER_PASSWORD = "xxl_reader", "only-reads"
SEER = "xxl_seer"
_MODE = "STRICT_TRANS_TABLES"  # without NO_ZERO_DATE: old servers let zero dates in
_WHEN = datetime(2020, 2, 20, 20, 20, 20)
_numbers = itertools.count(1)

Columns = dict[str, Any]


class XxlDatabase:
    """One database. `url` is of an account that may only SELECT there."""

    def __init__(
        self, server: MariadbServer, name: str, release: str, names: Mapping[str, str] | None = None
    ) -> None:
        self.server = server
        self.name = name
        self.release = release
        self.names = names or {}
        self.version = version(release)
        self._jobs: dict[int, SourceJob] = {}
        self._gathered: list[str] | None = None

    @property
    def url(self) -> str:
        return f"mysql://{READER}:{READER_PASSWORD}@127.0.0.1:{self.server.port}/{self.name}"

    @property
    def seeing_url(self) -> str:
        """Of an account that sees who else is connected, too."""
        grants = (f"SELECT ON `{self.name}`.*", "PROCESS ON *.*")
        self.server.execute(
            f"CREATE USER IF NOT EXISTS '{SEER}'@'127.0.0.1' IDENTIFIED BY '{READER_PASSWORD}'"
        )
        for grant in grants:
            self.server.execute(f"GRANT {grant} TO '{SEER}'@'127.0.0.1'")
        return self.url.replace(READER, SEER)

    @property
    def by_name(self) -> bool:
        """Up to 1.5 everything names a job by group and name."""
        return self.version < (1, 6, 0)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """In this database, as root, in UTC; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SET time_zone='+00:00', sql_mode='{_MODE}'")
            connection.select_db(self.name)
            for sql in statements:
                cursor.execute(sql)
                rows = list(cursor.fetchall())
        return rows

    def table(self, kind: str) -> str:
        """That table as SQL has it."""
        name = stock_table(self.release, kind)
        assert name is not None, f"{self.release} has no {kind}"
        return f"`{self.names.get(name, name)}`"

    def insert(self, kind: str, *rows: Mapping[str, Any]) -> None:
        """Rows as plain columns; what is NOT NULL and not given gets something."""
        known = columns_of(self.release, kind)
        statements = []
        for row in rows:
            filled = {name: _filler(facts) for name, facts in known.items() if _must_be_given(facts)} | dict(
                row
            )
            listed = ", ".join(f"`{name}`" for name in filled)
            values = ", ".join(_literal(value) for value in filled.values())
            statements.append(f"INSERT INTO {self.table(kind)} ({listed}) VALUES ({values})")
        if self._gathered is None:
            self.execute("BEGIN", *statements, "COMMIT")
        else:
            self._gathered += statements

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """What is inserted in the block goes in one transaction."""
        self._gathered = gathered = []
        try:
            yield
        finally:
            self._gathered = None
        self.execute("BEGIN", *gathered, "COMMIT")

    def fill(
        self,
        *,
        groups: Iterable[SourceGroup] = (),
        jobs: Iterable[SourceJob] = (),
        glue: Iterable[SourceGlue] = (),
        users: Iterable[SourceUser] = (),
        executors: Iterable[SourceExecutor] = (),
        days: Iterable[SourceDay] = (),
        logs: Iterable[SourceLog] = (),
        timezone: str = "Asia/Shanghai",
    ) -> None:
        """What the release has no table or column for is left out."""
        jobs = list(jobs)
        self._jobs |= {job.id: job for job in jobs}
        with self.at_once():
            self._put("group", [_group(row) for row in groups])
            self._put("info", [self._job(job) for job in jobs])
            self._put("logglue", [self._glue(row) for row in glue])
            self._put("user", [_user(row) for row in users])
            self._put("registry", [_executor(row) for row in executors])
            self._put("log_report", [_day(row) for row in days])
            self._put("log", [self._log(row) for row in logs])
            for job in jobs if has_quartz(self.release) else ():
                state = job.quartz or (QuartzState("WAITING") if job.trigger_status == 1 else None)
                if state is not None:
                    self.trigger(job, state, timezone=timezone)

    def _put(self, kind: str, rows: Sequence[Columns]) -> None:
        known = columns_of(self.release, kind)
        if not known:
            return
        kept = [
            {
                name: value
                for name, value in row.items()
                if name in known and (value is not None or known[name]["nullable"])
            }
            for row in rows
        ]
        if kept:
            self.insert(kind, *kept)

    @property
    def scheduler(self) -> str:
        """What Quartz calls this release's scheduler."""
        return "quartzScheduler" if self.version < (2, 0, 0) else "getSchedulerFactoryBean"

    def trigger_key(self, job: SourceJob) -> tuple[str, str]:
        if self.by_name:
            return _job_name(job), job.group or ""
        return str(job.id), "DEFAULT" if self.version >= (2, 0, 2) else job.group or ""

    def trigger(
        self,
        job: SourceJob,
        state: QuartzState,
        *,
        timezone: str = "Asia/Shanghai",
        key: tuple[str, str] | None = None,
    ) -> None:
        """A job's rows in the tables of Quartz."""
        name, group = key or self.trigger_key(job)
        sched = state.scheduler or self.scheduler
        cron = state.cron if state.cron is not None else job.cron or job.schedule_conf or ""
        key_columns = {"sched_name": sched, "trigger_name": name, "trigger_group": group}
        of_job = {"job_name": name, "job_group": group}
        self.insert("job_details", {"sched_name": sched, **of_job, "job_class_name": "a.Bean"})
        self.insert(
            "triggers",
            {
                **key_columns,
                **of_job,
                "next_fire_time": -1 if state.next_ms is None else state.next_ms,
                "prev_fire_time": -1 if state.previous_ms is None else state.previous_ms,
                "trigger_state": state.state,
                "trigger_type": "CRON",
                "misfire_instr": 2,
            },
        )
        self.insert(
            "cron_triggers",
            {**key_columns, "cron_expression": cron, "time_zone_id": state.timezone or timezone},
        )

    def check_in(self, at_ms: int, *, scheduler: str | None = None, instance: str = "host1") -> None:
        """Quartz's sign of life."""
        self.insert(
            "scheduler_state",
            {
                "sched_name": scheduler or self.scheduler,
                "instance_name": instance,
                "last_checkin_time": at_ms,
                "checkin_interval": 5000,
            },
        )

    def set_counter(self, kind: str, following: int) -> None:
        """The id that the next row of that table gets."""
        self.execute(f"ALTER TABLE {self.table(kind)} AUTO_INCREMENT = {following}")

    def drop(self) -> None:
        self.server.drop_database(self.name)

    def _job(self, job: SourceJob) -> Columns:
        is_groovy = job.glue_type == "GLUE_GROOVY"
        scheduled = {"schedule_type": job.schedule_type, "schedule_conf": job.schedule_conf}
        if job.schedule_type is None and job.cron is not None:
            scheduled = {"schedule_type": "CRON", "schedule_conf": job.cron}
        data = dict(handler_address=job.executor_address, handler_name=job.handler, handler_params=job.param)  # noqa: C408
        return {
            "id": job.id,
            "job_group": job.group,
            "job_name": _job_name(job),
            "job_desc": job.description,
            "name": job.description,
            "author": job.author,
            "alarm_email": job.alarm_email,
            "alarm_threshold": job.alarm_threshold,
            "job_cron": job.cron if job.cron is not None else job.schedule_conf,
            **scheduled,
            "misfire_strategy": job.misfire,
            "executor_route_strategy": job.route,
            "executor_handler": job.handler,
            "executor_param": job.param,
            "executor_block_strategy": job.block,
            "executor_timeout": job.timeout_s,
            "executor_fail_retry_count": job.retries,
            "executor_fail_strategy": job.fail_strategy,
            "glue_type": job.glue_type,
            "glue_switch": job.glue_switch if job.glue_switch is not None else int(is_groovy),
            "glue_source": job.glue_source,
            "glue_remark": job.glue_remark,
            "glue_updatetime": job.glue_updated,
            "child_jobid": job.child_ids,
            "child_jobkey": job.child_keys if job.child_keys is not None else self._child_keys(job.child_ids),
            "trigger_status": job.trigger_status,
            "trigger_last_time": job.last_ms,
            "trigger_next_time": job.next_ms,
            "add_time": job.added,
            "update_time": job.updated,
            "executor_address": job.executor_address,
            "job_class": job.job_class,
            "job_data": job.job_data if job.job_data is not None else json.dumps(data),
        } | dict(job.extra)

    def _child_keys(self, child_ids: str | None) -> str | None:
        """`group_id` from 1.6 on, `group_name` before."""
        if not child_ids:
            return child_ids
        children = [self._jobs[int(child)] for child in child_ids.split(",")]
        return ",".join(f"{job.group}_{_job_name(job) if self.by_name else job.id}" for job in children)

    def _named(self, job_id: int | None, group: str | None, name: str | None) -> Columns:
        job = self._jobs.get(job_id or 0)
        if job is not None:
            group, name = group or job.group, name or _job_name(job)
        return {"job_id": job_id, "job_group": group, "job_name": name}

    def _glue(self, row: SourceGlue) -> Columns:
        return self._named(row.job_id, row.group, row.name) | {
            "id": row.id,
            "glue_type": row.glue_type,
            "glue_source": row.source,
            "glue_remark": row.remark,
            "add_time": row.added,
            "update_time": row.updated,
        }

    def _log(self, row: SourceLog) -> Columns:
        return self._named(row.job_id, row.group, row.name) | {
            "id": row.id,
            "executor_address": row.address,
            "executor_handler": row.handler,
            "executor_param": row.param,
            "executor_sharding_param": row.sharding,
            "executor_fail_retry_count": row.retries_left,
            "trigger_time": row.triggered,
            "trigger_code": row.trigger_code,
            "trigger_status": _word(row.trigger_code),
            "trigger_msg": row.trigger_message,
            "handle_time": row.handled,
            "handle_code": row.handle_code,
            "handle_status": _word(row.handle_code),
            "handle_msg": row.handle_message,
            "alarm_status": row.alarm_status,
        }


def create_xxl_database(
    server: MariadbServer,
    release: str,
    name: str | None = None,
    *,
    tables: Mapping[str, str] | None = None,
    lower_case: bool = False,
    whole: bool = False,
) -> XxlDatabase:
    """An empty installation. `tables`: other names for some; `lower_case`: as a server with lower_case_table_names=1 has it.

    `whole`: also the tables of Quartz that XXL-JOB's own jobs leave empty.
    """
    name = name or f"xxl_{os.getpid()}_{next(_numbers)}"
    renamed = dict(tables or {})
    names = {
        table: renamed.get(table.lower(), table.lower() if lower_case else table)
        for table in schema(release)
        if whole or table.lower() not in UNUSED
    }
    charset = "utf8" if version(release) < (2, 1, 1) else "utf8mb4"
    server.execute(f"CREATE DATABASE `{name}` CHARACTER SET {charset}")
    allow_reading(server, name)
    database = XxlDatabase(server, name, release, names)
    database.execute(*(table_sql(release, table, here) for table, here in names.items()))
    return database


def allow_reading(server: MariadbServer, name: str) -> None:
    """The account of `XxlDatabase.url` may SELECT in that database."""
    server.execute(f"CREATE USER IF NOT EXISTS '{READER}'@'127.0.0.1' IDENTIFIED BY '{READER_PASSWORD}'")
    server.execute(f"GRANT SELECT ON `{name}`.* TO '{READER}'@'127.0.0.1'")


def _group(row: SourceGroup) -> Columns:
    return {
        "id": row.key,
        "app_name": row.appname,
        "title": row.title,
        "name": row.title,
        "order": row.order,
        "address_type": row.address_type,
        "address_list": row.address_list,
        "access_token": row.access_token,
    } | dict(row.extra)


def _user(row: SourceUser) -> Columns:
    return {
        "id": row.id,
        "username": row.username,
        "password": row.password,
        "role": row.role,
        "permission": row.permission,
        "token": "0123456789abcdef" if row.has_session else None,
    } | dict(row.extra)


def _executor(row: SourceExecutor) -> Columns:
    return {
        "registry_group": "EXECUTOR",
        "registry_key": row.appname,
        "registry_value": row.address,
        "update_time": row.beat,
    }


def _day(row: SourceDay) -> Columns:
    return {
        "trigger_day": datetime(row.day.year, row.day.month, row.day.day),
        "running_count": row.running,
        "suc_count": row.succeeded,
        "fail_count": row.failed,
    }


def _job_name(job: SourceJob) -> str:
    return job.name or f"job{job.id}"


def _word(code: int) -> str | None:
    return {0: None, 200: "SUCCESS"}.get(code, "FAIL")


def _must_be_given(facts: Mapping[str, Any]) -> bool:
    return not facts["nullable"] and facts["default"] is None and facts.get("extra") != "auto_increment"


def _filler(facts: Mapping[str, Any]) -> object:
    kind = facts["type"].partition("(")[0]
    if kind in {"datetime", "timestamp"}:
        return _WHEN
    return 0 if "int" in kind or kind == "decimal" else ""


def _literal(value: object) -> str:
    if isinstance(value, datetime):
        shown = value.astimezone(UTC) if value.tzinfo else value
        return f"'{shown:%Y-%m-%d %H:%M:%S}'"
    return str(pymysql.converters.escape_item(value, "utf8mb4"))
