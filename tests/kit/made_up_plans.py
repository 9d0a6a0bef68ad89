"""Plans of imports, and what they were made from, without a database or a planner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime

from gateway.core.model import AddressMode, App, Job, Task
from gateway.core.users import Role, User
from importer.plan.values import (
    Action,
    Finding,
    Fires,
    Firsts,
    Level,
    OldPassword,
    Plan,
    PlannedApp,
    PlannedJob,
    PlannedUser,
    Verdict,
)
from importer.report.values import Report
from importer.source.values import (
    Installation,
    SignsOfLife,
    SourceDay,
    SourceExecutor,
    SourceGlue,
    SourceGroup,
    SourceJob,
    SourceUser,
)

READ_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
DIGEST = "e10adc3949ba59abbe56e057f20f883e"
GROUP_TOKEN = "token-of-the-group-1"
DAY = SourceDay(date(2026, 9, 20), 0, 10, 1)


def hourly(first: int = READ_MS // HOUR_MS + 1, count: int = 100) -> tuple[int, ...]:
    return tuple((first + hour) * HOUR_MS for hour in range(count))


SAME = Fires(hourly(), hourly())
# The first three hours fire here alone.
MISSED = Fires(
    hourly(),
    hourly()[3:] + tuple(hourly()[-1] + (1 + n) * HOUR_MS for n in range(3)),
    0,
    "the old admin misses them",
)


def planned_job(
    number: int,
    *,
    name: str = "",
    verdict: Verdict = Verdict.IDENTICAL,
    reasons: tuple[str, ...] = (),
    fires: Fires = SAME,
    action: Action = Action.CREATE,
    new_id: int | None = None,
    changes: tuple[str, ...] = (),
) -> PlannedJob:
    job = Job(
        id=number if new_id is None else new_id,
        namespace_id=1,
        app_id=1,
        part=0,
        version=1,
        name=name or f"job number {number}",
        enabled=False,
        schedule={"kind": "cron", "expression": "0 0 * * * ?", "timezone": "Asia/Shanghai"},
        task=Task("handler"),
    )
    return PlannedJob(
        action, job, number, number % 3 != 0, verdict, reasons, fires, f"digest{number}", (), changes
    )


def installation_of(plan_jobs: Iterable[PlannedJob]) -> Installation:
    """What such a plan was made from."""
    return Installation(
        name="xxl_job@10.0.0.5:3306",
        server="MariaDB 10.11.19",
        release="2.3.0 – 3.1.1",
        first=(2, 3, 0),
        last=(3, 1, 1),
        read_ms=READ_MS,
        columns={},
        groups=(SourceGroup("1", "billing"), SourceGroup("2", "billing"), SourceGroup("3", "reports")),
        jobs=tuple(SourceJob(one.old_id, "1") for one in plan_jobs),
        glue=tuple(SourceGlue(number, job_id=1, source="echo") for number in range(4)),
        users=(SourceUser(1, "admin", DIGEST, 1), SourceUser(2, "li", DIGEST, 0)),
        executors=(SourceExecutor("billing", "http://10.0.0.9:9999/", datetime(2026, 9, 21, 12, 0)),),
        signs=SignsOfLife(database_now_ms=READ_MS, last_beat_ms=READ_MS - 5_000),
        notes=("Tables of 2.0 are there as well, and were not read.",),
        log_rows=120_000,
        day_rows=365,
    )


def plan_of(jobs: tuple[PlannedJob, ...], findings: tuple[Finding, ...] = (), **changed: object) -> Plan:
    apps = (
        PlannedApp(
            Action.CREATE, App(1, 1, "billing", "账单", AddressMode.AUTO, (), 0, 0), ("1", "2"), GROUP_TOKEN
        ),
        PlannedApp(Action.MERGE, App(7, 1, "reports", "报表", AddressMode.AUTO, (), 0, 0), ("3",)),
    )
    users = (
        PlannedUser(Action.CREATE, User(1, "admin", Role.ADMIN), 1, OldPassword("md5", DIGEST)),
        PlannedUser(Action.CREATE, User(2, "li", Role.NORMAL, frozenset({1})), 2, OldPassword("md5", DIGEST)),
    )
    plan = Plan(
        source="xxl_job@10.0.0.5:3306",
        timezone="Asia/Shanghai",
        timezone_from="XXL-JOB's default, nothing else is known",
        apps=apps,
        jobs=jobs,
        users=users,
        firsts=Firsts(len(jobs) + 1, 8, 3, 1),
        app_ids={"1": 1, "2": 1, "3": 7},
        job_ids={job.old_id: job.job.id for job in jobs},
        user_ids={1: 1, 2: 2},
        findings=findings,
        security=(
            Finding(Level.WARNING, "user admin", "password", "", "", "has the password that XXL-JOB ships"),
            Finding(
                Level.NOTE,
                "job 2",
                "glue_type",
                "GLUE_SHELL",
                "",
                "runs a script that is kept in the database",
            ),
        ),
    )
    return replace(plan, **changed)  # type: ignore[arg-type]


A_BIT_OF_ALL = (
    planned_job(1),
    planned_job(
        2,
        name="每日对账 daily reconciliation of all accounts",
        verdict=Verdict.EQUIVALENT,
        reasons=("the strategy has another name",),
    ),
    planned_job(3, verdict=Verdict.CHANGED, reasons=("fires at L too, which 3.1 to 3.3 miss",), fires=MISSED),
    planned_job(
        4,
        name="清理日志",
        verdict=Verdict.CHANGED,
        reasons=("the cron is not valid: disabled",),
        fires=Fires((), None, None, "no expression"),
    ),
    planned_job(5, new_id=905),
    planned_job(6, action=Action.SKIP),
)
SOME_FINDINGS = (
    Finding(Level.DROPPED, "job 3", "alarm_threshold", "3", "", "alerts here count by themselves"),
    Finding(
        Level.REPAIRED, "job 4", "executor_route_strategy", "NULL", "FIRST", "XXL-JOB takes the first as well"
    ),
    Finding(
        Level.REPAIRED, "job 5", "executor_route_strategy", "NULL", "FIRST", "XXL-JOB takes the first as well"
    ),
    Finding(Level.NOTE, "app 2", "id", "2", "alias of 1", "two groups have the appname billing"),
    Finding(Level.NOTE, "xxl_job", "database", "", "", "Tables of 2.0 are there as well, and were not read."),
    Finding(Level.REPAIRED, "job 2", "add_time", "0000-00-00 00:00:00", "none", "no such day"),
    Finding(Level.WARNING, "job 3", "child_jobid", "3", "", "starts itself for ever"),
)


def report_of(
    jobs: tuple[PlannedJob, ...] = A_BIT_OF_ALL,
    findings: tuple[Finding, ...] = SOME_FINDINGS,
    **changed: object,
) -> Report:
    report = Report(
        made_ms=READ_MS + 60_000,
        source="xxl_job@10.0.0.5:3306",
        target="SQLite in /var/lib/xxljob-gateway",
        installation=installation_of(jobs),
        plan=plan_of(jobs, findings),
        secrets=frozenset({GROUP_TOKEN, DIGEST}),
    )
    return replace(report, **changed)  # type: ignore[arg-type]
