"""How long an import takes, and how much memory: jobs, then the log. A program: `python tests/bench/imports.py --help`.

The source is a private MariaDB, filled by SQL; the targets are a SQLite file and another database of the same server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gateway.core.clock import SystemClock
from gateway.store.engine import Database, database_url, open_database
from gateway.store.tables import metadata
from importer.apply import apply_plan, read_target
from importer.history import import_days, import_logs
from importer.plan.make import PlanOptions, make_plan
from importer.plan.values import Existing, Plan
from importer.source.source import Source, open_source
from importer.source.url import parse_source
from importer.source.values import Installation
from tests.kit.mariadb import MariadbServer
from tests.kit.xxl_databases import XxlDatabase, create_xxl_database

RELEASE = "3.1.1"
APPS, USERS, VERSIONS = 100, 50, 5
T = TypeVar("T")


@contextlib.contextmanager
def running(directory: Path) -> Iterator[MariadbServer]:
    server = MariadbServer(directory / "mariadb")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fill(source: XxlDatabase, jobs: int, logs: int, days: int) -> None:
    """One in ten is a script with a history, one in ten starts another."""
    cron = "ELT(1 + n % 4, '0 0/5 * * * ?', '0 30 3 * * ?', '0 0 8 ? * MON-FRI', '0 15 10 L * ?')"
    script = "IF(n % 10 = 3, CONCAT('#!/bin/bash\\n', REPEAT('echo working\\n', 50)), NULL)"
    source.execute(
        f"INSERT INTO xxl_job_group (id,app_name,title,address_type) SELECT seq, CONCAT('shop-',seq), 'Shop', 0 "
        f"FROM seq_1_to_{APPS}",
        "INSERT INTO xxl_job_info (id,job_group,job_desc,add_time,update_time,author,alarm_email,schedule_type,"
        "schedule_conf,misfire_strategy,executor_route_strategy,executor_handler,executor_param,"
        "executor_block_strategy,executor_timeout,executor_fail_retry_count,glue_type,glue_source,glue_remark,"
        "glue_updatetime,child_jobid,trigger_status,trigger_last_time,trigger_next_time) "
        f"SELECT n, 1 + n % {APPS}, CONCAT('job ',n), NOW(), NOW(), 'alice', '', 'CRON', {cron}, 'DO_NOTHING', 'ROUND',"
        "'handle', CONCAT('id=',n), 'SERIAL_EXECUTION', 0, 2, IF(n % 10 = 3, 'GLUE_SHELL', 'BEAN'), "
        f"{script}, 'r', NOW(), IF(n % 10 = 7, n - 1, ''), n % 2, 0, 0 FROM (SELECT seq AS n FROM seq_1_to_{jobs}) s",
        "INSERT INTO xxl_job_logglue (job_id,glue_type,glue_source,glue_remark,add_time,update_time) "
        f"SELECT i.id, 'GLUE_SHELL', CONCAT(i.glue_source, v.seq), 'r', NOW(), NOW() FROM xxl_job_info i "
        f"JOIN seq_1_to_{VERSIONS} v WHERE i.glue_type = 'GLUE_SHELL'",
        "INSERT INTO xxl_job_user (id,username,password,role,permission) SELECT seq, CONCAT('user',seq), MD5(seq), 0, '1' "
        f"FROM seq_1_to_{USERS}",
        "INSERT INTO xxl_job_log (id,job_group,job_id,executor_address,executor_handler,executor_param,"
        "executor_fail_retry_count,trigger_time,trigger_code,trigger_msg,handle_time,handle_code,handle_msg,alarm_status) "
        f"SELECT seq, 1 + seq % {APPS}, 1 + seq % {jobs}, 'http://10.0.0.1:9999/', 'handle', CONCAT('id=',seq), 2, "
        f"NOW() - INTERVAL (({logs} - seq) * {days * 86_400} DIV {logs}) SECOND - INTERVAL 1 HOUR, 200, "
        "REPEAT('trigger message<br>', 20), NOW() - INTERVAL 1 HOUR, IF(seq % 50 = 0, 500, 200), "
        f"IF(seq % 50 = 0, REPEAT('java.lang.Exception at ', 40), '') , 0 FROM seq_1_to_{logs}",
    )


def memory(name: str) -> float:
    """Of this process, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Figures:
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    async def timed(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        began, spent = time.perf_counter(), time.process_time()
        result = await work()
        self.found[name] = round(time.perf_counter() - began, 2)
        self.found[f"{name}, CPU s"] = cpu = round(time.process_time() - spent, 2)
        print(f"  {name}: {self.found[name]} s, of this process's CPU {cpu} s", file=sys.stderr)
        return result

    def note(self, name: str, value: float) -> None:
        self.found[name] = round(value, 1)
        print(f"  {name}: {value:,.1f}", file=sys.stderr)


async def whole_import(source: Source, db: Database, name: str, log_days: int) -> dict[str, Any]:
    figures, clock = Figures(), SystemClock()
    options = PlanOptions(source=name, timezone="UTC")

    async def planned(existing: Existing) -> tuple[Installation, Plan]:
        installation = await source.installation()
        target = await read_target(db, clock, name)
        plan = make_plan(installation, target, replace(options, existing=existing), clock.now_ms())
        return installation, plan

    began = time.perf_counter()
    installation, plan = await figures.timed("read and plan", lambda: planned(Existing.SKIP))
    await figures.timed("write", lambda: apply_plan(db, clock, plan, release=installation.release))
    figures.note("jobs in all, s", time.perf_counter() - began)
    figures.note("memory after the jobs, MB", memory("VmRSS"))
    _, again = await planned(Existing.SKIP)
    done = await figures.timed("write again: nothing", lambda: apply_plan(db, clock, again))
    assert not done.anything
    changed = [replace(one, schedule_conf="0 7 7 * * ?", updated=None) for one in installation.jobs]
    target = await read_target(db, clock, name)
    plan = make_plan(
        replace(installation, jobs=tuple(changed)),
        target,
        replace(options, existing=Existing.UPDATE),
        clock.now_ms(),
    )
    done = await figures.timed("write: all jobs changed", lambda: apply_plan(db, clock, plan))
    figures.note("jobs changed", len(done.jobs_changed))
    forget_peak()
    before = memory("VmRSS")
    marks: list[float] = []

    def progress(_what: str, seen: int, total: int) -> None:
        if seen >= total * (len(marks) + 1) // 4:
            marks.append(memory("VmRSS"))

    logs = await figures.timed(
        "log", lambda: import_logs(source, db, clock, plan, days=log_days, progress=progress)
    )
    figures.note("rows of the log", logs.runs)
    figures.note("rows a second", logs.runs / figures.found["log"])
    figures.note("memory before the log, MB", before)
    figures.found["memory at each quarter of the log, MB"] = [round(one, 1) for one in marks]
    figures.note("peak during the log, MB", memory("VmHWM"))
    await import_days(source, db, clock, plan)
    return figures.found


async def main_of(server: MariadbServer, name: str, target: str, log_days: int) -> dict[str, Any]:
    db = open_database(database_url(target))
    async with db.write() as conn:
        await conn.run_sync(metadata.create_all)
    try:
        async with open_source(parse_source(name)) as source:
            return await whole_import(source, db, source.name, log_days)
    finally:
        await db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--logs", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30, help="over how many days the log goes")
    parser.add_argument("--target", choices=["sqlite", "mariadb"], action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as server:
        source = create_xxl_database(server, RELEASE)
        fill(source, given.jobs, given.logs, given.days)
        found = {}
        for kind in given.target or ["sqlite", "mariadb"]:
            print(kind, file=sys.stderr)
            url = f"sqlite+aiosqlite:///{directory}/gateway.db"
            if kind == "mariadb":
                url = server.create_database("gateway")
            found[kind] = asyncio.run(main_of(server, source.url, url, given.days + 1))
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
